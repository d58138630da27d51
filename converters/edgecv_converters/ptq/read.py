"""From a float ONNX classifier, ours or a stranger's, to the operators that the spec knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgecv.errors import UnsupportedError
from edgecv.qdq import Attribute, FloatGraph, FloatWeight, Operator, WeightNames
from edgecv_converters.ptq.model import OnnxFile
from edgecv_converters.ptq.read_attention import ATTENTION_HANDLERS, add_bias
from edgecv_converters.ptq.refusal import RefusalError, attributes_of

__all__ = ["Reader", "read_float_graph"]

Array = npt.NDArray[Any]


def read_float_graph(model: onnx.ModelProto | bytes) -> FloatGraph:
    """Read *model*: BatchNorm behind a convolution is folded, the ends are named input and logits.

    Raises:
        ModelLoadError: Not an ONNX file, or not a valid one.
        UnsupportedError: Not a classifier with one picture input, or operators that the spec does
            not know, all of them in one message.
    """
    file = OnnxFile(model)
    reader = Reader(file)
    refusals = []
    for node in file.graph.node:
        try:
            reader.take(node)
        except RefusalError as reason:
            refusals.append(f"{node.name or node.output[0]}: {node.op_type} ({reason})")
    if refusals:
        raise UnsupportedError(
            f"{len(refusals)} operators are not supported: {'; '.join(refusals)}",
            cure=f"Known are {', '.join(_HANDLERS)}.",
        )
    shape = file.shape(file.output_name)
    if len(shape) != 2 or reader.names.get(file.output_name) != "logits":
        raise UnsupportedError(
            f"the output {file.output_name!r} has shape {list(shape)}",
            cure="A classifier gives logits [1, C] from its last operator.",
        )
    return FloatGraph(
        tuple(reader.operators), reader.weights, file.input_size, shape[1], reader.parameters
    )


class Reader:
    """State of one pass over the nodes."""

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        #: Tensor name in the file → name here.
        self.names = {file.input_name: "input"}
        self.taken = {"input", "logits"}
        self.operators: list[Operator] = []
        self.weights: dict[str, FloatWeight] = {}
        self.parameters: dict[str, Array] = {}

    def take(self, node: onnx.NodeProto) -> None:
        """Read one node."""
        if node.op_type == "Constant" or node.output[0] in self.file.constants:
            return
        handler = _HANDLERS.get(node.op_type)
        if handler is None or node.domain not in ("", "ai.onnx"):
            self.name(node.output[0])  # so that its readers are judged on their own
            raise RefusalError("no rule for it")
        try:
            handler(self, node)
        except RefusalError:
            if node.output[0] not in self.names:
                self.name(node.output[0])
            raise

    def name(self, tensor: str) -> str:
        """Name of a new tensor here; the ends of the model have fixed ones."""
        wanted, count = tensor, 0
        if tensor == self.file.output_name:
            wanted = "logits"
        else:
            while wanted in self.taken:
                count += 1
                wanted = f"{tensor}_{count}"
        self.taken.add(wanted)
        self.names[tensor] = wanted
        return wanted

    def source(self, node: onnx.NodeProto, index: int = 0) -> str:
        """Name of an activation input."""
        name = node.input[index]
        if name not in self.names:
            raise RefusalError(f"its input {name!r} is a constant")
        return self.names[name]

    def constant(self, node: onnx.NodeProto, index: int) -> Array | None:
        """Value of a constant input, or None when it is left out."""
        if len(node.input) <= index or not node.input[index]:
            return None
        if node.input[index] not in self.file.constants:
            raise RefusalError(f"its input {node.input[index]!r} is computed")
        return self.file.constants[node.input[index]]

    def add(
        self,
        node: onnx.NodeProto,
        kind: str,
        inputs: tuple[str, ...],
        attributes: dict[str, Attribute] | None = None,
        constants: WeightNames | None = None,
        parameters: tuple[str, ...] = (),
    ) -> None:
        """Append an operator that produces the node's output."""
        name = self.name(node.output[0])
        self.operators.append(Operator(name, kind, inputs, attributes or {}, constants, parameters))

    def weight(self, node: onnx.NodeProto, values: Array) -> WeightNames:
        """Register weight [C, ...] and bias of *node*."""
        name = node.input[1]
        bias = self.constant(node, 2)
        stem = name.removesuffix(".weight")
        names = WeightNames(name, node.input[2] if bias is not None else f"{stem}.bias")
        if name in self.weights:
            raise RefusalError(f"the weight {name!r} is used twice")
        zeros = np.zeros(len(values), np.float32)
        bias = zeros if bias is None else np.broadcast_to(bias.reshape(-1), zeros.shape)
        self.weights[name] = FloatWeight(values.astype(np.float32), bias.astype(np.float32))
        return names


