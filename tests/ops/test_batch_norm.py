"""Batch normalization against ONNX Runtime: alone, and folded into what stands before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model

CHANNELS = 6


def statistics(
    model: OnnxModel, rng: np.random.Generator, *, dead: bool = False, name: str = "bn", channels: int = CHANNELS
) -> list[str]:  # fmt: skip
    """Scale, bias, mean and variance; with *dead* some channels have a scale of 0, as training can leave them."""
    gamma = rng.uniform(0.3, 2, channels) * rng.choice([-1, 1], channels)
    if dead:
        gamma[::2] = 0
        gamma[1] = 1e-9
    vectors = (
        gamma,
        rng.normal(0, 1, channels),
        rng.normal(0, 1, channels),
        rng.uniform(0.2, 2, channels),
    )
    return [
        model.constant(f"{name}.{kind}", vector.astype(np.float32))
        for kind, vector in zip(("scale", "bias", "mean", "var"), vectors, strict=True)
    ]


@given(
    st.sampled_from([(1, CHANNELS, 4, 5), (1, CHANNELS, 1, 1), (1, CHANNELS)]), st.floats(0.01, 0.1),
    st.integers(-128, 127), st.integers(-100, 100), st.booleans(), st.booleans(), st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_int8(
    shape: tuple[int, ...], scale: float, zero: int, out_zero: int, dead: bool, clamp: bool, seed: int
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    model = OnnxModel()
    x = model.input("input", shape, (float(np.float32(scale)), zero))
    grid = (float(np.float32(scale * 1.7)), -128 if clamp else out_zero)
    inputs = [x, *statistics(model, rng, dead=dead)]
    y = model.op("BatchNormalization", inputs, "out", None if clamp else grid)
    if clamp:
        y = model.op("Relu", [y], "act", grid)
    converted = assert_int8(model.output(y).bytes(), lsb=1, seed=seed)
    ops = [op.op for op in converted.plan.ops]
    island = ["DEQUANTIZE", "MUL", "ADD", "QUANTIZE"]
    assert ops == (island if len(shape) == 2 else ["DEPTHWISE_CONV_2D"])
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


def test_int8_mean_error() -> None:
    """A bias on a step: one rounding in ten thousand falls the other way, not one in five hundred."""
    from differential import random_inputs, run_onnx, run_tflite

    from edgecv_converters import convert_model

    differences = []
    for seed in range(8):
        model = OnnxModel()
        x = model.input("input", (1, CHANNELS, 64, 64), (0.05, 3))
        inputs = [x, *statistics(model, np.random.default_rng(seed))]
        y = model.op("BatchNormalization", inputs, "out", (0.0831, 5))
        source = model.output(y).bytes()
        converted = convert_model(source, "tflite")
        ours, theirs = random_inputs(converted, seed)
        (wanted,) = run_onnx(source, theirs, ["out/int"])
        (found,) = run_tflite(converted.files[".tflite"], ours, "xnnpack")
        differences.append(
            np.abs(found.transpose(0, 3, 1, 2).astype(int) - (wanted.astype(int) - 128))
        )
    assert np.mean(differences) < 3e-4
    assert np.max(differences) <= 1


@pytest.mark.parametrize("shape", [(1, CHANNELS, 4, 5), (1, CHANNELS)])
@pytest.mark.parametrize("opset", [11, 14, 15, 17])
def test_float(shape: tuple[int, ...], opset: int) -> None:
    model = OnnxModel(opset)
    inputs = [model.input("input", shape), *statistics(model, np.random.default_rng(0), dead=True)]
    y = model.op("BatchNormalization", inputs, "out", epsilon=1e-3)
    converted = assert_float(model.output(y).bytes(), relative=1e-6)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_statistics_behind_dequantizelinear() -> None:
    """As onnxruntime.quantization writes them: 8 bits with a zero point."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, CHANNELS, 4, 5), (0.05, 3))
    vectors = [
        model.weight(name, rng.integers(low, high, CHANNELS).astype(np.int8), np.float32(0.02), None, zero=-9)
        for name, low, high in (("scale", -100, 100), ("bias", -50, 50), ("mean", -50, 50), ("var", 0, 100))
    ]  # fmt: skip
    y = model.op("BatchNormalization", [x, *vectors], "out", (0.061, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["DEPTHWISE_CONV_2D"]


def test_a_result_that_is_not_rounded_is_float() -> None:
    model = OnnxModel()
    x = model.input("input", (1, CHANNELS, 4, 5), (0.05, 3))
    y = model.op("BatchNormalization", [x, *statistics(model, np.random.default_rng(0))], "out")
    converted = assert_float(model.output(y).bytes(), relative=1e-6)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "DEPTHWISE_CONV_2D"]


# folding


def weight(model: OnnxModel, name: str, shape: tuple[int, ...], seed: int) -> str:
    return model.constant(
        name, np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)
    )


