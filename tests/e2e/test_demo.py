"""``edgecv demo`` through the installed command line, and what its report and artifacts say. Minutes."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv.artifact import read
from edgecv.bench import BenchOptions
from edgecv.data import load_json
from edgecv.demo.pipeline import DemoOptions, run_demo
from edgecv.train.folder import RUN_FILES

pytestmark = pytest.mark.slow
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def report(demo: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((demo / "report.json").read_text())
    return record


def test_everything_is_under_one_folder(demo: Path) -> None:
    present = {path.name for path in demo.iterdir()}
    assert present == {*RUN_FILES, "pictures", "artifacts", "ptq", ".edgecv-demo"}


def test_the_report_has_the_fixed_fields(report: dict[str, Any], demo: Path) -> None:
    assert [b["backend"] for b in report["backends"]] == ["litert", "openvino", "onnxruntime"]
    for backend in report["backends"]:
        for key in ("float_top1", "int8_top1", "agreement_with_torch"):
            assert 0.9 < backend[key] <= 1, (backend["backend"], key)
        for key in ("int8_path", "float_path"):
            assert not Path(backend[key]).is_absolute()
            assert (demo / backend[key]).is_file()
        assert set(backend["latency_ms"]) >= {"p50", "p90", "p99"}
        assert backend["peak_rss_bytes"] > 20 * 2**20
        assert backend["model_bytes"] > 100_000
        assert "int8" in backend["executed_precision"]
    pictures = list((demo / report["test_folder"]).rglob("*.png"))
    assert len(pictures) == report["test_pictures"] >= 2000


def test_int8_is_within_a_point_and_agrees_with_torch(report: dict[str, Any]) -> None:
    for backend in report["backends"]:
        assert backend["agreement_with_torch"] >= 0.99
        assert abs(backend["int8_top1"] - backend["float_top1"]) <= 0.01


def test_no_original_digit_is_in_two_splits(demo: Path) -> None:
    dataset = load_json(demo / "data.json")
    splits: dict[str, set[str]] = {}
    for item in dataset.items:
        splits.setdefault(item.group, set()).add(item.split)
    assert len(splits) == 1797
    assert all(len(found) == 1 for found in splits.values())


def test_scales_are_identical_in_every_artifact(demo: Path) -> None:
    source = read(demo / "model.qdq.onnx").manifest
    assert source is not None
    for suffix in ("tflite", "xml", "onnx"):
        manifest = read(demo / "artifacts" / f"model.int8.{suffix}").manifest
        assert manifest is not None
        assert set(manifest.quantizers) == set(source.quantizers)


def test_the_html_report_is_one_file(demo: Path) -> None:
    html = (demo / "report.html").read_text(encoding="utf-8")
    assert html.count("<svg") >= 2
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:""", html)
    assert "<script" not in html


def test_a_second_demo_needs_overwrite(cli: Cli, demo: Path) -> None:
    before = (demo / "report.json").read_bytes()
    done = cli("demo", "--out", demo)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert (demo / "report.json").read_bytes() == before


def test_a_net_with_islands_is_as_near_torch_as_rounding_allows(tmp_path: Path) -> None:
    """MobileViT, hardly trained: what the gates on logits say does not depend on its accuracy."""
    options = DemoOptions.of("mobilevit_xxs")
    options = dataclasses.replace(
        options,
        pictures=dataclasses.replace(options.pictures, train_per_digit=1, held_out_per_digit=1),
        recipe=dataclasses.replace(
            options.recipe, epochs=2, qat_epochs=1, calibration_pictures=128, threads=1
        ),
        bench=BenchOptions(runs=50, blocks=1, max_seconds=1.0),
    )
    said: list[str] = []
    result = run_demo(tmp_path, options, step=said.append, note=said.append)
    gates = {gate.name: gate for gate in result.gates}
    assert len(gates) == 12
    for engine in ("litert", "openvino", "onnxruntime"):
        for promise in ("logits as near torch", "every disagreement"):
            (gate,) = (
                gate for name, gate in gates.items() if name.startswith(f"{engine}: {promise}")
            )
            assert gate.passed, (gate.name, gate.detail)
    notes = result.report.notes
    assert any(note.startswith("openvino is compared with torch without the 77") for note in notes)
    assert not any(note.startswith("litert is compared with torch without") for note in notes)
    assert sum("of a half rounded the other way, 113 pictures" in note for note in notes) == 3
