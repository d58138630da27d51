"""The same tiny classifier in every format, made without edgecv's converters.

Input 8x6 pixels (not square), convolution 3x3 to four channels with ReLU, mean over space, three
logits. ``add`` models have two float inputs and one output, for names and dictionaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgecv import artifact
from edgecv.artifact import Manifest, Preprocess, QuantizerRecord
from edgecv.spec import INPUT_QUANT, QuantParams, TensorSpec, quantize
from edgecv_runtimes.quiet import import_openvino

#: The environment of the legacy engine has neither; it runs the golden TFLite files.
LEGACY = find_spec("ai_edge_litert") is None
if not LEGACY:
    import onnx
    from ai_edge_litert import schema_py_generated as schema
    from onnx import TensorProto, helper, numpy_helper
    from tflite_graph import TFLiteGraph

HEIGHT, WIDTH, CHANNELS, CLASSES = 8, 6, 4, 3
LABELS = ("ant", "great white shark", "<script>")
ACT = QuantParams(float(np.float32(0.02)), -128)
MEAN = QuantParams(float(np.float32(0.015)), -128)
LOGITS = QuantParams(float(np.float32(0.03)), 5)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Weights:
    """Float weights; convolution [O, 3, 3, 3] (OIHW), linear [classes, channels]."""

    conv: Array
    conv_bias: Array
    linear: Array
    linear_bias: Array


def weights(seed: int = 1) -> Weights:
    """Seeded weights of moderate size."""
    rng = np.random.default_rng(seed)
    return Weights(
        rng.normal(0, 0.3, (CHANNELS, 3, 3, 3)).astype(np.float32),
        rng.normal(0, 0.3, CHANNELS).astype(np.float32),
        rng.normal(0, 1.0, (CLASSES, CHANNELS)).astype(np.float32),
        rng.normal(0, 0.5, CLASSES).astype(np.float32),
    )


def manifest(kind: str, precision: str) -> Manifest:
    """A manifest that fits the tiny classifier of *kind*."""
    int8_edges = kind == "tflite" and precision == "int8"
    shape = (1, HEIGHT, WIDTH, 3) if kind == "tflite" else (1, 3, HEIGHT, WIDTH)
    dtype = "int8" if int8_edges else "float32"
    layout = "NHWC" if kind == "tflite" else "NCHW"
    quantizers = (
        QuantizerRecord("input", INPUT_QUANT.scale, INPUT_QUANT.zero_point),
        QuantizerRecord("act1", ACT.scale, ACT.zero_point),
        QuantizerRecord("logits", LOGITS.scale, LOGITS.zero_point),
    )
    return Manifest(
        labels=LABELS,
        preprocess=Preprocess(size=(HEIGHT, WIDTH), crop_fraction=0.875),
        inputs=(TensorSpec("input", shape, dtype, layout, INPUT_QUANT if int8_edges else None),),
        outputs=(TensorSpec("logits", (1, CLASSES), dtype, "NC", LOGITS if int8_edges else None),),
        precision=precision,
        quantizers=quantizers if precision == "int8" else (),
        left_out=("act2",) if kind == "openvino" else (),
        training_data={"fingerprint": "sha256:" + "0" * 64, "pictures": 1234},
        tools={"edgecv": "0.1.0"},
        calibration={"digest": "sha256:" + "1" * 64, "pictures": 8, "method": "min-max"},
        verification={"verified": True, "gates": {"parameters": "equal"}},
    )


# --- TFLite -------------------------------------------------------------------------------------


def tflite(precision: str = "int8", seed: int = 1) -> bytes:
    """The classifier as TFLite, ``"int8"`` or ``"float32"``."""
    if LEGACY:
        return golden(precision)
    net, w = TFLiteGraph(), weights(seed)
    if precision == "int8":
        tensors = _int8_tensors(net, w)
        version = 3
    else:
        tensors = _float_tensors(net, w)
        version = 1
    image, kernel, bias, act, axes, mean, matrix, shift, logits = tensors
    conv = schema.Conv2DOptionsT()
    conv.padding, conv.strideH, conv.strideW = schema.Padding.SAME, 1, 1
    conv.fusedActivationFunction = schema.ActivationFunctionType.RELU
    net.op(
        schema.BuiltinOperator.CONV_2D,
        version,
        schema.BuiltinOptions.Conv2DOptions,
        conv,
        (image, kernel, bias),
        (act,),
    )
    reducer = schema.ReducerOptionsT()
    reducer.keepDims = False
    net.op(
        schema.BuiltinOperator.MEAN,
        2,
        schema.BuiltinOptions.ReducerOptions,
        reducer,
        (act, axes),
        (mean,),
    )
    dense = schema.FullyConnectedOptionsT()
    net.op(
        schema.BuiltinOperator.FULLY_CONNECTED,
        4 if precision == "int8" else 1,
        schema.BuiltinOptions.FullyConnectedOptions,
        dense,
        (mean, matrix, shift),
        (logits,),
    )
    return net.pack([image], [logits])


def golden(precision: str) -> bytes:
    """The same bytes as :func:`tflite` with its first seed, as they were written once."""
    path = Path(__file__).parents[1] / "golden" / f"tiny.{precision}.tflite"
    return artifact.read(path).body


def _float_tensors(net: TFLiteGraph, w: Weights) -> tuple[int, ...]:
    f32, i32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
    return (
        net.tensor("input", (1, HEIGHT, WIDTH, 3), f32),
        net.tensor("conv.weight", (CHANNELS, 3, 3, 3), f32, w.conv.transpose(0, 2, 3, 1)),
        net.tensor("conv.bias", (CHANNELS,), f32, w.conv_bias),
        net.tensor("act1", (1, HEIGHT, WIDTH, CHANNELS), f32),
        net.tensor("axes", (2,), i32, np.array([1, 2], np.int32)),
        net.tensor("pool", (1, CHANNELS), f32),
        net.tensor("fc.weight", (CLASSES, CHANNELS), f32, w.linear),
        net.tensor("fc.bias", (CLASSES,), f32, w.linear_bias),
        net.tensor("logits", (1, CLASSES), f32),
    )


def _int8_tensors(net: TFLiteGraph, w: Weights) -> tuple[int, ...]:
    i8, i32 = schema.TensorType.INT8, schema.TensorType.INT32
    conv, conv_scale = _weight(w.conv)
    dense = np.float32(np.abs(w.linear).max() / 127)
    linear = np.clip(np.rint(w.linear / dense), -127, 127).astype(np.int8)
    conv_bias_scale = conv_scale * np.float32(INPUT_QUANT.scale)
    dense_bias_scale = np.float32(dense * np.float32(MEAN.scale))
    zeros = np.zeros(CHANNELS, np.int64)

    def act(name: str, shape: tuple[int, ...], params: QuantParams) -> int:
        return net.tensor(name, shape, i8, None, params.scale, params.zero_point)

    return (
        act("input", (1, HEIGHT, WIDTH, 3), INPUT_QUANT),
        net.tensor(
            "conv.weight", (CHANNELS, 3, 3, 3), i8, conv.transpose(0, 2, 3, 1), conv_scale, zeros
        ),
        net.tensor(
            "conv.bias",
            (CHANNELS,),
            i32,
            np.rint(w.conv_bias / conv_bias_scale).astype(np.int32),
            conv_bias_scale,
            zeros,
        ),
        act("act1", (1, HEIGHT, WIDTH, CHANNELS), ACT),
        net.tensor("axes", (2,), i32, np.array([1, 2], np.int32)),
        act("pool", (1, CHANNELS), MEAN),
        net.tensor("fc.weight", (CLASSES, CHANNELS), i8, linear, dense, 0),
        net.tensor(
            "fc.bias",
            (CLASSES,),
            i32,
            np.rint(w.linear_bias / dense_bias_scale).astype(np.int32),
            dense_bias_scale,
            0,
        ),
        act("logits", (1, CLASSES), LOGITS),
    )


def _weight(weight: Array) -> tuple[Array, Array]:
    peaks = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scale = (peaks / 127).astype(np.float32)
    spread = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / spread), -127, 127).astype(np.int8), scale


def tflite_add() -> bytes:
    """Two float inputs ``a`` and ``b`` of shape [1, 4]; ``sum`` = a + b."""
    net = TFLiteGraph()
    f32 = schema.TensorType.FLOAT32
    a, b, total = (net.tensor(name, (1, 4), f32) for name in ("a", "b", "sum"))
    options = schema.AddOptionsT()
    add = schema.BuiltinOperator.ADD
    net.op(add, 1, schema.BuiltinOptions.AddOptions, options, (a, b), (total,))
    return net.pack([a, b], [total])


# --- ONNX ---------------------------------------------------------------------------------------


def onnx_model(precision: str = "float32", seed: int = 1) -> bytes:
    """The classifier as ONNX: float, or QDQ for ``"int8"``."""
    w = weights(seed)
    nodes, constants = (_qdq if precision == "int8" else _float_nodes)(w)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return _finish(graph)


def _finish(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _float_nodes(w: Weights) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    nodes = [
        helper.make_node(
            "Conv", ["input", "conv.weight", "conv.bias"], ["conv"], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["conv"], ["act1"]),
        helper.make_node("GlobalAveragePool", ["act1"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"]),
    ]
    return nodes, {
        "conv.weight": w.conv,
        "conv.bias": w.conv_bias,
        "fc.weight": np.ascontiguousarray(w.linear.T),
        "fc.bias": w.linear_bias,
    }


def _qdq(w: Weights) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Array] = {}

    def activation(source: str, name: str, result: str, params: QuantParams) -> None:
        unsigned = params.as_dtype("uint8")
        constants[f"{name}/scale"] = np.float32(params.scale).reshape(())
        constants[f"{name}/zero_point"] = np.uint8(unsigned.zero_point).reshape(())
        grid = [f"{name}/scale", f"{name}/zero_point"]
        nodes.append(helper.make_node("QuantizeLinear", [source, *grid], [f"{name}/int"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}/int", *grid], [result]))

    def constant(name: str, value: Array, scale: Array, axis: int) -> None:
        constants[f"{name}/int"], constants[f"{name}/scale"] = value, scale
        constants[f"{name}/zero_point"] = np.zeros(scale.shape, value.dtype)
        parts = [f"{name}/int", f"{name}/scale", f"{name}/zero_point"]
        nodes.append(helper.make_node("DequantizeLinear", parts, [name], axis=axis))

    conv, conv_scale = _weight(w.conv)
    linear, linear_scale = _weight(w.linear)
    conv_bias_scale = conv_scale * np.float32(INPUT_QUANT.scale)
    linear_bias_scale = linear_scale * np.float32(ACT.scale)
    constant("conv.weight", conv, conv_scale, 0)
    constant(
        "conv.bias", np.rint(w.conv_bias / conv_bias_scale).astype(np.int32), conv_bias_scale, 0
    )
    constant("fc.weight", np.ascontiguousarray(linear.T), linear_scale, 1)
    constant(
        "fc.bias",
        np.rint(w.linear_bias / linear_bias_scale).astype(np.int32),
        linear_bias_scale,
        0,
    )
    activation("input", "input", "input/dq", INPUT_QUANT)
    nodes.append(
        helper.make_node(
            "Conv", ["input/dq", "conv.weight", "conv.bias"], ["conv"], pads=[1, 1, 1, 1]
        )
    )
    nodes.append(helper.make_node("Relu", ["conv"], ["act1/float"]))
    activation("act1/float", "act1", "act1", ACT)
    nodes.append(helper.make_node("GlobalAveragePool", ["act1"], ["pool/float"]))
    activation("pool/float", "pool", "pool", ACT)
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits/float"]))
    activation("logits/float", "logits", "logits", LOGITS)
    return nodes, constants


def onnx_add() -> bytes:
    """Two float inputs ``a`` and ``b`` of shape [1, 4]; ``sum`` = a + b."""

    def info(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])

    node = helper.make_node("Add", ["a", "b"], ["sum"])
    return _finish(helper.make_graph([node], "add", [info("a"), info("b")], [info("sum")]))


def onnx_dynamic() -> bytes:
    """The float classifier with an open batch dimension."""
    model = onnx.load_from_string(onnx_model())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    return bytes(model.SerializeToString(deterministic=True))


# --- safetensors ---------------------------------------------------------------------------------


def safetensors(seed: int = 1) -> bytes:
    """The classifier's weights, without a word about their model."""
    from safetensors.numpy import save

    w = weights(seed)
    return bytes(
        save(
            {
                "conv.weight": w.conv,
                "conv.bias": w.conv_bias,
                "fc.weight": w.linear,
                "fc.bias": w.linear_bias,
            }
        )
    )


