"""Roundings that stay operators: values that are read as float too, and second roundings."""

from __future__ import annotations

import numpy as np
from differential import KERNELS, assert_int8, delegation, random_inputs, run_onnx, run_tflite
from onnx_models import OnnxModel, conv_weights

from edgecv_converters import convert_model


def test_second_rounding_is_a_quantize() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    # the no-op between the two pairs goes, the second rounding stays
    y = model.op("Identity", [x], "out", (0.11, -7))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "QUANTIZE"]
    assert converted.plan.ops[0].version == 2
    assert delegation(converted.files[".tflite"]).outside == ()


def test_value_read_as_float_and_as_integers() -> None:
    """The sum is rounded for the convolution, and goes out as it is."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.op(
        "Add", [model.input("first", (1, 3, 4, 5)), model.input("second", (1, 3, 4, 5))], "sum"
    )
    # the pair reads a tensor that has another reader: the graph itself
    rounded = model._pair(x, "sum/int", "sum/dq", "sum", (0.05, 0))
    weight, bias, scale = conv_weights(rng, model, "conv", (4, 3, 3, 3), 0.05)
    y = model.op("Conv", [rounded, weight, bias], "conv", (scale, 0))
    source = model.output(x).output(y).bytes()
    converted = convert_model(source, "tflite")
    assert [spec.dtype for spec in converted.outputs] == ["float32", "int8"]
    ours, theirs = random_inputs(converted, 0)
    wanted = run_onnx(source, theirs, ["sum", "conv/int"])
    for kernels in KERNELS:
        found = run_tflite(converted.files[".tflite"], ours, kernels)
        np.testing.assert_allclose(found[0].transpose(0, 3, 1, 2), wanted[0], rtol=1e-6)
        difference = found[1].transpose(0, 3, 1, 2).astype(int) - (wanted[1].astype(int) - 128)
        assert np.abs(difference).max() <= 1


def test_float_island_between_quantized_operators() -> None:
    """An operator whose output nobody quantized runs in float between DEQUANTIZE and QUANTIZE."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    y = model.op("Add", [x, x], "sum")
    y = model.op("Add", [y, x], "total", (0.15, 0))
    weight, bias, scale = conv_weights(rng, model, "conv", (4, 3, 3, 3), 0.15)
    converted = assert_int8(
        model.output(model.op("Conv", [y, weight, bias], "out", (scale, 0))).bytes(), lsb=1
    )
    kinds = [op.op for op in converted.plan.ops]
    assert kinds == ["DEQUANTIZE", "ADD", "ADD", "QUANTIZE", "CONV_2D"]


def test_float_weight_that_the_file_rounds_itself() -> None:
    """QuantizeLinear and DequantizeLinear around a float weight, as other tools write it."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 6, 6), (0.05, 3))
    model.constant("w", rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32))
    model.constant("w/scale", np.full(4, 0.01, np.float32))
    model.constant("w/zero_point", np.zeros(4, np.int8))
    from onnx import helper

    parameters = ["w/scale", "w/zero_point"]
    model.nodes.append(helper.make_node("QuantizeLinear", ["w", *parameters], ["w/int"], axis=0))
    model.nodes.append(
        helper.make_node("DequantizeLinear", ["w/int", *parameters], ["w/dq"], axis=0)
    )
    y = model.op("Conv", [x, "w/dq"], "out", (0.1, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert converted.plan.statistics()["int8_macs_share"] == 1.0


def test_constant_that_is_rounded_twice() -> None:
    """A bias that two layers share: the exporter writes an Identity, and onnxruntime rounds both its ends."""
    from onnx import helper

    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.0517, 3))
    first = model.weight(
        "c", np.arange(-1, 2, dtype=np.int8).reshape(3, 1, 1), np.float32(0.3), None
    )
    model.nodes.append(helper.make_node("Identity", [first], ["again"]))
    second = model._pair("again", "again/int", "again/dq", "again", (0.02, 5))
    y = model.op("Add", [x, first], "sum", (0.0613, 0))
    source = model.output(model.op("Add", [y, second], "out", (0.0713, 0))).bytes()
    converted = assert_int8(source, lsb=2)
    assert [op.op for op in converted.plan.ops] == ["ADD", "ADD"]
