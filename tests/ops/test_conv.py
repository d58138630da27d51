"""Convolutions against ONNX Runtime: int8 within 1 LSB, float within 1e-5 of the largest magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel, conv_weights

from edgecv_converters import plan_model

PIXEL = float(np.float32(1 / 255))


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes and attributes of a convolution whose window fits its image."""
    group = draw(st.sampled_from([1, 1, 2, 4]))
    depthwise = group > 1 and draw(st.booleans())
    channels = group if depthwise else group * draw(st.integers(1, 3))
    outputs = group * draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    dilations = [draw(st.integers(1, 2)) for _ in range(2)]
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    image = [draw(st.integers(dilations[i] * (kernel[i] - 1) + 1, 9)) for i in range(2)]
    return {
        "image": (1, channels, *image),
        "weight": (outputs, channels // group, *kernel),
        "attributes": {
            "group": group,
            "dilations": dilations,
            "pads": pads,
            "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        },
        "clamp": draw(st.sampled_from(["", "Relu", "Clip"])),
        "per_channel": draw(st.booleans()),
        "zero_point": draw(st.integers(-128, 127)),
        "output_zero_point": draw(st.integers(-128, 127)),
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 1000)),
    }


def quantized(case: dict[str, Any], activation: str = "uint8", opset: int = 17) -> bytes:
    rng = np.random.default_rng(case["seed"])
    model = OnnxModel(opset, activation)
    x = model.input("input", case["image"], (PIXEL, case["zero_point"]))
    weight, bias, scale = conv_weights(
        rng, model, "conv", case["weight"], PIXEL, per_channel=case["per_channel"]
    )
    inputs = [x, weight, bias] if case["bias"] else [x, weight]
    quant = (scale, case["output_zero_point"])
    if not case["clamp"]:
        y = model.op("Conv", inputs, "out", quant, **case["attributes"])
    else:
        y = model.op("Conv", inputs, "conv", **case["attributes"])
        bounds = [model.constant("low", np.float32(0)), model.constant("high", np.float32(6))]
        y = model.op(case["clamp"], [y, *(bounds if case["clamp"] == "Clip" else [])], "out", quant)
    return model.output(y).bytes()


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_int8(case: dict[str, Any]) -> None:
    converted = assert_int8(quantized(case), lsb=1, seed=case["seed"])
    assert "TRANSPOSE" not in converted.plan.statistics()["by_type"]
    assert delegation(converted.files[".tflite"]).outside == ()


@given(convolutions())
@settings(max_examples=50, deadline=None)
def test_float(case: dict[str, Any]) -> None:
    rng = np.random.default_rng(case["seed"])
    model = OnnxModel()
    x = model.input("input", case["image"])
    w = model.constant("w", rng.normal(0, 1, case["weight"]).astype(np.float32))
    b = model.constant("b", rng.normal(0, 1, case["weight"][0]).astype(np.float32))
    y = model.op("Conv", [x, w, b] if case["bias"] else [x, w], "conv", **case["attributes"])
    if case["clamp"] == "Relu":
        y = model.op("Relu", [y], "out")
    assert_float(model.output(y).bytes(), relative=1e-5, seed=case["seed"])


BASE: dict[str, Any] = {
    "image": (1, 3, 8, 8), "weight": (4, 3, 3, 3), "attributes": {"pads": [1, 1, 1, 1]}, "clamp": "",
    "per_channel": True, "zero_point": -128, "output_zero_point": 0, "bias": True, "seed": 1,
}  # fmt: skip


@pytest.mark.parametrize("opset", range(11, 22))
def test_opsets(opset: int) -> None:
    # per-channel DequantizeLinear exists from opset 13 on
    case = BASE | {"per_channel": opset >= 13}
    assert_int8(quantized(case, opset=opset), lsb=1)


def test_int8_activations_in_the_source() -> None:
    assert_int8(quantized(BASE, activation="int8"), lsb=1)


@pytest.mark.parametrize("auto_pad", ["VALID", "SAME_UPPER", "SAME_LOWER"])
def test_auto_pad(auto_pad: str) -> None:
    case = BASE | {"attributes": {"auto_pad": auto_pad, "strides": [2, 2]}, "image": (1, 3, 7, 8)}
    assert_int8(quantized(case), lsb=1)


def test_same_padding_needs_no_pad_operator() -> None:
    assert "PAD" not in plan_model(quantized(BASE), "tflite").statistics()["by_type"]


def test_stride_two_pads_explicitly() -> None:
    case = BASE | {"attributes": {"pads": [1, 1, 1, 1], "strides": [2, 2]}}
    assert plan_model(quantized(case), "tflite").statistics()["by_type"] == {"CONV_2D": 1, "PAD": 1}


def test_float_bias_is_rounded_to_the_grid_and_said() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8), (PIXEL, -128))
    weight, _, scale = conv_weights(rng, model, "conv", (4, 3, 3, 3), PIXEL)
    bias = model.constant("b", rng.normal(0, 0.5, 4).astype(np.float32))
    y = model.op("Conv", [x, weight, bias], "out", (scale, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert any("'b'" in w and "rounded to int32" in w for w in converted.warnings)


def test_bias_on_another_grid_is_rounded_and_said() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8), (PIXEL, -128))
    weight, _, scale = conv_weights(rng, model, "conv", (4, 3, 3, 3), PIXEL)
    bias = model.weight(
        "b", rng.integers(-500, 500, 4).astype(np.int32), np.full(4, 0.001, np.float32), 0
    )
    y = model.op("Conv", [x, weight, bias], "out", (scale, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert any("another scale" in w for w in converted.warnings)


def test_constant_added_behind_becomes_the_bias() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8))
    w = model.constant("w", rng.normal(0, 1, (4, 3, 3, 3)).astype(np.float32))
    y = model.op("Conv", [x, w], "conv")
    y = model.op(
        "Add", [model.constant("b", rng.normal(0, 1, (1, 4, 1, 1)).astype(np.float32)), y], "sum"
    )
    converted = assert_float(model.output(y).bytes(), relative=1e-5)
    assert converted.plan.statistics()["by_type"] == {"CONV_2D": 1}


def test_float_weights_between_quantized_activations_run_in_float() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8), (PIXEL, -128))
    w = model.constant("w", rng.normal(0, 1, (4, 3, 3, 3)).astype(np.float32))
    y = model.op("Conv", [x, w], "out", (0.05, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert converted.plan.statistics()["int8_macs_share"] == 0.0
