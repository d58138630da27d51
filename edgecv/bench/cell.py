"""One measuring cell: ``python -m edgecv.bench.cell``, a JSON line in, a JSON line out.

``{"do": "load", "path", "backend", "threads", "warmup", "seed", "input"}`` imports the engine, loads the
file, runs once, warms up. ``{"do": "run", "count"}`` times inferences. ``{"do": "finish"}`` says what the
process needed. Errors of edgecv come back as ``{"error": {"kind", "what", "cure"}}``; anything else ends
the process with a traceback on standard error.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.artifact import detect
from edgecv.errors import EdgecvError, InputError, ModelLoadError
from edgecv.measure import peak_rss_bytes
from edgecv.spec.types import TensorSpec
from edgecv_runtimes.registry import choose

if TYPE_CHECKING:
    from edgecv.runtime import Runtime

__all__ = ["main", "serve"]


class _Cell:
    """State between requests."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._input: npt.NDArray[Any] = np.empty(0)

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Import, load, first inference, warm-up; each timed apart."""
        path = Path(request["path"])
        import_ns = _timed(lambda: _import_engine(path, request["backend"]))[0]
        load_ns, runtime = _timed(lambda: _open(path, request))
        self._runtime = runtime
        info = runtime.info
        if len(info.inputs) != 1:
            raise InputError(
                f"'{path}' has {len(info.inputs)} inputs", cure="Measure a model with one input."
            )
        self._input = _array(info.inputs[0], request["input"], request["seed"])
        first_ns = _timed(lambda: runtime.infer(self._input))[0]
        warmup_ns = self._times(request["warmup"])
        return {
            "import_ns": import_ns,
            "load_ns": load_ns,
            "first_ns": first_ns,
            "warmup_ns": warmup_ns,
            "backend": info.backend,
            "backend_version": info.backend_version,
            "threads": info.threads,
        }

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """A block of inferences."""
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        samples = self._times(request["count"])
        return {
            "ns": samples,
            "cpu_ns": time.process_time_ns() - cpu,
            "wall_ns": time.perf_counter_ns() - wall,
        }

    def finish(self, _: dict[str, Any]) -> dict[str, Any]:
        """What the process needed, and what really executed."""
        # memory first: asking the engine what executes costs some
        peak = peak_rss_bytes()
        return {"peak_rss_bytes": peak, "precision": self._loaded().info.precision}

    def _loaded(self) -> Runtime:
        if self._runtime is None:
            raise InputError("nothing is loaded", cure="Send load first.")
        return self._runtime

    def _times(self, count: int) -> list[int]:
        """Wall time of each of *count* inferences, in nanoseconds."""
        infer, array, clock = self._loaded().infer, self._input, time.perf_counter_ns
        samples = [0] * count
        # a collection of cyclic garbage inside a sample is Python's time, not the model's
        gc.collect()
        gc.disable()
        try:
            for number in range(count):
                started = clock()
                infer(array)
                samples[number] = clock() - started
        finally:
            gc.enable()
        return samples


def _timed(work: Callable[[], Any]) -> tuple[int, Any]:
    started = time.perf_counter_ns()
    result = work()
    return time.perf_counter_ns() - started, result


def _open(path: Path, request: dict[str, Any]) -> Runtime:
    from edgecv.runtime import Runtime

    return Runtime(path, backend=request["backend"], threads=request["threads"])


def _import_engine(path: Path, name: str) -> None:
    """Import the runtime and the engine that will run *path*, without loading anything."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"'{path}' cannot be read: {error.strerror}", cure="Check the path."
        ) from error
    importlib.import_module("edgecv.runtime")
    # asking for its version is the one call that needs the engine and no model
    choose(name, detect(data)).version()


def _array(spec: TensorSpec, source: str | None, seed: int) -> npt.NDArray[Any]:
    """The input: from a file, or noise over the whole range (pixels are never all alike)."""
    if source is not None:
        try:
            given: npt.NDArray[Any] = np.load(source, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"'{source}' is no array: {error}", cure="Save it with numpy.save."
            ) from error
        if given.shape != spec.shape or given.dtype != spec.dtype:
            raise InputError(
                f"'{source}' holds {given.dtype} {list(given.shape)}; the model wants {spec.dtype}"
                f" {list(spec.shape)}",
                cure="Save an array in the file's own dtype and shape.",
            )
        return given
    rng = np.random.default_rng(seed)
    kind = np.dtype(spec.dtype)
    if kind.kind in "iu":
        bounds = np.iinfo(kind)
        return rng.integers(bounds.min, bounds.max, spec.shape, kind, endpoint=True)
    return rng.random(spec.shape, np.float32).astype(kind)


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until ``finish`` or the end of the input."""
    cell = _Cell()
    handlers = {"load": cell.load, "run": cell.run, "finish": cell.finish}
    for line in requests:
        request = json.loads(line)
        try:
            reply = handlers[request["do"]](request)
        except EdgecvError as error:
            reply = {
                "error": {"kind": type(error).__name__, "what": error.what, "cure": error.cure}
            }
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
        if request["do"] == "finish":
            return


def main() -> None:
    """Serve on standard input and output."""
    # engines print: their words must not mix with the answers
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
