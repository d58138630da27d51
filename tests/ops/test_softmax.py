"""Softmax against ONNX Runtime: a float island whatever the output's grid."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model

SHAPES = [(1, 10), (1, 4, 9), (1, 2, 6, 6), (5,), (1, 2, 3, 4, 5)]


@given(
    st.sampled_from(SHAPES), st.floats(0.01, 0.2), st.integers(-128, 127),
    st.sampled_from([(1 / 256, -128), (0.003, -128), (0.0041, -100)]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_int8(
    shape: tuple[int, ...], scale: float, zero: int, grid: tuple[float, int], seed: int
) -> None:
    model = OnnxModel()
    x = model.input("input", shape, (float(np.float32(scale)), zero))
    y = model.op("Softmax", [x], "out", (float(np.float32(grid[0])), grid[1]), axis=-1)
    converted = assert_int8(model.output(y).bytes(), lsb=1, seed=seed)
    ops = [op.op for op in converted.plan.ops if op.op not in ("TRANSPOSE", "RESHAPE")]
    assert ops == ["DEQUANTIZE", "SOFTMAX", "QUANTIZE"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("opset", "axis"), [(11, "last"), (12, "last"), (13, -1), (17, None)])
def test_float(shape: tuple[int, ...], opset: int, axis: int | str | None) -> None:
    model = OnnxModel(opset)
    attributes = {} if axis is None else {"axis": len(shape) - 1 if axis == "last" else axis}
    y = model.op("Softmax", [model.input("input", shape)], "out", **attributes)
    converted = assert_float(model.output(y).bytes(), relative=1e-6)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_the_older_default_axis_is_1() -> None:
    model = OnnxModel(11)
    y = model.op("Softmax", [model.input("input", (1, 10))], "out")
    assert_float(model.output(y).bytes(), relative=1e-6)


def test_values_that_are_moved_are_moved_as_integers() -> None:
    """A picture's logical order is not its memory's: transposed before it is dequantized."""
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    converted = assert_int8(
        model.output(model.op("Softmax", [x], "out", (1 / 256, -128))).bytes(), lsb=1
    )
    ops = [op.op for op in converted.plan.ops]
    assert ops.index("TRANSPOSE") < ops.index("DEQUANTIZE")
    assert ops.count("DEQUANTIZE") == 1


@pytest.mark.parametrize(
    ("opset", "axis", "said"), [(17, 1, r"axis must be the last of 4, got 1"), (11, None, r"of 4, got 1")]
)  # fmt: skip
def test_another_axis_is_refused(opset: int, axis: int | None, said: str) -> None:
    model = OnnxModel(opset)
    attributes = {} if axis is None else {"axis": axis}
    y = model.op("Softmax", [model.input("input", (1, 3, 4, 5))], "out", **attributes)
    with pytest.raises(
        UnsupportedError, match=said + r"; nearest: Softmax over the last dimension"
    ):
        plan_model(model.output(y).bytes(), "tflite")