def _window(reader: Reader, node: onnx.NodeProto, rank: int = 2) -> dict[str, tuple[int, ...]]:
    """Kernel-independent attributes of convolutions and pools, with their defaults."""
    given = attributes_of(node)
    auto_pad = given.get("auto_pad", b"NOTSET")
    if auto_pad not in (b"NOTSET", b"VALID"):
        raise RefusalError(f"auto_pad={auto_pad.decode()}")
    return {
        "strides": tuple(given.get("strides", (1,) * rank)),
        "pads": tuple(given.get("pads", (0,) * 2 * rank)),
        "dilations": tuple(given.get("dilations", (1,) * rank)),
    }


def _conv(reader: Reader, node: onnx.NodeProto) -> None:
    weight = reader.constant(node, 1)
    if weight is None or weight.ndim != 4:
        raise RefusalError("only two-dimensional convolutions are known")
    inputs = (reader.source(node),)
    attributes: dict[str, Attribute] = {
        "kernel_shape": tuple(int(n) for n in weight.shape[2:]),
        **_window(reader, node),
        "group": int(attributes_of(node).get("group", 1)),
    }
    reader.add(node, "conv", inputs, attributes, reader.weight(node, weight))


def _batch_normalization(reader: Reader, node: onnx.NodeProto) -> None:
    source = reader.source(node)
    conv = next((o for o in reader.operators if o.output == source), None)
    if conv is None or conv.kind != "conv" or conv.constants is None:
        raise RefusalError("not behind a convolution")
    if reader.file.uses[node.input[0]] != 1:
        raise RefusalError("its convolution has other readers")
    found = [reader.constant(node, i) for i in range(1, 5)]
    gamma, beta, mean, var = (np.asarray(v, np.float64) for v in found)
    factor = gamma / np.sqrt(var + float(attributes_of(node).get("epsilon", 1e-5)))
    old = reader.weights[conv.constants.weight]
    values = old.values * factor.reshape(-1, 1, 1, 1)
    bias = beta + (old.bias - mean) * factor
    reader.weights[conv.constants.weight] = FloatWeight(
        values.astype(np.float32), bias.astype(np.float32)
    )
    place = reader.operators.index(conv)
    reader.operators[place] = replace(conv, output=reader.name(node.output[0]))


def _gemm(reader: Reader, node: onnx.NodeProto) -> None:
    given = attributes_of(node)
    if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
        raise RefusalError("alpha, beta or transA is set")
    weight = reader.constant(node, 1)
    if weight is None or weight.ndim != 2:
        raise RefusalError("its weight is no matrix")
    values = weight if given.get("transB", 0) else weight.T
    inputs = (reader.source(node),)
    reader.add(node, "linear", inputs, {"rank": 2}, reader.weight(node, values))


def _relu(reader: Reader, node: onnx.NodeProto) -> None:
    reader.add(node, "relu", (reader.source(node),))


def _clip(reader: Reader, node: onnx.NodeProto) -> None:
    low, high = reader.constant(node, 1), reader.constant(node, 2)
    lowest = -math.inf if low is None else float(low)
    highest = math.inf if high is None else float(high)
    unbounded = highest >= float(np.finfo(np.float32).max)
    if lowest != 0.0 or not (highest == 6.0 or unbounded):
        raise RefusalError(f"limits [{lowest}, {highest}]; only [0, 6] is known")
    reader.add(node, "relu" if unbounded else "relu6", (reader.source(node),))


