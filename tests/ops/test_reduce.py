"""Means and maxima over whole dimensions against ONNX Runtime: within 1 LSB, maxima exact."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model


def mean(op: str, shape: tuple[int, ...], quant: tuple[float, int] | None, out: tuple[float, int] | None, *,
         keepdims: int = 1, opset: int = 17, axes: tuple[int, ...] = (2, 3)) -> bytes:  # fmt: skip
    model = OnnxModel(opset)
    inputs = [model.input("input", shape, quant)]
    attributes: dict[str, object] = {}
    if op.startswith("Reduce"):
        attributes["keepdims"] = keepdims
        if opset < 18:
            attributes["axes"] = axes
        else:
            inputs.append(model.constant("axes", np.array(axes, np.int64)))
    return model.output(model.op(op, inputs, "out", out, **attributes)).bytes()


@given(
    st.sampled_from(["GlobalAveragePool", "ReduceMean"]), st.integers(1, 9), st.integers(1, 9), st.integers(1, 20),
    st.integers(-128, 127), st.floats(0.3, 1.5), st.integers(0, 1), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_int8(
    op: str, height: int, width: int, channels: int, zero: int, ratio: float, keep: int, seed: int
) -> None:
    assume(height * width > 1)
    quant, out = (0.05, zero), (float(np.float32(0.05 * ratio)), zero)
    source = mean(op, (1, channels, height, width), quant, out, keepdims=keep)
    converted = assert_int8(source, lsb=1, seed=seed)
    assert [o.op for o in converted.plan.ops if o.op != "RESHAPE"] == ["MEAN"]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("op", ["GlobalAveragePool", "ReduceMean"])
def test_float(op: str) -> None:
    assert_float(mean(op, (1, 6, 5, 7), None, None), relative=1e-6)


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize("axes", [(2, 3), (-1, -2)])
def test_opsets_and_negative_axes(opset: int, axes: tuple[int, ...]) -> None:
    assert_int8(
        mean("ReduceMean", (1, 6, 5, 7), (0.05, 0), (0.02, 0), opset=opset, axes=axes), lsb=1
    )


@st.composite
def reductions(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape with something to reduce, and axes, some counted from the end."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=5)))
    rank = len(shape)
    axes = draw(st.lists(st.integers(0, rank - 1), min_size=1, unique=True))
    assume(any(shape[axis] > 1 for axis in axes))
    return shape, tuple(a - rank if draw(st.booleans()) else a for a in axes)


@given(
    st.sampled_from(["ReduceMean", "ReduceMax"]), reductions(), st.integers(-128, 127), st.booleans(),
    st.integers(0, 1), st.sampled_from([17, 20]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_any_axes_int8(
    op: str, case: tuple[tuple[int, ...], tuple[int, ...]], zero: int, same: bool, keep: int, opset: int, seed: int
) -> None:  # fmt: skip
    shape, axes = case
    grid = (0.0517, zero)
    out = grid if same else (0.0413, 5)
    source = mean(op, shape, grid, out, keepdims=keep, axes=axes, opset=opset)
    exact = op == "ReduceMax"
    converted = assert_int8(source, lsb=0 if exact else 1, seed=seed)
    kinds = [o.op for o in converted.plan.ops if o.op not in ("RESHAPE", "TRANSPOSE")]
    moved = ["DEQUANTIZE", "QUANTIZE"] if exact and not same else []
    assert kinds == ["REDUCE_MAX" if exact else "MEAN", *moved]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@given(
    st.sampled_from(["ReduceMean", "ReduceMax"]),
    reductions(),
    st.integers(0, 1),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_any_axes_float(
    op: str, case: tuple[tuple[int, ...], tuple[int, ...]], keep: int, seed: int
) -> None:
    shape, axes = case
    model = OnnxModel()
    # away from 0, where a mean loses all its digits
    x = model.op("Add", [model.input("input", shape), model.constant("five", np.float32(5))], "x")
    y = model.op(op, [x], "out", axes=axes, keepdims=keep)
    converted = assert_float(model.output(y).bytes(), relative=1e-6, seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize(
    ("axes", "numbers"), [((1,), [3]), ((2,), [1]), ((3,), [2]), ((2, 3), [1, 2]), ((1, 2, 3), [1, 2, 3])]
)  # fmt: skip
def test_a_picture_is_reduced_where_it_lies(axes: tuple[int, ...], numbers: list[int]) -> None:
    plan = plan_model(mean("ReduceMean", (1, 6, 5, 7), (0.05, 0), (0.02, 0), axes=axes), "tflite")
    op = next(o for o in plan.ops if o.op == "MEAN")
    data = plan.tensors[op.inputs[1]].data
    assert data is not None
    assert data.tolist() == numbers
    assert op.inputs[0] == plan.inputs[0]


def test_tokens_are_averaged_without_a_transpose() -> None:
    """A picture as tokens, [B, C, H, W] to [B, N, C], and the mean over the tokens."""
    model = OnnxModel()
    x = model.input("input", (1, 6, 4, 5), (0.05, 0))
    shape = model.constant("shape", np.array([1, 6, 20], np.int64))
    x = model.op("Reshape", [x, shape], "flat", (0.05, 0))
    x = model.op("Transpose", [x], "tokens", (0.05, 0), perm=[0, 2, 1])
    y = model.op("ReduceMean", [x], "out", (0.02, 0), axes=[1], keepdims=0)
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {"MEAN": 1}


@pytest.mark.parametrize("op", ["GlobalMaxPool", "GlobalAveragePool"])
@pytest.mark.parametrize("shape", [(1, 6, 5, 7), (2, 6, 5)])
def test_global_pools(op: str, shape: tuple[int, ...]) -> None:
    converted = assert_int8(mean(op, shape, (0.0517, 3), (0.0517, 3)), lsb=int("Average" in op))
    assert delegation(converted.files[".tflite"]).outside == ()
    assert_float(mean(op, shape, None, None), relative=1e-6)


def test_all_axes_and_none() -> None:
    """Without axes everything is reduced, unless the operator says that nothing is."""
    model = OnnxModel(18)
    x = model.input("input", (1, 6, 4, 5), (0.0517, 3))
    y = model.op("ReduceMean", [x], "out", (0.0213, 3), keepdims=1)
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"]["MEAN"] == 1
    model = OnnxModel(18)
    x = model.input("input", (1, 6, 4, 5), (0.0517, 3))
    y = model.op("ReduceMean", [x], "same", (0.0517, 3), noop_with_empty_axes=1)
    converted = assert_int8(model.output(model.op("Add", [x, y], "out", (0.11, 0))).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {"ADD": 1}


def test_computed_axes_are_refused() -> None:
    model = OnnxModel(18)
    x = model.input("input", (1, 6, 4, 5))
    largest = model.op("ReduceMax", [x, model.constant("c", np.array([1, 2, 3]))], "l", keepdims=0)
    axes = model.op("Cast", [largest], "axes", to=TensorProto.INT64)
    model.output(model.op("ReduceMean", [x, axes], "out", keepdims=1), (1, 1, 1, 5))
    with pytest.raises(UnsupportedError, match="'axes'"):
        plan_model(model.bytes(check=False), "tflite")
