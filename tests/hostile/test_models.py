"""Damaged model files, signed and not, on every backend: an error or an answer, never a death.

300 copies of each small file are cut off or get one or eight other bytes, and each is loaded and run
through ``Runtime`` in a process of its own (``forked.py``). A file with a manifest must never give
another answer than before; of a file without one, nobody can know.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cases
import forked
import pytest
import tiny_models

from edgecv import artifact

QUICK_SEEDS, ALL_SEEDS = 60, 300
SEEDS = [
    pytest.param((0, QUICK_SEEDS), id="quick"),
    pytest.param((QUICK_SEEDS, ALL_SEEDS), id="all", marks=pytest.mark.slow),
]
HELPERS = Path(forked.__file__).parent
#: Libraries for linear algebra start their threads when they are imported.
SINGLE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class File(NamedTuple):
    """A small model: backend, kind and precision; which part is changed; whether it has a manifest."""

    backend: str
    kind: str
    precision: str
    part: int
    signed: bool

    def __str__(self) -> str:
        part = ("", "-bin")[self.part] if self.kind == "openvino" else ""
        return f"{self.backend}-{self.kind}{part}-{self.precision}-{'signed' if self.signed else 'unsigned'}"


def files() -> Iterator[File]:
    seen = {
        (case.backend, case.kind, case.precision): case for case in cases.CASES if not case.foreign
    }
    for backend, kind, precision in (*seen, ("openvino", "onnx", "int8")):
        for part in (0, 1) if kind == "openvino" else (0,):
            yield File(backend, kind, precision, part, signed=True)
            # these two read from the manifest what there is to run
            if backend not in ("null", "torch"):
                yield File(backend, kind, precision, part, signed=False)


FILES = list(dict.fromkeys(files()))


@cache
def source(kind: str, precision: str, signed: bool) -> tuple[bytes, ...]:
    """Content of the model and, for OpenVINO, the weights."""
    whole = cases.sealed(kind, precision)
    parts = whole if isinstance(whole, tuple) else (whole,)
    assert all(isinstance(part, bytes) for part in parts)
    if signed:
        return parts  # type: ignore[return-value]
    return (artifact.read(whole).body, *parts[1:])  # type: ignore[return-value]


class Harness:
    """Runs jobs side by side, from the first time that one of them is asked for."""

    def __init__(self, folder: Path, chosen: list[tuple[File, tuple[int, int]]]) -> None:
        self._folder, self._chosen = folder, chosen
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
        self._running: dict[tuple[File, tuple[int, int]], Future[dict[str, dict[str, str]]]] = {}

    def ends(self, file: File, seeds: tuple[int, int]) -> dict[str, dict[str, str]]:
        """End → seed → what was seen."""
        if not self._running:
            # made one after the other: torch does not like to be imported twice at once
            jobs = [(key, self._prepare(*key)) for key in self._chosen]
            self._running = {key: self._pool.submit(_run, job) for key, job in jobs}
        return self._running[file, seeds].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _prepare(self, file: File, seeds: tuple[int, int]) -> Path:
        """Write the file and what to do with it."""
        paths = []
        for number, content in enumerate(source(file.kind, file.precision, file.signed)):
            path = self._folder / f"{file}-{seeds[0]}.{number}"
            path.write_bytes(content)
            paths.append(str(path))
        job = forked.Job(file.backend, file.kind, tuple(paths), file.part, *seeds)
        told = self._folder / f"{file}-{seeds[0]}.json"
        told.write_text(json.dumps(asdict(job)))
        return told


def _run(job: Path) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, str(HELPERS / "forked.py"), str(job)],
        capture_output=True, text=True, env={**os.environ, **SINGLE}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, dict[str, str]] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def harness(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Harness]:
    items = [item for item in request.session.items if item.path == request.path]
    params = [
        item.callspec.params
        for item in items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    chosen = [(p["file"], p["seeds"]) for p in params if "file" in p]
    running = Harness(tmp_path_factory.mktemp("damaged"), chosen)
    yield running
    running.close()


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("file", FILES, ids=str)
def test_damaged_files(file: File, seeds: tuple[int, int], harness: Harness) -> None:
    ends = harness.ends(file, seeds)
    assert ends["crash"] == {}
    assert ends["hang"] == {}
    assert ends["leak"] == {}
    # a suite that no longer gets as far as an error proves nothing
    assert len(ends["error"]) > (seeds[1] - seeds[0]) / 3
    if file.signed:
        assert ends["different"] == {}


def test_every_backend_and_kind_is_damaged() -> None:
    assert {(case.backend, case.kind) for case in cases.CASES if not case.foreign} <= {
        f[:2] for f in FILES
    }


@pytest.mark.parametrize(
    "seeds",
    [pytest.param((0, 2), id="quick"), pytest.param((2, 60), id="all", marks=pytest.mark.slow)],
)
def test_random_operators(seeds: tuple[int, int]) -> None:
    """Models of one operator that contradict themselves; LiteRT's own checks let 3 in 1,000 kill it."""
    done = subprocess.run(
        [sys.executable, str(HELPERS / "random_operators.py"), *map(str, seeds)],
        capture_output=True, text=True, env={**os.environ, **SINGLE}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["deaths"] == []
    # some must get past every check, or nothing was tried
    assert found["answers"] > found["errors"] / 50


@pytest.mark.parametrize("seed", range(6))
def test_mutations_are_what_they_are_called(seed: int) -> None:
    data = bytes(range(256)) * 8
    changed = forked.mutate(data, seed)
    assert changed == forked.mutate(data, seed)
    if seed % 3 == 0:
        assert len(changed) < len(data)
        assert data.startswith(changed)
    else:
        different = sum(a != b for a, b in zip(data, changed, strict=True))
        assert 1 <= different <= (1 if seed % 3 == 1 else 8)


def test_the_harness_sees_deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crashes, hangs and exceptions of others, made on purpose."""
    script = (
        "import forked, os, sys, time\n"
        "def answer(source, backend):\n"
        "    if source == 'crash': os.abort()\n"
        "    if source == 'hang': time.sleep(60)\n"
        "    if source == 'exit': os._exit(3)\n"
        "    return {'end': 'answer', 'seen': source}\n"
        "forked.answer = answer\n"
        "for source in ('crash', 'hang', 'exit', 'x'): print(forked.in_child(source, '', 2)['end'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=HELPERS, check=True
    )
    assert done.stdout.split() == ["crash", "hang", "crash", "answer"]
    assert forked.answer(b"no model", "litert")["end"] == "error"
    monkeypatch.setattr("edgecv.runtime.Runtime", None)
    assert forked.answer(tiny_models.tflite(), "litert")["end"] == "leak"
