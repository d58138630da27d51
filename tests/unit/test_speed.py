"""int8 against its float twin: measured for real once, judged on made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx_models import small_resnet

from edgecv import conversion
from edgecv.bench import BenchOptions
from edgecv.conversion import convert_all
from edgecv.speed import Speed, against_float_twin
from edgecv.stats import Estimate

SHORT = BenchOptions(blocks=3, runs=60, max_seconds=0.2, warmup=2)


def _speed(low: float, high: float, *, valid: bool = True) -> Speed:
    ratio = Estimate((low + high) / 2, low, high, 6, "made up")
    return Speed(1.0, 2.0, ratio, "int8", "float32", valid, () if valid else ("It was busy.",))


def test_measured(tmp_path: Path) -> None:
    source = tmp_path / "net.qdq.onnx"
    source.write_bytes(small_resnet().bytes())
    [made] = convert_all(source, ["tflite"], out=tmp_path, verify=False)
    found = against_float_twin(source.read_bytes(), made.path, "tflite", options=SHORT)
    assert found.int8_executes.startswith("int8")
    assert found.float_executes.startswith("float32")
    assert found.ratio.value == pytest.approx(found.int8_ms / found.float_ms, rel=0.05)
    json.dumps(found.to_json(), allow_nan=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.int8.tflite", "net.qdq.onnx"]


@pytest.mark.parametrize(
    ("speed", "warned"),
    [
        (_speed(1.1, 1.4), True),
        (_speed(0.9, 1.4), False),
        (_speed(0.3, 0.5), False),
        (_speed(1.1, 1.4, valid=False), False),
    ],
)
def test_the_report_warns_where_int8_is_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: Speed, warned: bool
) -> None:
    monkeypatch.setattr(conversion, "against_float_twin", lambda *_: speed)
    source = tmp_path / "net.qdq.onnx"
    source.write_bytes(small_resnet().bytes())
    [made] = convert_all(source, ["tflite"], out=tmp_path, verify=False, measure=True)
    assert made.report["speed"]["ratio"]["low"] == speed.ratio.low
    assert any("int8 is slower" in text for text in made.report["warnings"]) == warned


def test_a_float_artifact_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "against_float_twin", None)
    source = tmp_path / "net.float.onnx"
    source.write_bytes(small_resnet(quantized=False).bytes())
    [made] = convert_all(source, ["tflite"], out=tmp_path, verify=False, measure=True)
    assert "speed" not in made.report
