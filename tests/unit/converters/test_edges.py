"""Inputs and outputs in another type or order of dimensions: the same integers, and everybody is told."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from differential import KERNELS, delegation, interpreter, run_tflite
from onnx import TensorProto, helper
from onnx_models import OnnxModel, many_operators, small_resnet
from verified_nets import TARGETS, separable

from edgecv.conversion import convert
from edgecv.errors import InputError, UnsupportedError
from edgecv.spec import QuantParams, TensorSpec, dequantize, quantize
from edgecv_converters import Converted, WriteOptions, convert_model, plan_model
from edgecv_runtimes.quiet import import_onnxruntime, import_openvino

Array = np.ndarray[Any, Any]
FORMS = ("int8", "uint8", "float32")
LAYOUTS = ("nhwc", "nchw")
NETS = {"resnet": small_resnet, "separable": separable, "many": many_operators}


def in_form(integers: Array, spec: TensorSpec, grid: QuantParams) -> Array:
    """int8 integers of a picture in NHWC as *spec* wants them."""
    array = integers.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else integers
    if spec.dtype == "float32":
        return np.ascontiguousarray(dequantize(array, grid))
    return np.ascontiguousarray(array.view(spec.dtype) ^ (0x80 if spec.dtype == "uint8" else 0))


def as_int8(array: Array, spec: TensorSpec, grid: QuantParams) -> Array:
    """An output in int8 terms."""
    if spec.dtype == "float32":
        return quantize(array, grid)
    return array.view(np.int8) ^ (-128 if spec.dtype == "uint8" else 0)


def grid_of(converted: Converted, edge: str) -> QuantParams:
    (spec,) = getattr(converted, edge)
    assert spec.quantization is not None
    return spec.quantization


# --- TFLite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("io", FORMS)
def test_tflite_answers_with_the_same_integers(net: str, io: str, layout: str) -> None:
    """On both kernel sets, whatever stands at the edge; on all 256 values of a pixel."""
    source = NETS[net]().bytes()
    plain = convert_model(source, "tflite")
    formed = convert_model(source, "tflite", write=WriteOptions(io, layout))
    shape = plain.inputs[0].shape
    rng = np.random.default_rng(0)
    pixels = rng.permutation(np.resize(np.arange(-128, 128), np.prod(shape)))
    integers = pixels.astype(np.int8).reshape(shape)
    given, answered = grid_of(plain, "inputs"), grid_of(plain, "outputs")
    (into,), (out,) = formed.inputs, formed.outputs
    assert (into.dtype, out.dtype, into.layout) == (io, io, layout.upper())
    for kernels in KERNELS:
        wanted = run_tflite(plain.files[".tflite"], [integers], kernels)[0]
        feed = in_form(integers, into, given)
        found = run_tflite(formed.files[".tflite"], [feed], kernels)[0]
        assert np.array_equal(as_int8(found, out, answered), wanted), kernels
        assert len(np.unique(wanted)) > 1


@pytest.mark.parametrize("io", FORMS)
def test_every_value_survives_the_border(io: str) -> None:
    """All 256 integers go in and come out: a transpose computes nothing."""
    model = OnnxModel()
    x = model.input("x", (16, 16), (0.37, 11))
    y = model.op("Transpose", [x], "y", (0.37, 11), perm=[1, 0])
    converted = convert_model(model.output(y).bytes(), "tflite", write=WriteOptions(io))
    integers = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    grid = QuantParams(float(np.float32(0.37)), 11)
    feed = in_form(integers, converted.inputs[0], grid)
    for kernels in KERNELS:
        found = run_tflite(converted.files[".tflite"], [feed], kernels)[0]
        assert np.array_equal(as_int8(found, converted.outputs[0], grid), integers.T), kernels


@pytest.mark.parametrize(
    ("io", "scale", "zero_points"),
    [("int8", 1 / 255, (-128, -3)), ("uint8", 1 / 255, (0, 125)), ("float32", 0.0, (0, 0))],
)
def test_the_plain_interpreter_reads_what_is_meant(
    io: str, scale: float, zero_points: tuple[int, int]
) -> None:
    """``ai_edge_litert`` without edgecv: dtype, scale and zero point of the tensors under the source's names."""
    data = convert_model(small_resnet().bytes(), "tflite", write=WriteOptions(io)).files[".tflite"]
    engine = interpreter(data)
    (given,), (answer,) = engine.get_input_details(), engine.get_output_details()
    assert (given["name"], answer["name"]) == ("input", "logits")
    assert (given["dtype"], answer["dtype"]) == (np.dtype(io).type,) * 2
    assert given["quantization"] == (np.float32(scale), zero_points[0])
    assert answer["quantization"] == (np.float32(0.2 if scale else 0), zero_points[1])


