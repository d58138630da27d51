"""Reshape, Flatten, Squeeze and Unsqueeze move nothing until a consumer needs an order."""

from __future__ import annotations

import numpy as np
import pytest
from differential import (
    assert_float,
    assert_int8,
    delegation,
    random_inputs,
    run_onnx,
    run_tflite,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import OnnxModel

from edgecv_converters import convert_model


def reshape(
    model: OnnxModel, x: str, shape: tuple[int, ...], name: str, quant: tuple[float, int] | None
) -> str:
    return model.op(
        "Reshape", [x, model.constant(f"{name}/shape", np.array(shape, np.int64))], name, quant
    )


@given(
    st.sampled_from([(1, 60), (60,), (3, 20), (5, 4, 3), (1, 5, 3, 4), (12, -1)]),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_reshape_of_a_picture(shape: tuple[int, ...], other_scale: bool, seed: int) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    y = reshape(model, x, shape, "out", (0.07, -9) if other_scale else (0.05, 3))
    converted = assert_int8(model.output(y).bytes(), lsb=1 if other_scale else 0, seed=seed)
    assert converted.plan.statistics()["by_type"].get("QUANTIZE", 0) == int(other_scale)


def test_flatten_before_a_matrix_product_keeps_logical_order() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    y = model.op("Flatten", [x], "flat", (0.05, 3))
    w = model.weight(
        "w", rng.integers(-127, 128, (60, 4)).astype(np.int8), np.full(4, 0.01, np.float32), 1
    )
    converted = assert_int8(model.output(model.op("Gemm", [y, w], "out", (0.4, 0))).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {
        "FULLY_CONNECTED": 1,
        "RESHAPE": 1,
        "TRANSPOSE": 1,
    }


def test_flatten_behind_a_mean_costs_nothing() -> None:
    model = OnnxModel()
    x = model.op("GlobalAveragePool", [model.input("input", (1, 3, 4, 5))], "pool")
    converted = assert_float(model.output(model.op("Flatten", [x], "out")).bytes(), relative=1e-6)
    assert converted.plan.statistics()["by_type"] == {"MEAN": 1}


def test_there_and_back_is_nothing() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    y = reshape(model, x, (3, 20), "flat", (0.05, 3))
    y = reshape(model, y, (1, 3, 4, 5), "back", (0.05, 3))
    y = model.op("Add", [x, y], "out", (0.1, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {"ADD": 1}


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize("other_scale", [False, True])
def test_squeeze_and_unsqueeze(opset: int, other_scale: bool) -> None:
    grid = (0.0713, -9) if other_scale else (0.0517, 3)
    model = OnnxModel(opset)
    x = model.input("input", (1, 3, 4, 5), (0.0517, 3))
    y = axes(model, "Unsqueeze", x, "wide", [0, -1], grid)
    y = axes(model, "Squeeze", y, "thin", [0, -1], grid)
    y = axes(model, "Squeeze", y, "flat", [0], grid)
    converted = assert_int8(model.output(y).bytes(), lsb=int(other_scale))
    counts = converted.plan.statistics()["by_type"]
    assert set(counts) <= {"DEQUANTIZE", "QUANTIZE", "TRANSPOSE", "RESHAPE"}
    assert delegation(converted.files[".tflite"]).outside == ()


def axes(
    model: OnnxModel, op: str, x: str, name: str, values: list[int], grid: tuple[float, int]
) -> str:
    """Axes as an attribute before opset 13, as an input since."""
    if model.opset < 13:
        # negative ones are allowed
        return model.op(op, [x], name, grid, axes=values)
    return model.op(op, [x, model.constant(f"{name}/axes", np.array(values, np.int64))], name, grid)


def test_squeeze_without_axes() -> None:
    model = OnnxModel()
    y = model.op("GlobalAveragePool", [model.input("input", (1, 3, 4, 5))], "pool")
    converted = assert_float(model.output(model.op("Squeeze", [y], "out")).bytes(), relative=1e-6)
    # [1, 3] is written as [3]
    assert converted.plan.statistics()["by_type"] == {"MEAN": 1, "RESHAPE": 1}


def test_identity_between_two_outputs() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 6), (0.0517, 3))
    y = model.op("Add", [x, x], "first", (0.111, 0))
    model.nodes.append(helper.make_node("Identity", [y], ["second"]))
    model.output("first").output("second")
    source = model.bytes()
    converted = convert_model(source, "tflite")
    assert [spec.name for spec in converted.outputs] == ["first", "second"]
    ours, theirs = random_inputs(converted, 0)
    (wanted,) = run_onnx(source, theirs, ["first/int"])
    for found in run_tflite(converted.files[".tflite"], ours, "xnnpack"):
        assert np.abs(found.astype(int) - (wanted.astype(int) - 128)).max() <= 1


@pytest.mark.parametrize("opset", [11, 13, 14, 19, 21])
def test_opsets(opset: int) -> None:
    model = OnnxModel(opset)
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    assert_int8(model.output(reshape(model, x, (1, 60), "out", (0.05, 3))).bytes(), lsb=0)


def test_the_output_tensor_has_the_outputs_name() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    converted = assert_int8(model.output(model.op("Flatten", [x], "out", (0.05, 3))).bytes(), lsb=0)
    assert [spec.name for spec in converted.outputs] == ["out"]