# --- OpenVINO -----------------------------------------------------------------------------------


@lru_cache
def openvino(precision: str = "float32", seed: int = 1) -> tuple[bytes, bytes]:
    """The classifier as IR: xml and bin. Names are counters of the process, hence the cache."""
    return to_ir(onnx_model(precision, seed))


def openvino_add() -> tuple[bytes, bytes]:
    """As :func:`onnx_add`."""
    return to_ir(onnx_add())


def to_ir(model: bytes) -> tuple[bytes, bytes]:
    """Any ONNX model as IR."""
    import tempfile
    from pathlib import Path

    ov: ModuleType = import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.xml"
        ov.serialize(ov.Core().read_model(model), path, path.with_suffix(".bin"))
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def reference(image: Array, seed: int = 1) -> Array:
    """Float logits [CLASSES] of the classifier for *image* [H, W, 3] in [0, 1], in NumPy."""
    w = weights(seed)
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    conv = np.einsum("hwcij,ocij->hwo", windows, w.conv) + w.conv_bias
    return np.maximum(conv, 0).mean(axis=(0, 1)) @ w.linear.T + w.linear_bias


def int8_input(image: Array) -> Array:
    """uint8 [H, W, 3] to the int8 TFLite input [1, H, W, 3]."""
    return quantize(image[None] / np.float32(255), INPUT_QUANT)