def test_float_edges_cost_no_partition() -> None:
    data = convert_model(small_resnet().bytes(), "tflite", write=WriteOptions("float32"))
    found = delegation(data.files[".tflite"])
    assert (found.partitions, found.outside, data.warnings) == (1, (), ())


def test_uint8_edges_are_outside_and_said_to_be() -> None:
    converted = convert_model(small_resnet().bytes(), "tflite", write=WriteOptions("uint8"))
    assert delegation(converted.files[".tflite"]).outside == ("QUANTIZE", "QUANTIZE")
    assert converted.warnings == (
        "QUANTIZE 'input:int8' runs outside XNNPACK: it has no uint8 QUANTIZE",
        "QUANTIZE 'logits' runs outside XNNPACK: it has no QUANTIZE to uint8",
    )


def operators(source: bytes, layout: str) -> dict[str, int]:
    plan = plan_model(source, "tflite", write=WriteOptions(layout=layout))
    counts: dict[str, int] = plan.statistics()["by_type"]
    return counts


def test_nchw_costs_one_transpose_before_a_convolution() -> None:
    source = small_resnet().bytes()
    assert "TRANSPOSE" not in operators(source, "nhwc")
    assert operators(source, "nchw")["TRANSPOSE"] == 1


def test_nchw_costs_none_before_what_needs_no_order() -> None:
    """A linear layer over a flattened picture reads it in the source's order."""
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (1 / 255, -128))
    x = model.op("Flatten", [x], "flat", (1 / 255, -128))
    weight = np.random.default_rng(0).integers(-127, 128, (60, 4)).astype(np.int8)
    x = model.op("Gemm", [x, model.weight("w", weight, 0.01, None)], "y", (0.05, 0))
    source = model.output(x).bytes()
    assert operators(source, "nchw") == {"FULLY_CONNECTED": 1, "RESHAPE": 1}
    assert operators(source, "nhwc")["TRANSPOSE"] == 1


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("target", TARGETS)
def test_outputs_of_four_dimensions_turn_with_the_inputs(target: str, quantized: bool) -> None:
    model = OnnxModel()
    x = model.input("x", (1, 3, 4, 5), (0.1, 3) if quantized else None)
    y = model.op("Relu", [x], "y", (0.1, 3) if quantized else None)
    source = model.output(y).bytes()
    for layout, shape in (("nhwc", (1, 4, 5, 3)), ("nchw", (1, 3, 4, 5))):
        converted = convert_model(source, target, write=WriteOptions(layout=layout))
        for spec in (*converted.inputs, *converted.outputs):
            assert (spec.shape, spec.layout) == (shape, layout.upper())


converted_plainly = cache(convert_model)


# --- ONNX and OpenVINO ----------------------------------------------------------------------------


def onnx_answer(data: bytes, feed: Array) -> Array:
    """ONNX Runtime without edgecv."""
    engine = import_onnxruntime()
    session = engine.InferenceSession(data, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: feed})
    found: Array = answer
    return found


