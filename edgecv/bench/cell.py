"""One measuring cell: ``python -m edgecv.bench.cell``, a JSON line in, a JSON line out.

``{"do": "load", "path", "backend", "threads", "warmup", "seed", "input"}`` imports the engine, loads the
file, runs once, warms up. ``{"do": "run", "count"}`` times inferences, ``{"do": "stages", "count", "frame"}``
whole answers, ``{"do": "camera", "rate_hz", "seconds", "frame"}`` answers frames that come by the clock.
``{"do": "finish"}`` says what the process needed. Errors of edgecv come back as
``{"error": {"kind", "what", "cure"}}``; anything else ends the process with a traceback on standard error.
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
from edgecv.board import Board
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

    def stages(self, request: dict[str, Any]) -> dict[str, Any]:
        """Whole answers to noise: medians in nanoseconds, or nothing where the model takes no picture."""
        runtime = self._loaded()
        if runtime.info.preprocess is None:
            return {"stages_ns": {}}
        frame = _frame(request["frame"])
        edge = runtime.scores if not runtime.info.labels else None
        columns: dict[str, list[int]] = {}
        for _ in range(request["count"]):
            began = time.perf_counter_ns()
            if edge is not None:
                edge(frame)
                parts = {}
            else:
                timings = runtime.classify(frame).timings
                parts = {
                    "preprocess": timings.preprocess_ns,
                    "infer": timings.infer_ns,
                    "postprocess": timings.postprocess_ns,
                }
            parts["end_to_end"] = time.perf_counter_ns() - began
            for name, value in parts.items():
                columns.setdefault(name, []).append(value)
        return {"stages_ns": {name: float(np.median(column)) for name, column in columns.items()}}

    def camera(self, request: dict[str, Any]) -> dict[str, Any]:
        """Frames at fixed times; each answer takes the newest that has come, the others are dropped.

        Latency counts from the frame's scheduled arrival, so that an answer that comes late also
        delays what waits behind it (no coordinated omission).
        """
        answer = self._answer(_frame(request["frame"]))
        period = 1e9 / request["rate_hz"]
        total = max(1, int(request["seconds"] * request["rate_hz"]))
        cpu, began = time.process_time_ns(), time.perf_counter_ns()
        latencies, newest = [], -1
        while newest < total - 1:
            now = time.perf_counter_ns() - began
            come = min(int(now / period), total - 1)
            if come == newest:
                time.sleep(max(0.0, ((newest + 1) * period - now) / 1e9))
                continue
            newest = come
            answer()
            latencies.append(round(time.perf_counter_ns() - began - newest * period))
        wall = time.perf_counter_ns() - began
        return {
            "latency_ns": latencies,
            "scheduled": total,
            "wall_ns": wall,
            "cpu_ns": time.process_time_ns() - cpu,
        }

    def _answer(self, frame: npt.NDArray[np.uint8]) -> Callable[[], Any]:
        """One answer to *frame*: as much of the way as the model describes."""
        runtime = self._loaded()
        if runtime.info.preprocess is None:
            return lambda: runtime.infer(self._input)
        if runtime.info.labels:
            return lambda: runtime.classify(frame)
        return lambda: runtime.scores(frame)

    def finish(self, _: dict[str, Any]) -> dict[str, Any]:
        """What the process needed, and what really executed."""
        # memory first: asking the engine what executes costs some
        board = Board()
        reply = {
            "peak_rss_bytes": peak_rss_bytes(),
            "rss_anonymous_bytes": board.process_bytes("RssAnon"),
            "rss_file_bytes": board.process_bytes("RssFile"),
        }
        runtime = self._loaded()
        layers = [tuple(layer) for layer in runtime.executed_layers()]
        return {**reply, "precision": runtime.info.precision, "layers": layers}

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


def _frame(size: list[int]) -> npt.NDArray[np.uint8]:
    """A frame of noise, uint8 [h, w, 3]."""
    height, width = size
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


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
    handlers = {
        "load": cell.load,
        "run": cell.run,
        "stages": cell.stages,
        "camera": cell.camera,
        "finish": cell.finish,
    }
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