def _add(reader: Reader, node: onnx.NodeProto) -> None:
    if add_bias(reader, node):
        return
    inputs = (reader.source(node, 0), reader.source(node, 1))
    left, right = (reader.file.shape(name) for name in node.input)
    if left != right:
        raise RefusalError(f"shapes {list(left)} and {list(right)} differ")
    reader.add(node, "add", inputs)


def _max_pool(reader: Reader, node: onnx.NodeProto) -> None:
    kernel = tuple(attributes_of(node)["kernel_shape"])
    if len(kernel) != 2 or len(node.output) != 1:
        raise RefusalError("only two dimensions and one output are known")
    window = _window(reader, node)
    inputs = (reader.source(node),)
    pads = _static_pads(reader, node, kernel, window)
    reader.add(node, "max_pool", inputs, {"kernel_shape": kernel, **window, "pads": pads})


def _average_pool(reader: Reader, node: onnx.NodeProto) -> None:
    given = attributes_of(node)
    kernel = tuple(given["kernel_shape"])
    window = _window(reader, node)
    if len(kernel) != 2 or window.pop("dilations") != (1, 1):
        raise RefusalError("only two dimensions without dilation are known")
    inputs = (reader.source(node),)
    pads = _static_pads(reader, node, kernel, {**window, "dilations": (1, 1)})
    counts = bool(given.get("count_include_pad", 0)) and any(window["pads"])
    if counts and pads != window["pads"]:
        raise RefusalError("it counts its padding but not what ceil_mode adds")
    attributes: dict[str, Attribute] = {
        "kernel_shape": kernel,
        "strides": window["strides"],
        "pads": pads,
        "count_include_pad": int(counts),
    }
    reader.add(node, "avg_pool", inputs, attributes)


def _static_pads(
    reader: Reader,
    node: onnx.NodeProto,
    kernel: tuple[int, ...],
    window: dict[str, tuple[int, ...]],
) -> tuple[int, ...]:
    """Pads without ceil_mode that give the same output size."""
    pads = window["pads"]
    if not attributes_of(node).get("ceil_mode", 0):
        return pads
    before, after = reader.file.shape(node.input[0])[2:], reader.file.shape(node.output[0])[2:]
    ends = []
    for axis in (0, 1):
        span = window["dilations"][axis] * (kernel[axis] - 1) + 1
        reach = (after[axis] - 1) * window["strides"][axis] + span
        ends.append(max(pads[2 + axis], reach - before[axis] - pads[axis]))
    return (*pads[:2], *ends)


def _global_average_pool(reader: Reader, node: onnx.NodeProto) -> None:
    reader.add(node, "avg_pool", (reader.source(node),))


def _reduce_mean(reader: Reader, node: onnx.NodeProto) -> None:
    given = attributes_of(node)
    listed = reader.constant(node, 1)
    axes = given.get("axes", ()) if listed is None else listed.reshape(-1).tolist()
    if sorted(int(a) % 4 for a in axes) != [2, 3] or len(reader.file.shape(node.input[0])) != 4:
        raise RefusalError(f"mean over axes {list(axes)}; only the two spatial ones are known")
    source = reader.source(node)
    if given.get("keepdims", 1):
        reader.add(node, "avg_pool", (source,))
        return
    pooled = f"{node.output[0]}:pool"
    reader.taken.add(pooled)
    reader.operators.append(Operator(pooled, "avg_pool", (source,)))
    reader.add(node, "reshape", (pooled,))


def _reshape(reader: Reader, node: onnx.NodeProto) -> None:
    before, after = reader.file.shape(node.input[0]), reader.file.shape(node.output[0])
    if math.prod(before) != math.prod(after):
        raise RefusalError(f"shape {list(before)} to {list(after)}")
    whole = len(after) == 2 and before[0] == after[0]
    reader.add(node, "reshape", (reader.source(node),), {} if whole else {"shape": after})


def _same(reader: Reader, node: onnx.NodeProto) -> None:
    name = reader.source(node)
    if node.output[0] == reader.file.output_name:
        raise RefusalError("it is the last operator; remove it")
    reader.names[node.output[0]] = name


#: ONNX operator → handler.
_HANDLERS: dict[str, Callable[[Reader, onnx.NodeProto], None]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Conv": _conv,
    "Dropout": _same,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "Identity": _same,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
    "Relu": _relu,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    **ATTENTION_HANDLERS,
}
