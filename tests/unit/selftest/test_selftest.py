"""The self-test: what ships, what passes, what fails, and what is missing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgecv import artifact
from edgecv.bench import BenchOptions
from edgecv.cli import cli
from edgecv.demo.pictures import CLASSES
from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv.selftest import EngineReport, load_bundle, run_selftest
from edgecv.selftest.bundle import MODELS, Bundle
from edgecv.selftest.run import ENGINES, _judged

ARCHIVE = Path(artifact.__file__).parents[1] / "selftest" / "digits.zip"
QUICK = BenchOptions(blocks=1, runs=50, max_seconds=0.1, warmup=1)
BUNDLE = load_bundle()


class TestWhatShips:
    def test_it_is_small(self) -> None:
        assert ARCHIVE.stat().st_size < 100_000

    def test_every_file_is_intact_and_one_model(self, tmp_path: Path) -> None:
        BUNDLE.unpack(tmp_path)
        quantizers = []
        for kind, name in MODELS.items():
            file = artifact.read(tmp_path / name)
            assert (file.kind, file.state) == (kind, "intact")
            manifest = file.manifest
            assert manifest is not None
            assert (manifest.labels, manifest.precision) == (tuple(sorted(CLASSES)), "int8")
            assert manifest.verification is not None
            assert manifest.verification["verified"] is True
            quantizers.append(manifest.quantizers)
        assert set(quantizers[0]) == set(quantizers[1]) == set(quantizers[2])
        assert len(quantizers[0]) == 20

    def test_its_pictures_show_every_class(self) -> None:
        assert BUNDLE.pictures.shape == (20, 45, 54, 3)
        assert set(BUNDLE.labels) == set(CLASSES)
        assert BUNDLE.integers.shape == (20, len(CLASSES))
        names = sorted(CLASSES)
        assert [names[i] for i in BUNDLE.integers.argmax(1)] == list(BUNDLE.labels)
        # no engine that differs by what it may changes an answer
        second, best = np.sort(BUNDLE.integers.astype(int))[:, -2:].T
        assert (best - second).min() > 2 * max(BUNDLE.tolerance.values())
        assert BUNDLE.tolerance["litert"] == 0

    def test_the_archive_is_written_as_it_is_read(self) -> None:
        again = Bundle.from_bytes(BUNDLE.to_bytes())
        assert again.to_bytes() == BUNDLE.to_bytes()
        assert again.files == BUNDLE.files
        assert np.array_equal(again.pictures, BUNDLE.pictures)
        assert np.array_equal(again.integers, BUNDLE.integers)

    def test_a_damaged_archive_says_so(self) -> None:
        whole = ARCHIVE.read_bytes()
        large = io.BytesIO()
        with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("zeros", bytes(5 << 20))
        for data in (b"", whole[:-100], whole[:200] + whole[300:], large.getvalue()):
            with pytest.raises(
                ModelLoadError, match=r"shipped model is damaged.*Install edgecv again"
            ):
                Bundle.from_bytes(data)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_here_passes(name: str) -> None:
    report = run_selftest([name], bundle=BUNDLE, options=QUICK)
    [engine] = report.engines
    assert (engine.state, engine.problem) == ("passed", "")
    assert (engine.right, engine.pictures) == (20, 20)
    assert engine.difference is not None
    assert engine.tolerance == BUNDLE.tolerance[name]
    assert engine.difference <= engine.tolerance
    assert "int8" in engine.precision
    assert engine.version
    assert engine.p50_ms is not None
    assert engine.p50_ms > 0
    assert engine.peak_rss_bytes is not None
    assert engine.peak_rss_bytes > 10 * 2**20
    assert not report.failed


def changed(step: int) -> Bundle:
    """The bundle with one recorded integer *step* off."""
    integers = BUNDLE.integers.copy()
    integers[3, 4] += step if integers[3, 4] < 100 else -step
    return replace(BUNDLE, integers=integers)


@pytest.mark.parametrize(
    ("name", "step", "state"),
    [("litert", 1, "failed"), ("onnxruntime", 1, "passed"), ("onnxruntime", 30, "failed")],
)
def test_other_integers_are_noticed(name: str, step: int, state: str) -> None:
    [engine] = run_selftest([name], bundle=changed(step), options=QUICK).engines
    assert engine.state == state
    if state == "failed":
        assert f"by up to {engine.difference}" in engine.problem
        assert "report this" in engine.cure


def test_wrong_answers_are_noticed() -> None:
    labels = ("zero", *BUNDLE.labels[1:-1], "nine-red")
    labels = tuple("two" if label == "zero" else label for label in labels)
    bundle = replace(BUNDLE, labels=labels)
    [engine] = run_selftest(["litert"], bundle=bundle, options=QUICK).engines
    assert engine.state == "failed"
    assert f"it names {engine.right} of 20 digits" in engine.problem
    assert engine.right < 20


def test_a_damaged_model_is_a_failure() -> None:
    name = MODELS["tflite"]
    data = bytearray(BUNDLE.files[name])
    data[len(data) // 3] ^= 1
    bundle = replace(BUNDLE, files={**BUNDLE.files, name: bytes(data)})
    [engine] = run_selftest(["litert"], bundle=bundle, options=QUICK).engines
    assert engine.state == "failed"
    assert "changed since edgecv wrote it" in engine.problem


def test_the_legacy_engine_is_judged_by_its_answers() -> None:
    record: Any = SimpleNamespace(backend_version="2.14.0 (tflite-runtime)")
    answers = list(BUNDLE.labels), BUNDLE.integers.astype(np.int64) + 9
    engine = _judged("litert", record, BUNDLE, answers, {})
    assert (engine.state, engine.difference, engine.tolerance) == ("passed", 9, None)
    record.backend_version = "2.3.0"
    assert _judged("litert", record, BUNDLE, answers, {}).state == "failed"


@pytest.mark.parametrize("name", ["no_such_engine", "torch"])
def test_backends_that_cannot_run_it(name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        run_selftest([name], options=QUICK)


# --- the command, with engines that are not there, or broken -----------------------------------

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            {action}

sys.meta_path.insert(0, Block())
"""
ABSENT = "raise ModuleNotFoundError(f'No module named {name!r}', name=name.split('.')[0])"
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"