@pytest.mark.parametrize("bias", ["none", "own", "added"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("group", [1, 2, 6])
def test_folded_into_a_convolution(bias: str, relu: bool, group: int) -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 6, 7, 5))
    inputs = [x, weight(model, "w", (CHANNELS, 6 // group, 3, 3), 1)]
    if bias == "own":
        inputs.append(weight(model, "b", (CHANNELS,), 2))
    y = model.op("Conv", inputs, "conv", pads=[1] * 4, group=group)
    if bias == "added":
        y = model.op("Add", [y, weight(model, "b", (CHANNELS, 1, 1), 2)], "sum")
    y = model.op("BatchNormalization", [y, *statistics(model, rng)], "out")
    if relu:
        y = model.op("Relu", [y], "act")
    converted = assert_float(model.output(y).bytes(), relative=1e-5)
    (operator,) = converted.plan.ops
    assert operator.fused == ("relu" if relu else "")
    assert operator.sources[0] == "node:conv"
    assert "node:out" in operator.sources
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize(("op", "transposed"), [("Gemm", 0), ("Gemm", 1), ("MatMul", 0)])
@pytest.mark.parametrize("bias", [False, True])
def test_folded_into_a_matrix_product(op: str, transposed: int, bias: bool) -> None:
    model = OnnxModel()
    shape = (CHANNELS, 9) if transposed else (9, CHANNELS)
    inputs = [model.input("input", (1, 9)), weight(model, "w", shape, 1)]
    if bias and op == "Gemm":
        inputs.append(weight(model, "b", (1, CHANNELS), 2))
    y = model.op(op, inputs, "product", **({"transB": transposed} if op == "Gemm" else {}))
    if bias and op == "MatMul":
        y = model.op("Add", [y, weight(model, "b", (CHANNELS,), 2)], "sum")
    y = model.op("BatchNormalization", [y, *statistics(model, np.random.default_rng(0))], "out")
    converted = assert_float(model.output(y).bytes(), relative=1e-5)
    assert [op.op for op in converted.plan.ops] == ["FULLY_CONNECTED"]


def test_two_behind_one_convolution_and_two_convolutions_of_one_weight() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x, w = (
        model.input("input", (1, CHANNELS, 4, 5)),
        weight(model, "w", (CHANNELS, CHANNELS, 1, 1), 1),
    )
    for name in ("first", "second"):
        x = model.op("Conv", [x, w], f"{name}.conv")
        for number in (1, 2):
            vectors = statistics(model, rng, name=f"{name}.bn{number}")
            x = model.op("BatchNormalization", [x, *vectors], f"{name}.bn{number}")
    converted = assert_float(model.output(x).bytes(), relative=1e-5)
    assert [op.op for op in converted.plan.ops] == ["CONV_2D"] * 2


@pytest.mark.parametrize(
    "reason", ["read elsewhere", "an output", "rounded", "quantized weight", "rank 3"]
)
def test_what_is_not_folded(reason: str) -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    if reason == "rank 3":
        # MatMul's last dimension is not BatchNormalization's channel
        x = model.input("input", (1, CHANNELS, 9))
        y = model.op("MatMul", [x, weight(model, "w", (9, CHANNELS), 1)], "product")
        y = model.op("BatchNormalization", [y, *statistics(model, rng)], "out")
        with pytest.raises(
            UnsupportedError, match=r"must have 4 dimensions \(NCHW\) or 2 \(NC\), got 3"
        ):
            plan_model(model.output(y).bytes(), "tflite")
        return
    x = model.input("input", (1, CHANNELS, 4, 5))
    w = weight(model, "w", (CHANNELS, CHANNELS, 1, 1), 1)
    if reason == "quantized weight":
        w = model.weight(
            "wq",
            rng.integers(-127, 128, (CHANNELS, CHANNELS, 1, 1)).astype(np.int8),
            np.float32(0.01),
            None,
        )
    y = model.op("Conv", [x, w], "conv", (0.05, 0) if reason == "rounded" else None)
    z = model.op("BatchNormalization", [y, *statistics(model, rng)], "bn")
    if reason == "read elsewhere":
        z = model.op("Add", [y, z], "out")
    if reason == "an output":
        model.output(y)
    converted = assert_float(
        model.output(z).bytes(), relative=5e-3 if reason == "rounded" else 1e-5
    )
    kinds = [op.op for op in converted.plan.ops]
    assert kinds.count("CONV_2D") == kinds.count("DEPTHWISE_CONV_2D") == 1


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "training": ({"training_mode": 1}, "must not compute statistics"),
    "computed": ({}, "must be constants, got the activation 'gamma'"),
    "negative": ({}, r"scale / sqrt\(variance \+ epsilon\) must be finite in every channel"),
}


@pytest.mark.parametrize("case", sorted(REFUSALS))
def test_refusals(case: str) -> None:
    attributes, said = REFUSALS[case]
    model = OnnxModel()
    x = model.input("input", (1, CHANNELS, 4, 5))
    names = statistics(model, np.random.default_rng(0))
    if case == "computed":
        names[0] = model.input("gamma", (CHANNELS,))
    if case == "negative":
        model.constants["bn.var"] = np.full(CHANNELS, -1, np.float32)
    y = model.op("BatchNormalization", [x, *names], "out", **attributes)
    if case == "training":
        model.nodes[-1].output.extend(["running_mean", "running_var"])
    with pytest.raises(UnsupportedError, match=said):
        plan_model(model.output(y).bytes(), "tflite")
