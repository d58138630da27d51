"""Concatenations against ONNX Runtime: exact on one grid, else within 1 LSB, all inside XNNPACK."""

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


def concat(
    shape: tuple[int, ...], sizes: list[int], axis: int, grids: list[tuple[float, int] | None],
    out: tuple[float, int] | None, opset: int = 17,
) -> bytes:  # fmt: skip
    model = OnnxModel(opset)
    names = []
    for i, (size, grid) in enumerate(zip(sizes, grids, strict=True)):
        own = tuple(size if a == axis % len(shape) else d for a, d in enumerate(shape))
        names.append(model.input(f"input{i}", own, grid))
    return model.output(model.op("Concat", names, "out", out, axis=axis)).bytes()


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], list[int], int]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=5)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return shape, draw(st.lists(st.integers(1, 4), min_size=2, max_size=12)), axis


@given(cases(), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_one_grid_is_exact(case: tuple[tuple[int, ...], list[int], int], seed: int) -> None:
    shape, sizes, axis = case
    converted = assert_int8(concat(shape, sizes, axis, [GRID] * len(sizes), GRID), lsb=0, seed=seed)
    ops = [op for op in converted.plan.ops if op.op == "CONCATENATION"]
    assert all(2 <= len(op.inputs) <= 5 for op in ops)
    assert len(ops) == max(1, -(-(len(sizes) - 1) // 4))
    assert {op.op for op in converted.plan.ops} == {"CONCATENATION"}
    assert delegation(converted.files[".tflite"]).outside == ()


@given(cases(), st.integers(0, 99), st.data())
@settings(max_examples=80, deadline=None)
def test_unequal_grids(
    case: tuple[tuple[int, ...], list[int], int], seed: int, data: st.DataObject
) -> None:
    shape, sizes, axis = case
    grids = st.tuples(st.floats(0.01, 0.2), st.integers(-128, 127))
    own = [data.draw(st.one_of(st.just(GRID), grids)) for _ in sizes]
    converted = assert_int8(concat(shape, sizes, axis, list(own), GRID), lsb=1, seed=seed)
    exact = (float(np.float32(GRID[0])), GRID[1])
    odd = sum((float(np.float32(scale)), zero) != exact for scale, zero in own)
    assert converted.plan.statistics()["by_type"].get("QUANTIZE", 0) == odd
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("count", [2, 5, 6, 9, 10, 21])
def test_float(count: int) -> None:
    source = concat((1, 3, 4, 5), [2] * count, 1, [None] * count, None)
    converted = assert_float(source, relative=0.0)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_float_and_integers_into_either() -> None:
    source = concat((1, 3, 4, 5), [2, 3, 4], 1, [None, GRID, (0.03, 0)], GRID)
    converted = assert_int8(source, lsb=1)
    assert delegation(converted.files[".tflite"]).outside == ()
    source = concat((1, 3, 4, 5), [2, 3, 4], 1, [None, GRID, (0.03, 0)], None)
    converted = assert_float(source, relative=1e-6)
    assert converted.plan.statistics()["by_type"] == {"DEQUANTIZE": 2, "CONCATENATION": 1}


def test_scales_far_apart() -> None:
    """Beyond what the delegate's int8 QUANTIZE takes."""
    source = concat((1, 60), [60, 60, 60], 0, [(0.11, 3), (0.0001, 0), (31.0, 5)], (0.11, 3))
    converted = assert_int8(source, lsb=1)
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("quantized", [True, False])
def test_constants_among_the_inputs(quantized: bool) -> None:
    """A class token in front of the others: rounded once to the output's grid."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 5, 6), GRID if quantized else None)
    plain = model.constant("plain", rng.normal(0, 1, (1, 1, 6)).astype(np.float32))
    inputs = [plain, x]
    if quantized:
        integers = rng.integers(-128, 128, (1, 2, 6)).astype(np.int8)
        inputs.append(model.weight("own", integers, np.float32(GRID[0]), None, zero=GRID[1]))
        inputs.append(model.weight("other", integers, np.float32(0.031), None, zero=-7))
    source = model.output(
        model.op("Concat", inputs, "out", GRID if quantized else None, axis=1)
    ).bytes()
    converted = assert_int8(source, lsb=0) if quantized else assert_float(source, relative=0.0)
    assert converted.plan.statistics()["by_type"] == {"CONCATENATION": 1}
    assert delegation(converted.files[".tflite"]).outside == ()


def test_the_same_input_twice_is_brought_to_the_grid_once() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.031, 0))
    y = model.op("Concat", [x, x, x], "out", GRID, axis=1)
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {
        "DEQUANTIZE": 1,
        "QUANTIZE": 1,
        "CONCATENATION": 1,
    }
    assert any(t.name == "input:regrid" for t in converted.plan.tensors)


def test_a_single_input_is_nothing() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), GRID)
    y = model.op("Concat", [x], "one", GRID, axis=1)
    converted = assert_int8(model.output(model.op("Add", [y, x], "out", (0.11, 0))).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {"ADD": 1}


def test_pictures_stay_in_nhwc_and_rows_in_logical_order() -> None:
    """Where the inputs lie in logical order in memory, so does the result."""
    model = OnnxModel()
    x = model.input("input", (3, 4, 6), GRID)
    axes = model.constant("axes", np.array([0], np.int64))
    y = model.op("Unsqueeze", [x, axes], "scores", GRID)
    y = model.op("Concat", [y, y], "both", GRID, axis=2)
    y = model.op("Squeeze", [y, axes], "out", GRID)
    converted = assert_int8(model.output(y).bytes(), lsb=0)
    assert "TRANSPOSE" not in converted.plan.statistics()["by_type"]


def test_dense_block() -> None:
    """Growing concatenations, each on a grid of its own, a convolution behind each."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 4, 6, 5), GRID)
    features = [x]
    for i in range(7):
        grid = (0.05 + 0.007 * i, i)
        joined = model.op("Concat", list(features), f"concat{i}", grid, axis=1) if i else x
        channels = 4 + 2 * i
        integers = rng.integers(-127, 128, (2, channels, 3, 3)).astype(np.int8)
        w = model.weight(f"w{i}", integers, np.full(2, 0.01, np.float32), 0)
        features.append(
            model.op("Conv", [joined, w], f"conv{i}", (0.3 + 0.01 * i, 2 * i), pads=[1] * 4)
        )
    y = model.op("Concat", features, "out", (0.3, 0), axis=1)
    converted = assert_int8(model.output(y).bytes(), lsb=9)
    assert "TRANSPOSE" not in converted.plan.statistics()["by_type"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("opset", [11, 13])
def test_opsets(opset: int) -> None:
    assert_int8(concat((1, 3, 4, 5), [2, 3], -3, [GRID, GRID], GRID, opset), lsb=0)


def test_refusals_name_the_value() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 2, 1, 2, 1, 2, 1))
    source = model.output(model.op("Concat", [x, x], "out", axis=1)).bytes()
    with pytest.raises(UnsupportedError, match="at most 6 dimensions, got 7"):
        plan_model(source, "tflite")