def openvino_answer(xml: bytes, weights: bytes, feed: Array) -> Array:
    """OpenVINO without edgecv."""
    core = import_openvino().Core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(xml, weights), "CPU", hint)
    found: Array = compiled(feed)[0]
    return found


@pytest.mark.parametrize("activation", ["uint8", "int8"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("io", FORMS)
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_other_engines_answer_with_the_same_integers(
    target: str, io: str, layout: str, activation: str
) -> None:
    source = small_resnet(activation=activation).bytes()
    plain = converted_plainly(source, target)
    formed = convert_model(source, target, write=WriteOptions(io, layout))
    (into,), (out,) = formed.inputs, formed.outputs
    assert (into.dtype, out.dtype, into.layout) == (io, io, layout.upper())
    grid, answered = (
        QuantParams(float(np.float32(1 / 255)), -128),
        QuantParams(float(np.float32(0.2)), -3),
    )
    for spec, wanted in ((into, grid), (out, answered)):
        assert spec.quantization == (None if io == "float32" else wanted.as_dtype(io))
    integers = np.random.default_rng(0).integers(-128, 128, (1, 20, 16, 3)).astype(np.int8)
    answers = []
    for converted in (plain, formed):
        feed = in_form(integers, converted.inputs[0], grid)
        if target == "onnx":
            found = onnx_answer(converted.files[".onnx"], feed)
        else:
            found = openvino_answer(converted.files[".xml"], converted.files[".bin"], feed)
        assert found.dtype == converted.outputs[0].dtype
        answers.append(as_int8(found, converted.outputs[0], answered))
    assert np.array_equal(*answers)
    assert formed.quantizers == plain.quantizers
    assert formed.left_out == plain.left_out


def test_uint8_edges_take_the_place_of_their_own_roundings() -> None:
    """What a QuantizeLinear would write comes in; nothing is added."""
    source = small_resnet().bytes()
    data = convert_model(source, "onnx", write=WriteOptions("uint8")).files[".onnx"]
    before, after = (
        [n.op_type for n in onnx.ModelProto.FromString(d).graph.node] for d in (source, data)
    )
    assert after.count("QuantizeLinear") == before.count("QuantizeLinear") - 1
    assert after.count("DequantizeLinear") == before.count("DequantizeLinear") - 1
    assert len(after) == len(before) - 2
    onnx.checker.check_model(onnx.ModelProto.FromString(data), full_check=True)


def integer_edges(dtype: str, zero: int) -> bytes:
    """A model whose own input and output are integers: DequantizeLinear, Conv, QuantizeLinear."""
    rng = np.random.default_rng(0)
    model = OnnxModel(activation=dtype)
    x = model.input("x", (1, 3, 6, 5), (0.02, zero))
    weight = model.weight("w", rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), 0.01, None)
    y = model.op("Conv", [x, weight], "y", (0.05, 7))
    proto = model.output(y, (1, 4, 4, 3)).proto()
    del proto.graph.node[0], proto.graph.node[-1]
    proto.graph.node[0].input[0] = "x"
    kind = TensorProto.UINT8 if dtype == "uint8" else TensorProto.INT8
    proto.graph.input[0].type.tensor_type.elem_type = kind
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y/int", kind, (1, 4, 4, 3)))
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("io", [None, *FORMS])
@pytest.mark.parametrize("target", TARGETS)
def test_integer_edges_of_the_source(
    target: str, io: str | None, layout: str, dtype: str, tmp_path: Path
) -> None:
    """A stranger's file with integers at its edge: verified in every form, its own one included."""
    path = tmp_path / "net.onnx"
    path.write_bytes(integer_edges(dtype, 5))
    result = convert(path, target=target, out=tmp_path, io=io, layout=layout)
    own = "int8" if target == "tflite" else dtype
    for spec, zero in zip((*result.manifest.inputs, *result.manifest.outputs), (5, 7), strict=True):
        assert spec.dtype == (io or own)
        grid = spec.quantization
        expected = None if io == "float32" else zero + 128 * (spec.dtype == "uint8")
        assert (grid.zero_point if grid else None) == expected
    assert result.report["verified"]


def test_two_outputs_of_the_same_integers() -> None:
    """Each gets a tensor of its own name."""
    model = OnnxModel()
    x = model.input("x", (1, 8), (0.1, 3))
    y = model.op("Sigmoid", [x], "y", (1 / 256, -128))
    model.nodes.append(
        helper.make_node("Reshape", [y, model.constant("s", np.array([2, 4]))], ["z"])
    )
    source = model.output(y).output("z").bytes()
    integers = np.arange(-4, 4, dtype=np.int8)[None]
    wanted = run_tflite(convert_model(source, "tflite").files[".tflite"], [integers], "builtin")
    for io in ("uint8", "float32"):
        converted = convert_model(source, "tflite", write=WriteOptions(io))
        feed = in_form(integers, converted.inputs[0], QuantParams(float(np.float32(0.1)), 3))
        found = run_tflite(converted.files[".tflite"], [feed], "builtin")
        grid = QuantParams(1 / 256, -128)
        for array, spec, other in zip(found, converted.outputs, wanted, strict=True):
            assert np.array_equal(as_int8(array, spec, grid), other)
        assert [spec.name for spec in converted.outputs] == ["y", "z"]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("io", ["int8", "uint8"])
@pytest.mark.parametrize("target", TARGETS)
def test_integers_need_a_quantizer(target: str, io: str) -> None:
    source = small_resnet(quantized=False).bytes()
    with pytest.raises(UnsupportedError, match=rf"the input 'input' cannot be {io}: .*--calibrate"):
        convert_model(source, target, write=WriteOptions(io))
    assert convert_model(source, target, write=WriteOptions("float32")).inputs[0].dtype == "float32"


@pytest.mark.parametrize("target", TARGETS)
def test_an_output_without_a_quantizer(target: str) -> None:
    model = OnnxModel()
    x = model.input("x", (1, 8), (0.1, 3))
    source = model.output(model.op("Sigmoid", [x], "y")).bytes()
    with pytest.raises(UnsupportedError, match="the output 'y' cannot be uint8"):
        convert_model(source, target, write=WriteOptions("uint8"))
    assert convert_model(source, target).outputs[0].dtype == "float32"


@pytest.mark.parametrize("target", TARGETS)
def test_an_input_that_is_read_unrounded_too(target: str) -> None:
    """Its float readers would see rounded numbers."""
    model = OnnxModel()
    x = model.input("x", (1, 8), (0.1, 3))
    y = model.op("Add", [x, "x"], "y", (0.2, 3))
    source = model.output(y).bytes()
    with pytest.raises(UnsupportedError, match="the input 'x' cannot be int8"):
        convert_model(source, target, write=WriteOptions("int8"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"io": "int4"}, "io is 'int4'. Use one of int8, uint8, float32"),
        ({"io": "uint16"}, "io is 'uint16'"),
        ({"layout": "NHWC"}, "layout is 'NHWC'. Use one of nhwc, nchw"),
        ({"float16": 1}, "float16 is 1"),
    ],
)
def test_other_values_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        WriteOptions(**options)


@pytest.mark.parametrize("write", [WriteOptions(), WriteOptions("uint8", "nchw", True)])
def test_options_survive_a_manifest(write: WriteOptions) -> None:
    assert WriteOptions.from_json({"kind": "onnx", **write.to_json()}) == write


@pytest.mark.parametrize("write", [WriteOptions(), WriteOptions(layout="nchw")])
@pytest.mark.parametrize("target", TARGETS)
def test_without_a_wish_the_bytes_are_as_before(target: str, write: WriteOptions) -> None:
    if target == "tflite":
        write = WriteOptions("int8", "nhwc")
    source = small_resnet().bytes()
    assert convert_model(source, target, write=write).files == convert_model(source, target).files
