"""Operators that do nothing go; copies of rounded constants are rounded again where the file says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8
from onnx import TensorProto
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import convert_model, plan_model

GRID = (0.05, 3)


def between(op: str, opset: int = 17, *more: np.ndarray, **attributes: Any) -> bytes:
    """Add(x, x), *op*, Add(y, y)."""
    model = OnnxModel(opset)
    x = model.input("input", (1, 4))
    inputs = [model.op("Add", [x, x], "sum")]
    inputs += [model.constant(f"c{i}", value) for i, value in enumerate(more)]
    y = model.op(op, inputs, "y", **attributes)
    y = model.op("Cast", [y], "float", to=TensorProto.FLOAT)
    return model.output(model.op("Add", [y, y], "out")).bytes()


@pytest.mark.parametrize(
    ("op", "opset", "more", "attributes"),
    [
        ("Identity", 11, (), {}),
        ("Dropout", 11, (), {"ratio": 0.5}),
        ("Dropout", 13, (np.float32(0.5),), {}),
        ("Dropout", 17, (np.float32(0.5), np.array(False)), {}),
        ("Cast", 13, (), {"to": TensorProto.FLOAT}),
        ("CastLike", 15, (np.zeros(1, np.float32),), {}),
        ("Concat", 13, (), {"axis": -1}),
        ("Expand", 13, (np.array([1, 1]),), {}),
        ("Sum", 13, (), {}),
        ("Mean", 13, (), {}),
        ("Max", 13, (), {}),
        ("Min", 13, (), {}),
    ],
)
def test_it_is_not_in_the_plan(
    op: str, opset: int, more: tuple[np.ndarray, ...], attributes: dict[str, Any]
) -> None:
    converted = assert_float(between(op, opset, *more, **attributes), relative=0)
    assert converted.plan.statistics()["by_type"] == {"ADD": 2}


@pytest.mark.parametrize(
    ("op", "more", "attributes"),
    [
        ("Cast", (), {"to": TensorProto.DOUBLE}),
        ("Dropout", (np.float32(0.5), np.array(True)), {}),
        ("Mean", (np.ones((1, 4), np.float32),), {}),
    ],
)
def test_it_does_something(
    op: str, more: tuple[np.ndarray, ...], attributes: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedError, match=f"{op} 'node:y'"):
        plan_model(between(op, 17, *more, **attributes), "tflite")


def test_a_chain_before_an_output_keeps_its_name() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 4))
    y = model.op("Add", [x, x], "sum")
    for number in range(3):
        y = model.op("Identity", [y], f"copy{number}")
    plan = plan_model(model.output(y).bytes(), "tflite")
    assert [plan.tensors[i].name for i in plan.outputs] == ["copy2"]
    assert plan.statistics()["by_type"] == {"ADD": 1}


def copied_weight(again: tuple[float, int]) -> OnnxModel:
    """A weight behind DequantizeLinear, its copy behind QuantizeLinear and DequantizeLinear, as onnxruntime's
    quantizer makes it of a weight that torch shared."""
    rng = np.random.default_rng(0)
    model = OnnxModel(activation="int8")
    x = model.input("input", (1, 6), GRID)
    first = model.weight("w", rng.integers(-127, 128, (6, 4)).astype(np.int8), 0.01, None)
    copy = model.op("Identity", [first], "copy")
    second = model._pair(copy, "copy/int", "copy/dq", "copy", again)
    y = model.op("MatMul", [x, first], "y", (0.2, -5))
    z = model.op("MatMul", [x, second], "z", (0.2, -5))
    return model.output(model.op("Add", [y, z], "out", (0.4, -7)))


@pytest.mark.parametrize("again", [(0.01, 0), (0.0123, 0)], ids=["same grid", "another grid"])
def test_a_copy_of_a_rounded_weight_is_rounded_again(
    again: tuple[float, int], tmp_path: Path
) -> None:
    source = copied_weight(again).bytes()
    converted = assert_int8(source, lsb=1)
    assert converted.plan.statistics()["by_type"] == {"FULLY_CONNECTED": 2, "ADD": 1}
    for target, suffix in (("tflite", ".tflite"), ("onnx", ".onnx")):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(convert_model(source, target).files[suffix])
        assert compare_parameters(path, source) == []


def test_a_copy_with_a_zero_point_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="the weight 'copy/dq' has zero point 9"):
        plan_model(copied_weight((0.01, 9)).bytes(), "tflite")