def run_command(
    folder: Path, names: set[str], action: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """The command where importing *names* does *action*."""
    (folder / "sitecustomize.py").write_text(BLOCK.format(names=names, action=action))
    return subprocess.run(
        [str(Path(sys.executable).parent / "edgecv"), "selftest", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=False,
    )


def test_what_is_missing_comes_with_its_command(tmp_path: Path) -> None:
    done = run_command(tmp_path, {"openvino", "onnxruntime"}, ABSENT)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("edgecv 0.")
    assert lines[0].startswith("ok      litert")
    assert "20 of 20 digits, integers as recorded, p50 " in lines[0]
    told = " ".join(lines[1].split())
    assert told == "absent openvino Install it with: pip install 'edgecv[openvino]'"
    assert "pip install 'edgecv[onnxruntime]'" in lines[2]


def test_no_engine_at_all(tmp_path: Path) -> None:
    every = {"openvino", "onnxruntime", "ai_edge_litert", "tflite_runtime"}
    done = run_command(tmp_path, every, ABSENT, "--json")
    assert done.returncode == 2
    assert "pip install 'edgecv[litert]'" in done.stderr
    told = json.loads(done.stdout)
    assert told["passed"] is False
    assert {engine["state"] for engine in told["engines"]} == {"absent"}


def test_an_engine_that_kills_its_process_is_a_finding(tmp_path: Path) -> None:
    done = run_command(
        tmp_path, {"onnxruntime"}, KILLED, "--backend", "litert", "--backend", "onnxruntime"
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith("ok      litert")
    assert "FAILED  onnxruntime" in done.stdout
    assert "ended by signal 4" in done.stdout


def test_json_names_are_pinned() -> None:
    done = CliRunner().invoke(cli, ["selftest", "--json", "--backend", "litert"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert set(told) == {"schema", "passed", "engines", "environment"}
    [engine] = told["engines"]
    fields = [
        "backend", "state", "version", "right", "pictures", "difference", "tolerance", "p50_ms",
        "peak_rss_bytes", "precision", "valid", "reasons", "problem", "cure",
    ]  # fmt: skip
    assert list(engine) == fields
    assert list(EngineReport.__dataclass_fields__) == fields
