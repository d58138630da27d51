"""Writes a float graph as float or QDQ ONNX; the only writer of that form.

The form is what keeps every int8 kernel of ONNX Runtime and OpenVINO: uint8 activations (int8 with zero
point 0 where symmetric), 0-d scales and zero points, int32 bias behind DequantizeLinear, opset 17, Gemm
weights stored [in, out], and a QuantizeLinear directly behind the operator that produces the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecv.errors import UnsupportedError
from edgecv.qdq.graph import FloatGraph, Operator, Quantization, WeightNames
from edgecv.spec import QuantParams, bias_params, make_room_for_bias

__all__ = ["float_model", "qdq_model"]

Array = npt.NDArray[Any]

OPSET = 17
IR_VERSION = 8

#: kind → ONNX operator. ``avg_pool`` without attributes is global.
_OPERATORS = {
    "conv": "Conv",
    "relu": "Relu",
    "relu6": "Clip",
    "add": "Add",
    "max_pool": "MaxPool",
    "avg_pool": "AveragePool",
    "mul": "Mul",
    "matmul": "MatMul",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "hardswish": "HardSwish",
    "hardsigmoid": "HardSigmoid",
    "layer_norm": "LayerNormalization",
    "transpose": "Transpose",
    "concat": "Concat",
}


class _Builder:
    """Nodes and initializers of one file, in order."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Array) -> str:
        """Add an initializer once; tensors that share a quantizer share it."""
        if name not in self.initializers:
            # not ascontiguousarray: it makes 0-d arrays 1-d, and a 1-element scale loses QLinearAdd
            self.initializers[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def quantize(self, source: str, tensor: str, quantizer: str, stored: QuantParams) -> str:
        """Q and DQ pair: *source* → ``tensor/int`` → the name that readers use."""
        scale = self.constant(f"{quantizer}/scale", np.array(stored.scale, np.float32))
        zero_point = np.array(stored.zero_point, stored.dtype)
        zero = self.constant(f"{quantizer}/zero_point", zero_point)
        self.node("QuantizeLinear", [source, scale, zero], f"{tensor}/int")
        target = f"{tensor}/dq" if tensor == source else tensor
        return self.node("DequantizeLinear", [f"{tensor}/int", scale, zero], target)

    def dequantized_constant(self, name: str, integers: Array, scale: Array, axis: int) -> str:
        """An integer constant behind its DequantizeLinear."""
        zeros = np.zeros(len(scale), integers.dtype)
        inputs = [
            self.constant(f"{name}/int", integers),
            self.constant(f"{name}/scale", scale),
            self.constant(f"{name}/zero_point", zeros),
        ]
        return self.node("DequantizeLinear", inputs, name, axis=axis)

    def model(self, graph: FloatGraph) -> onnx.ModelProto:
        height, width = graph.input_size
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "edgecv",
                [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])],
                [
                    helper.make_tensor_value_info(
                        "logits", TensorProto.FLOAT, [1, graph.num_classes]
                    )
                ],
                list(self.initializers.values()),
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="edgecv",
            producer_version=version("edgecv"),
        )
        onnx.checker.check_model(model)
        return model


def float_model(graph: FloatGraph) -> onnx.ModelProto:
    """The float file: BatchNorm folded, no quantizers."""
    builder = _Builder()
    for operator in graph.operators:
        constants = []
        if operator.constants is not None:
            weight = graph.weights[operator.constants.weight]
            values = weight.values.T if operator.kind == "linear" else weight.values
            constants = [
                builder.constant(operator.constants.weight, values),
                builder.constant(operator.constants.bias, weight.bias),
            ]
        constants += _parameters(builder, graph, operator)
        _emit(builder, operator, [*operator.inputs, *constants], operator.output)
    return builder.model(graph)


