"""Load and run damaged copies of a model, each in a child of this process: ``python forked.py JOB``.

The process imports one engine, stays at one thread (a fork copies only the caller's thread, and
locks that others hold stay locked forever), and forks a child per mutant. What kills or stops a
child is counted here and hurts nobody.

JOB is a JSON file with the fields of :class:`Job`. The answer, on standard output, is JSON: an
object of ``same``, ``different``, ``error``, ``leak`` (an exception that is not edgecv's), ``crash``
and ``hang``, each a mapping from seed to what was seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HANG_S = 10
#: Address space of a child: what a damaged file claims must not take the machine down.
MEMORY_BYTES = 6 << 30
ENDS = ("same", "different", "error", "leak", "crash", "hang")


@dataclass(frozen=True)
class Job:
    """Which file, what to do to it, and who runs it.

    Attributes:
        backend: Name.
        kind: Of the file.
        files: Paths of the model and, for OpenVINO, the weights.
        part: Number of the file that is changed.
        first: Seed.
        last: Seed behind the last one.
    """

    backend: str
    kind: str
    files: tuple[str, ...]
    part: int
    first: int
    last: int

    def source(self, seed: int | None) -> Any:
        """What :class:`edgecv.Runtime` takes; sound for None."""
        parts = [Path(path).read_bytes() for path in self.files]
        if seed is not None:
            parts[self.part] = mutate(parts[self.part], seed)
        return parts[0] if len(parts) == 1 else tuple(parts)


def mutate(data: bytes, seed: int) -> bytes:
    """A copy cut off, or with one or eight bytes changed, in turn."""
    rng = random.Random(seed)
    if seed % 3 == 0:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(1 if seed % 3 == 1 else 8):
        changed[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    return bytes(changed)


def answer(source: Any, backend: str) -> dict[str, str]:
    """Open, ask for everything, run once on seeded input; an end and what was seen."""
    import numpy as np

    from edgecv.errors import EdgecvError
    from edgecv.runtime import Runtime

    try:
        with Runtime(source, backend=backend) as runtime:
            rng = np.random.default_rng(1)
            feeds = {}
            for spec in runtime.info.inputs:
                try:
                    noise = rng.integers(0, 100, spec.shape, np.int8)
                except (MemoryError, ValueError):
                    return {"end": "error", "seen": "no caller has memory for such an input"}
                scale = 0.01 if spec.dtype.startswith("float") else 1
                feeds[spec.name] = (noise * np.float32(scale)).astype(spec.dtype)
            outputs = runtime.infer(feeds)
    except EdgecvError as error:
        return {"end": "error", "seen": f"{type(error).__name__}: {error}"}
    except BaseException as error:  # noqa: BLE001  # what leaks is what is looked for
        return {"end": "leak", "seen": repr(error)[:500]}
    state = hashlib.sha256()
    for name, array in outputs.items():
        state.update(f"{name} {array.dtype} {array.shape}".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return {"end": "answer", "seen": state.hexdigest()}


def in_child(source: Any, backend: str, hang_s: float = HANG_S) -> dict[str, str]:
    """:func:`answer` of a child, or how it died."""
    status, said = _fork(lambda: answer(source, backend), hang_s)
    if status is None:
        return {"end": "hang", "seen": f"no answer in {hang_s} s"}
    if os.WIFSIGNALED(status):
        return {"end": "crash", "seen": signal.Signals(os.WTERMSIG(status)).name}
    if not said:
        return {"end": "crash", "seen": f"exit status {os.WEXITSTATUS(status)}"}
    result: dict[str, str] = json.loads(said)
    return result


def all_in_child(sources: list[Any], backend: str) -> list[str] | None:
    """The ends of many in one child, which is quicker; None when it did not survive."""
    status, said = _fork(lambda: [answer(source, backend)["end"] for source in sources], 6 * HANG_S)
    return None if status or not said else list(json.loads(said))


def _fork(work: Callable[[], Any], hang_s: float) -> tuple[int | None, bytes]:
    """Status of a child that does *work* (None: it did not end), and what it made, as JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_child(writing, work)
    os.close(writing)
    said = b""
    deadline = time.monotonic() + hang_s
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            chunk = pipe.read(65536)
            if not chunk:
                return os.waitpid(child, 0)[1], said
            said += chunk
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, b""


def _be_the_child(writing: int, work: Callable[[], Any]) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os.write(writing, json.dumps(work()).encode())
    finally:
        os._exit(0)


def warm(backend: str, kind: str) -> None:
    """Import everything that a run needs, and start no thread."""
    import edgecv.runtime  # noqa: F401
    from edgecv_runtimes.registry import choose

    if backend == "torch":
        import tiny_torch  # noqa: F401  # the tiny model is nobody's that edgecv knows
    choose(backend, kind).version()  # imports the engine
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    assert threads == 1, f"{threads} threads after importing {backend}"


def main() -> None:
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    warm(job.backend, job.kind)
    right = in_child(job.source(None), job.backend, hang_s=60)  # the first is the slowest
    assert right["end"] == "answer", f"the sound file: {right}"
    ends: dict[str, dict[int, str]] = {end: {} for end in ENDS}
    for seed in range(job.first, job.last):
        found = in_child(job.source(seed), job.backend)
        end = found["end"]
        if end == "answer":
            end = "same" if found["seen"] == right["seen"] else "different"
        ends[end][seed] = found["seen"]
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
