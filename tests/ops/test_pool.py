"""Pools against ONNX Runtime: max is exact, averages within 1 LSB."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    pads = [draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
    return {
        "image": (1, draw(st.integers(1, 5)), *(draw(st.integers(kernel[i], 9)) for i in range(2))),
        "attributes": {
            "kernel_shape": kernel,
            "pads": pads,
            "strides": [draw(st.integers(1, 3)) for _ in range(2)],
            "ceil_mode": draw(st.integers(0, 1)),
        },
        "zero_point": draw(st.sampled_from([-128, -100, 0, 127])),
        "seed": draw(st.integers(0, 99)),
    }


def pool(
    op: str, case: dict[str, Any], *, quantized: bool, opset: int = 17, same: bool = True
) -> bytes:
    model = OnnxModel(opset)
    quant = (0.05, case["zero_point"]) if quantized else None
    x = model.input("input", case["image"], quant)
    out = quant if same or quant is None else (0.04, 3)
    return model.output(model.op(op, [x], "out", out, **case["attributes"])).bytes()


def reference_runs(case: dict[str, Any]) -> bool:
    """ONNX Runtime and shape inference part over windows that start in the padding; leave those out."""
    said = case["attributes"]
    for axis in (0, 1):
        image, kernel, stride = (
            case["image"][2 + axis],
            said["kernel_shape"][axis],
            said["strides"][axis],
        )
        begin, end = said["pads"][axis], said["pads"][axis + 2]
        count = -(-(image + begin + end - kernel) // stride)
        if said["ceil_mode"] and count * stride >= image + begin:
            return False
    return True


def refused_for_padding(source: bytes) -> bool:
    """Averages that TFLite cannot express are refused before anything is written, and say why."""
    try:
        plan_model(source, "tflite")
    except UnsupportedError as error:
        said = str(error)
    else:
        return False
    assert "padding" in said
    return True


@given(pools(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_max_int8(case: dict[str, Any], same: bool) -> None:
    assume(reference_runs(case))
    source = pool("MaxPool", case, quantized=True, same=same)
    converted = assert_int8(source, lsb=0 if same else 1, seed=case["seed"])
    outside = delegation(converted.files[".tflite"]).outside
    assert len(outside) == len(converted.warnings), (outside, converted.warnings)
    assert all(any(w.startswith(op) for w in converted.warnings) for op in outside)


@given(pools())
@settings(max_examples=50, deadline=None)
def test_max_float(case: dict[str, Any]) -> None:
    assume(reference_runs(case))
    assert_float(pool("MaxPool", case, quantized=False), relative=0.0, seed=case["seed"])


@given(pools(), st.integers(0, 1), st.booleans())
@settings(max_examples=80, deadline=None)
def test_average_int8(case: dict[str, Any], include: int, same: bool) -> None:
    assume(reference_runs(case))
    case["attributes"]["count_include_pad"] = include
    source = pool("AveragePool", case, quantized=True, same=same)
    if refused_for_padding(source):
        return
    converted = assert_int8(source, lsb=1, seed=case["seed"])
    assert len(delegation(converted.files[".tflite"]).outside) == len(converted.warnings)


@given(pools(), st.integers(0, 1))
@settings(max_examples=50, deadline=None)
def test_average_float(case: dict[str, Any], include: int) -> None:
    assume(reference_runs(case))
    case["attributes"]["count_include_pad"] = include
    source = pool("AveragePool", case, quantized=False)
    if refused_for_padding(source):
        return
    assert_float(source, relative=1e-6, seed=case["seed"])


STEM: dict[str, Any] = {
    "image": (1, 4, 8, 8), "zero_point": -128, "seed": 1,
    "attributes": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
}  # fmt: skip


def test_padding_of_a_relu_output_is_zeros_inside_the_delegate() -> None:
    plan = plan_model(pool("MaxPool", STEM, quantized=True), "tflite")
    assert [op.op for op in plan.ops] == ["PAD", "MAX_POOL_2D"]


def test_padding_of_signed_values_is_the_lowest_and_said() -> None:
    plan = plan_model(pool("MaxPool", STEM | {"zero_point": 0}, quantized=True), "tflite")
    assert [op.op for op in plan.ops] == ["PADV2", "MAX_POOL_2D"]
    assert any("PADV2" in w for w in plan.warnings)


def test_max_pool_behind_float_relu_pads_with_zeros() -> None:
    model = OnnxModel()
    x = model.op("Relu", [model.input("input", (1, 4, 8, 8))], "act")
    source = model.output(model.op("MaxPool", [x], "out", **STEM["attributes"])).bytes()
    converted = assert_float(source, relative=0.0)
    assert "PADV2" not in converted.plan.statistics()["by_type"]


@pytest.mark.parametrize("opset", [11, 12, 13, 18, 19, 21])
def test_opsets(opset: int) -> None:
    for op in ("MaxPool", "AveragePool"):
        case = STEM | {"attributes": {"kernel_shape": [2, 2], "strides": [2, 2]}}
        assert_int8(pool(op, case, quantized=True, opset=opset), lsb=1)


def test_average_is_a_depthwise_convolution_of_ones() -> None:
    case = STEM | {"attributes": {"kernel_shape": [2, 2], "strides": [2, 2]}}
    plan = plan_model(pool("AveragePool", case, quantized=True), "tflite")
    assert [op.op for op in plan.ops] == ["DEPTHWISE_CONV_2D"]


def test_dilated_and_indexed_pools_are_refused_with_the_reason() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 4, 8, 8))
    model.output(model.op("MaxPool", [x], "out", kernel_shape=[2, 2], dilations=[2, 2]))
    with pytest.raises(UnsupportedError, match=r"dilations must be 1, got \[2, 2\]"):
        plan_model(model.bytes(), "tflite")


def test_values_at_the_border() -> None:
    """All-negative pictures: a zero from the padding would be the maximum everywhere at the border."""
    model = OnnxModel()
    x = model.input("input", (1, 1, 4, 4), (1.0, 100))
    source = model.output(model.op("MaxPool", [x], "out", (1.0, 100), **STEM["attributes"])).bytes()
    from differential import KERNELS, run_tflite

    from edgecv_converters import convert_model

    data = convert_model(source, "tflite").files[".tflite"]
    for kernels in KERNELS:
        (found,) = run_tflite(data, [np.full((1, 4, 4, 1), -50, np.int8)], kernels)
        assert (found == -50).all()
