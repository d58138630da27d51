"""Load and run a file once in another process, whose death hurts nobody: ``check="trial"``.

What no check finds, a damaged or hostile file may still do to an engine: a crash, an endless loop, all
memory. A fresh interpreter tries it first (never a fork: the caller may have threads). It gets the file
through a pipe and touches no disk.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any, BinaryIO, Final

from edgecv.artifact import ModelFile
from edgecv.errors import (
    EdgecvError,
    InputError,
    MissingExtraError,
    ModelLoadError,
    UnsupportedError,
)

__all__ = ["run_trial"]

_KINDS: Final = {
    kind.__name__: kind
    for kind in (EdgecvError, InputError, MissingExtraError, ModelLoadError, UnsupportedError)
}
_READY: Final = b"ready\n"
#: Address space that the largest engine needs for itself, with room for a model.
_LEAST_MEMORY_BYTES: Final = 6 << 30
_CURE: Final = (
    "Do not run it in this process; another backend may take it, or convert the model again."
)


def run_trial(
    model: ModelFile,
    *,
    backend: str,
    threads: int,
    float_precision: str = "f32",
    timeout_s: float = 60.0,
) -> None:
    """Load *model* in a fresh interpreter, run it once on zeros, and return if nothing happened.

    Args:
        model: The file.
        backend: Name of the engine, as :func:`edgecv_runtimes.registry.choose` takes it.
        threads: Threads of the engine.
        float_precision: What floating-point layers compute in.
        timeout_s: How long all of it may take, the start of Python included.

    Raises:
        ModelLoadError: The process crashed (the signal is named), took too long, or failed.
        EdgecvError: What the backend itself raised, of the same kind.
        UnsupportedError: No other process can be started from here.
    """
    if not sys.executable:
        raise UnsupportedError(
            "check='trial' needs the path of the Python interpreter, and sys.executable is empty",
            cure="Use check='hash'.",
        )
    name = f"'{model.path}'" if model.path else "the model"
    header = {
        "kind": model.kind,
        "body": len(model.body),
        "weights": None if model.weights is None else len(model.weights),
        "backend": backend,
        "threads": threads,
        "float_precision": float_precision,
    }
    given = json.dumps(header).encode() + b"\n" + model.body + (model.weights or b"")
    command = [sys.executable, "-P", "-m", "edgecv.runtime.trial"]
    # the same packages as here, whatever put them on the path
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelLoadError(
            f"{name}: {backend} did not finish a trial of it within {timeout_s:g} s", cure=_CURE
        ) from error
    except OSError as error:
        raise UnsupportedError(
            f"no process can be started for a trial: {error.strerror}", cure="Use check='hash'."
        ) from error
    try:
        _judge(backend, done.returncode, done.stdout, done.stderr)
    except ModelLoadError as error:
        raise ModelLoadError(f"{name}: {error.what}", cure=error.cure) from None


def _judge(backend: str, status: int, said: bytes, complaint: bytes) -> None:
    """Raise what the process says, or what its end means."""
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    last = f": {lines[-1][:200].strip()}" if lines else ""
    if not said.startswith(_READY):
        raise UnsupportedError(
            f"the process for a trial ended before it saw the file{last}", cure="Use check='hash'."
        )
    if status < 0:
        raise ModelLoadError(
            f"{backend} crashed in a trial of it ({_signal(-status)}){last}", cure=_CURE
        )
    answer = said[len(_READY) :]
    if status or not answer:
        raise ModelLoadError(f"{backend} failed in a trial of it{last}", cure=_CURE)
    error: dict[str, str] | None = json.loads(answer)
    if error is not None:
        raise _KINDS.get(error["kind"], ModelLoadError)(error["what"], cure=error["cure"])


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- the other process ----------------------------------------------------------------------------


def _main() -> None:
    # engines print; what they print is not the answer
    answer = os.dup(1)
    os.dup2(2, 1)
    header, model = _receive(sys.stdin.buffer)
    _limit_memory(len(model.body) + len(model.weights or b""))
    os.write(answer, _READY)
    error = _try(header, model)
    # written before Python ends: an engine that broke the heap dies then, and its status says so
    os.write(answer, json.dumps(error).encode())


def _receive(pipe: BinaryIO) -> tuple[dict[str, Any], ModelFile]:
    header: dict[str, Any] = json.loads(pipe.readline())
    body = pipe.read(header["body"])
    weights = None if header["weights"] is None else pipe.read(header["weights"])
    return header, ModelFile(header["kind"], None, body, weights, None, "unsigned")


def _limit_memory(file_bytes: int) -> None:
    """Let the process have the machine's memory, and the engine's own address space at least."""
    try:
        import resource
    except ModuleNotFoundError:
        return  # Windows
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.maxsize < 2**32:
        return  # the address space is the limit
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    wanted = max(machine, _LEAST_MEMORY_BYTES) + 4 * file_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _try(header: dict[str, Any], model: ModelFile) -> dict[str, str] | None:
    import numpy as np

    from edgecv_runtimes.registry import choose

    try:
        engine = choose(header["backend"], model.kind)(
            model, threads=header["threads"], float_precision=header["float_precision"]
        )
        engine.infer({spec.name: np.zeros(spec.shape, spec.dtype) for spec in engine.inputs})
        engine.close()
    except EdgecvError as error:
        return {"kind": type(error).__name__, "what": error.what, "cure": error.cure}
    except MemoryError:
        return {
            "kind": "ModelLoadError",
            "what": "it asks for more memory than there is",
            "cure": _CURE,
        }
    return None


if __name__ == "__main__":
    _main()
