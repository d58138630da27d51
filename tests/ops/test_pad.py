"""Padding against ONNX Runtime: exact on one grid; with zeros inside XNNPACK, and fused into what follows."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model

GRID = (0.0517, 3)


def pad(
    model: OnnxModel, x: str, name: str, pads: list[int], quant: tuple[float, int] | None,
    *, value: float | None = None, axes: list[int] | None = None, mode: str = "constant",
) -> str:  # fmt: skip
    inputs = [x, model.constant(f"{name}/pads", np.array(pads, np.int64))]
    if value is not None or axes is not None:
        inputs.append("" if value is None else model.constant(f"{name}/value", np.float32(value)))
    if axes is not None:
        inputs.append(model.constant(f"{name}/axes", np.array(axes, np.int64)))
    return model.op("Pad", inputs, name, quant, mode=mode)


@st.composite
def padded(draw: st.DrawFn) -> tuple[tuple[int, ...], list[int]]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=5)))
    pads = draw(st.lists(st.integers(0, 2), min_size=2 * len(shape), max_size=2 * len(shape)))
    if not any(pads):
        pads[-1] = 1
    return shape, pads


@given(
    padded(),
    st.integers(-128, 127),
    st.sampled_from([None, 0.0]),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_zeros(
    case: tuple[tuple[int, ...], list[int]], zero: int, value: float | None, other: bool, seed: int
) -> None:  # fmt: skip
    shape, pads = case
    model = OnnxModel()
    x = model.input("input", shape, (GRID[0], zero))
    y = pad(model, x, "out", pads, (0.0713, -9) if other else (GRID[0], zero), value=value)
    converted = assert_int8(model.output(y).bytes(), lsb=0, seed=seed)
    assert [op.op for op in converted.plan.ops] == ["PAD", *["DEQUANTIZE", "QUANTIZE"] * other]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@given(padded(), st.sampled_from([None, 1.5, -float("inf"), 3.4028235e38]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_float(case: tuple[tuple[int, ...], list[int]], value: float | None, seed: int) -> None:
    shape, pads = case
    model = OnnxModel()
    y = pad(model, model.input("input", shape), "padded", pads, None, value=value)
    bounds = [model.constant("low", np.float32(-1)), model.constant("high", np.float32(1))]
    y = model.op("Clip", [y, *bounds], "out")
    converted = assert_float(model.output(y).bytes(), relative=0.0, seed=seed)
    outside = () if value is None else ("PADV2",)
    assert delegation(converted.files[".tflite"]).outside == outside
    assert len(converted.warnings) == len(outside)


@pytest.mark.parametrize("value", [1.5, -1.5, 100.0, -float("inf"), 0.02])
def test_another_number_is_rounded_with_the_result(value: float) -> None:
    """On the same grid before and behind; it works, outside XNNPACK, and the plan says so."""
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), GRID)
    y = pad(model, x, "out", [0, 0, 1, 2, 0, 0, 0, 1], GRID, value=value)
    converted = assert_int8(model.output(y).bytes(), lsb=0)
    assert [op.op for op in converted.plan.ops] == ["PADV2"]
    assert delegation(converted.files[".tflite"]).outside == ("PADV2",)
    assert any("PADV2 'out'" in w and "has no int8 PADV2" in w for w in converted.warnings)


def test_a_number_that_the_grid_has_not_is_padded_in_float() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), GRID)
    y = pad(model, x, "out", [0, 0, 1, 1, 0, 0, 1, 1], (0.0713, 0), value=1.02)
    converted = assert_int8(model.output(y).bytes(), lsb=0)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "PADV2", "QUANTIZE"]


@pytest.mark.parametrize("rounded", [True, False])
@pytest.mark.parametrize("what", ["Conv", "MaxPool"])
def test_in_front_of_a_window(what: str, rounded: bool) -> None:
    """One PAD, whether or not the source rounds the padded picture; the operator behind it is an integer one."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8), (0.0517, -128))
    x = pad(model, x, "padded", [0, 0, 1, 1, 0, 0, 2, 2], (0.0517, -128) if rounded else None)
    if what == "Conv":
        integers = rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
        w = model.weight("w", integers, np.full(4, 0.01, np.float32), 0)
        y = model.op("Conv", [x, w], "out", (0.4, 0), strides=[2, 2])
    else:
        y = model.op("MaxPool", [x], "out", (0.0517, -128), kernel_shape=[3, 3], strides=[2, 2])
    converted = assert_int8(model.output(y).bytes(), lsb=1 if what == "Conv" else 0)
    kernel = {"Conv": "CONV_2D", "MaxPool": "MAX_POOL_2D"}[what]
    assert [op.op for op in converted.plan.ops] == ["PAD", kernel]
    assert delegation(converted.files[".tflite"]).outside == ()


def test_rows_in_whatever_order_they_lie() -> None:
    """Tokens of a picture, transposed: padded where they lie."""
    model = OnnxModel()
    x = model.input("input", (1, 6, 4, 5), GRID)
    shape = model.constant("shape", np.array([1, 6, 20], np.int64))
    x = model.op("Reshape", [x, shape], "flat", GRID)
    y = pad(model, x, "padded", [0, 0, 1, 0, 0, 0], GRID)
    y = model.op("Transpose", [y], "out", GRID, perm=[0, 2, 1])
    converted = assert_int8(model.output(y).bytes(), lsb=0)
    assert "TRANSPOSE" not in converted.plan.statistics()["by_type"]


def test_nothing_is_padded() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), GRID)
    y = pad(model, x, "padded", [0] * 8, GRID)
    converted = assert_int8(model.output(model.op("Add", [x, y], "out", (0.111, 0))).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {"ADD": 1}


@pytest.mark.parametrize("opset", [11, 13, 18, 19, 21])
def test_opsets(opset: int) -> None:
    model = OnnxModel(opset)
    x = model.input("input", (1, 3, 4, 5), GRID)
    if opset < 18:
        y = pad(model, x, "out", [0, 0, 1, 2, 0, 0, 3, 4], GRID)
    else:
        y = pad(model, x, "out", [2, 1, 4, 3], GRID, axes=[-1, 2])
    converted = assert_int8(model.output(y).bytes(), lsb=0)
    assert converted.plan.tensors[converted.plan.outputs[0]].shape == (1, 8, 11, 3)


def test_five_dimensions_need_the_later_version() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 2, 3, 4, 5), GRID)
    y = pad(model, x, "out", [0] * 5 + [1] * 5, GRID)
    assert [op.version for op in plan_model(model.output(y).bytes(), "tflite").ops] == [4]


def test_refusals_name_the_value() -> None:
    def message(pads: list[int], **options: str) -> str:
        model = OnnxModel()
        x = model.input("input", (1, 3, 4, 5))
        with pytest.raises(UnsupportedError) as caught:
            plan_model(model.output(pad(model, x, "out", pads, None, **options)).bytes(), "tflite")  # type: ignore[arg-type]
        return str(caught.value)

    assert "mode must be constant, got reflect" in message([0, 0, 1, 1] * 2, mode="reflect")
    assert "pads must be at least 0, got [0, 0, -1, 0" in message([0, 0, -1, 0, 0, 0, 0, 0])