def qdq_model(graph: FloatGraph, quantization: Quantization) -> onnx.ModelProto:
    """The quantized file, with every scale, zero point and integer as given.

    Raises:
        UnsupportedError: The quantizers have fewer than 8 bits (ONNX saturates at 8).
    """
    placement = quantization.placement
    if placement.bits != 8:
        raise UnsupportedError(
            f"a grid of {placement.bits} bits cannot be exported", cure="Prepare with bits=8."
        )
    params = {
        name: quantization.params[name].as_dtype("int8" if quantizer.symmetric else "uint8")
        for name, quantizer in placement.quantizers.items()
    }
    builder = _Builder()
    reads = {"input": builder.quantize("input", "input", "input", params["input"])}
    for operator in graph.operators:
        tensor = operator.output
        inputs = [reads[name] for name in operator.inputs]
        if operator.constants is not None:
            producer = params[placement.tensors[operator.inputs[0]]]
            inputs += _quantized_constants(
                builder, operator.constants, operator.kind, quantization, producer.scale
            )
        inputs += _parameters(builder, graph, operator)
        quantizer = placement.tensors.get(tensor)
        if quantizer is None:
            reads[tensor] = _emit(builder, operator, inputs, tensor)
        else:
            real = _emit(builder, operator, inputs, f"{tensor}/float")
            reads[tensor] = builder.quantize(real, tensor, quantizer, params[quantizer])
    return builder.model(graph)


def _quantized_constants(
    builder: _Builder,
    names: WeightNames,
    kind: str,
    quantization: Quantization,
    input_scale: float,
) -> list[str]:
    weight = quantization.weights[names.weight]
    scale, integers = make_room_for_bias(weight.bias, input_scale, weight.scale, weight.integers)
    bias, bias_scale, scale = bias_params(weight.bias, input_scale, scale, integers, names.weight)
    transposed = kind == "linear"
    integers = integers.T if transposed else integers
    return [
        builder.dequantized_constant(names.weight, integers, scale, axis=int(transposed)),
        builder.dequantized_constant(names.bias, bias, bias_scale, axis=0),
    ]


def _parameters(builder: _Builder, graph: FloatGraph, operator: Operator) -> list[str]:
    """Constants of *operator* that stay float."""
    return [builder.constant(name, graph.parameters[name]) for name in operator.parameters]


def _emit(builder: _Builder, operator: Operator, inputs: list[str], output: str) -> str:
    extra = _EXTRA.get(operator.kind)
    if extra is not None:
        return extra(builder, operator, inputs, output)
    attributes: Mapping[str, Any] = operator.attributes
    return builder.node(_OPERATORS[operator.kind], inputs, output, **attributes)


def _relu6(builder: _Builder, operator: Operator, inputs: list[str], output: str) -> str:
    low = builder.constant(f"{operator.output}/min", np.array(0.0, np.float32))
    high = builder.constant(f"{operator.output}/max", np.array(6.0, np.float32))
    return builder.node("Clip", [*inputs, low, high], output)


def _avg_pool(builder: _Builder, operator: Operator, inputs: list[str], output: str) -> str:
    if not operator.attributes:
        return builder.node("GlobalAveragePool", inputs, output)
    return builder.node("AveragePool", inputs, output, **operator.attributes)


def _reshape(builder: _Builder, operator: Operator, inputs: list[str], output: str) -> str:
    shape = operator.attributes.get("shape")
    if shape is None:
        return builder.node("Flatten", inputs, output, axis=1)
    wanted = builder.constant(f"{operator.output}/shape", np.array(shape, np.int64))
    return builder.node("Reshape", [*inputs, wanted], output)


def _linear(builder: _Builder, operator: Operator, inputs: list[str], output: str) -> str:
    if operator.attributes.get("rank", 2) == 2:
        return builder.node("Gemm", inputs, output)
    # Gemm takes matrices only
    product = builder.node("MatMul", inputs[:2], f"{output}/product")
    return builder.node("Add", [product, inputs[2]], output)


_EXTRA: dict[str, Callable[[_Builder, Operator, list[str], str], str]] = {
    "relu6": _relu6,
    "avg_pool": _avg_pool,
    "linear": _linear,
    "reshape": _reshape,
}
