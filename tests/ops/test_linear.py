"""Matrix products with a constant against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel, conv_weights


def gemm(
    rows: int,
    columns: int,
    *,
    transposed: bool,
    per_channel: bool,
    clamp: bool,
    zero: int,
    seed: int,
) -> bytes:
    rng = np.random.default_rng(seed)
    model = OnnxModel()
    x = model.input("input", (1, rows), (0.03, zero))
    shape = (columns, rows) if transposed else (rows, columns)
    axis = 0 if transposed else 1
    weight, bias, scale = conv_weights(
        rng, model, "fc", shape, 0.03, per_channel=per_channel, axis=axis
    )
    if clamp:
        y = model.op("Gemm", [x, weight, bias], "fc", transB=int(transposed))
        y = model.op("Relu", [y], "out", (scale, -128))
    else:
        y = model.op("Gemm", [x, weight, bias], "out", (scale, zero), transB=int(transposed))
    return model.output(y).bytes()


@given(
    st.integers(1, 40), st.integers(1, 20), st.booleans(), st.booleans(), st.booleans(), st.integers(-128, 127),
    st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_gemm_int8(
    rows: int, columns: int, transposed: bool, per_channel: bool, clamp: bool, zero: int, seed: int
) -> None:
    source = gemm(
        rows,
        columns,
        transposed=transposed,
        per_channel=per_channel,
        clamp=clamp,
        zero=zero,
        seed=seed,
    )
    converted = assert_int8(source, lsb=1, seed=seed)
    assert [op.op for op in converted.plan.ops] == ["FULLY_CONNECTED"]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", ["none", "row", "matrix"])
def test_gemm_float(transposed: bool, bias: str) -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 12))
    w = model.constant("w", rng.normal(0, 1, (7, 12) if transposed else (12, 7)).astype(np.float32))
    inputs = [x, w]
    if bias != "none":
        inputs.append(
            model.constant(
                "b", rng.normal(0, 1, (7,) if bias == "row" else (1, 7)).astype(np.float32)
            )
        )
    y = model.op("Gemm", inputs, "out", transB=int(transposed))
    assert_float(model.output(y).bytes(), relative=1e-5)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_matmul_int8(leading: list[int], bias: bool, clamp: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = OnnxModel()
    # four dimensions at the edge are a picture in NHWC order; three and two are as they are
    shape = (*leading[:2], 6)
    x = model.input("input", shape, (0.03, 7))
    weight, constant, scale = conv_weights(rng, model, "fc", (6, 9), 0.03, axis=1)
    if bias or clamp:
        y = model.op("MatMul", [x, weight], "product")
        if bias:
            y = model.op("Add", [y, constant], "sum", None if clamp else (scale, 3))
        if clamp:
            y = model.op("Relu", [y], "out", (scale, -128))
    else:
        y = model.op("MatMul", [x, weight], "out", (scale, 3))
    converted = assert_int8(model.output(y).bytes(), lsb=1, seed=seed)
    assert [op.op for op in converted.plan.ops] == ["FULLY_CONNECTED"]


def test_matmul_with_a_rounded_product_keeps_both_roundings() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 6), (0.03, 7))
    weight, _, scale = conv_weights(rng, model, "fc", (6, 9), 0.03, axis=1)
    product = model.op("MatMul", [x, weight], "product", (scale, 3))
    shift = model.weight(
        "shift", rng.integers(-128, 128, (9,)).astype(np.int8), np.float32(scale), None, zero=4
    )
    y = model.op("Add", [product, shift], "out", (2 * scale, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["FULLY_CONNECTED", "ADD"]


def test_float_matmul_of_rank_three() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 5, 6))
    y = model.op(
        "MatMul", [x, model.constant("w", rng.normal(0, 1, (6, 4)).astype(np.float32))], "product"
    )
    y = model.op("Add", [y, model.constant("b", rng.normal(0, 1, 4).astype(np.float32))], "out")
    converted = assert_float(model.output(y).bytes(), relative=1e-5)
    assert converted.plan.ops[0].version == 5
