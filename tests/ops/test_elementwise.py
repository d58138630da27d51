"""Sums against ONNX Runtime, with operands in different orders and broadcasting."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv_converters import plan_model

SHAPES = [((1, 3, 4, 5), (1, 3, 4, 5)), ((1, 3, 4, 5), (1, 3, 1, 1)), ((1, 6), (1, 6)), ((1, 4, 6), (1, 1, 6)),
          ((1, 4, 6), (6,))]  # fmt: skip


@given(
    st.sampled_from(SHAPES), st.floats(0.01, 0.1), st.floats(0.01, 0.1), st.integers(-128, 127),
    st.integers(-128, 127), st.booleans(), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_int8(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    first: float, second: float, zero: int, other_zero: int, clamp: bool, swap: bool, seed: int,
) -> None:  # fmt: skip
    model = OnnxModel()
    x = model.input("first", shapes[0], (first, zero))
    y = model.input("second", shapes[1], (second, other_zero))
    operands = [y, x] if swap else [x, y]
    quant = (float(np.float32(first + second)), -128 if clamp else 3)
    z = model.op("Add", operands, "sum", None if clamp else quant)
    if clamp:
        z = model.op("Relu", [z], "out", quant)
    converted = assert_int8(model.output(z).bytes(), lsb=1, seed=seed)
    # a missing dimension is added, nothing is moved
    assert [op.op for op in converted.plan.ops if op.op != "RESHAPE"] == ["ADD"]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1), (1,), (1, 3, 4, 5), (5,), (4, 1)])
def test_quantized_constant(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    c = model.weight(
        "c", rng.integers(-128, 128, shape).astype(np.int8), np.float32(0.02), None, zero=-7
    )
    assert_int8(model.output(model.op("Add", [x, c], "out", (0.06, 0))).bytes(), lsb=1)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 4, 5), (5,)])
def test_float_constant(shape: tuple[int, ...]) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5))
    c = model.constant("c", np.random.default_rng(0).normal(0, 1, shape).astype(np.float32))
    assert_float(model.output(model.op("Add", [x, c], "out")).bytes(), relative=1e-6)


def test_float_constant_beside_a_quantized_value_is_a_float_sum() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    c = model.constant("c", np.random.default_rng(0).normal(0, 1, (3, 1, 1)).astype(np.float32))
    converted = assert_int8(model.output(model.op("Add", [x, c], "out", (0.06, 0))).bytes(), lsb=0)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "ADD", "QUANTIZE"]


def test_operands_in_different_orders_meet_by_one_transpose() -> None:
    """A picture (NHWC in memory) plus a matrix that was reshaped to one (logical order in memory)."""
    model = OnnxModel()
    x = model.input("picture", (1, 3, 4, 5), (0.05, 3))
    flat = model.input("flat", (1, 60), (0.05, 3))
    shape = model.constant("shape", np.array([1, 3, 4, 5], np.int64))
    y = model.op("Reshape", [flat, shape], "reshaped", (0.05, 3))
    model.output(model.op("Add", [y, x], "out", (0.1, 0)))
    converted = assert_int8(model.bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"]["TRANSPOSE"] == 1


def test_scale_ratio_beyond_the_delegate_is_a_warning() -> None:
    model = OnnxModel()
    x = model.input("first", (1, 6), (1.0, 0))
    y = model.input("second", (1, 6), (0.001, 0))
    source = model.output(model.op("Add", [x, y], "out", (0.001, 0))).bytes()
    plan = plan_model(source, "tflite")
    assert any("'out'" in w and "outside XNNPACK" in w and "scale" in w for w in plan.warnings)
    converted = assert_int8(source, lsb=1)
    assert delegation(converted.files[".tflite"]).outside == ("ADD",)
