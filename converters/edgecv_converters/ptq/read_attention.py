"""Reading what attention and squeeze-and-excitation are made of; a part of :mod:`.read`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from edgecv.qdq import FloatWeight, WeightNames
from edgecv_converters.ptq.refusal import RefusalError, attributes_of

if TYPE_CHECKING:
    from edgecv_converters.ptq.read import Reader

__all__ = ["ATTENTION_HANDLERS", "add_bias"]


def _matmul(reader: Reader, node: onnx.NodeProto) -> None:
    ranks = [len(reader.file.shape(name)) for name in node.input]
    if node.input[1] not in reader.file.constants:
        if ranks[0] != ranks[1] or not 3 <= ranks[0] <= 4:
            raise RefusalError(f"ranks {ranks}; 3 or 4 on both sides are known")
        reader.add(node, "matmul", (reader.source(node, 0), reader.source(node, 1)))
        return
    weight = reader.constant(node, 1)
    assert weight is not None
    if weight.ndim != 2 or not 2 <= ranks[0] <= 4:
        raise RefusalError(f"ranks {ranks}; a constant matrix on the right is known")
    source = reader.source(node)
    names = reader.weight(node, weight.T)
    reader.add(node, "linear", (source,), {"rank": ranks[0]}, names)


def add_bias(reader: Reader, node: onnx.NodeProto) -> bool:
    """Take an Add of a constant row behind a MatMul as that layer's bias; whether it was one."""
    constants = [i for i, name in enumerate(node.input) if name in reader.file.constants]
    if len(constants) != 1:
        return False
    product, bias_name = node.input[1 - constants[0]], node.input[constants[0]]
    name = reader.names.get(product)
    layer = next((op for op in reader.operators if op.output == name), None)
    if layer is None or layer.kind != "linear" or layer.constants is None:
        return False
    old = reader.weights[layer.constants.weight]
    bias = reader.file.constants[bias_name]
    if reader.file.uses[product] != 1 or bias.size != len(old.bias) or old.bias.any():
        return False
    reader.weights[layer.constants.weight] = FloatWeight(
        old.values, bias.reshape(-1).astype(np.float32)
    )
    place = reader.operators.index(layer)
    names = WeightNames(layer.constants.weight, bias_name)
    reader.operators[place] = replace(layer, output=reader.name(node.output[0]), constants=names)
    return True


def _mul(reader: Reader, node: onnx.NodeProto) -> None:
    shapes = [reader.file.shape(name) for name in node.input]
    inputs = (reader.source(node, 0), reader.source(node, 1))
    fits = all(a == b or 1 in (a, b) for a, b in zip(*shapes, strict=False))
    if len(shapes[0]) != len(shapes[1]) or not fits:
        raise RefusalError(f"shapes {list(shapes[0])} and {list(shapes[1])} do not broadcast")
    reader.add(node, "mul", inputs)


def _unary(kind: str) -> Callable[[Reader, onnx.NodeProto], None]:
    def handler(reader: Reader, node: onnx.NodeProto) -> None:
        reader.add(node, kind, (reader.source(node),))

    return handler


def _hard_sigmoid(reader: Reader, node: onnx.NodeProto) -> None:
    given = attributes_of(node)
    alpha, beta = float(given.get("alpha", 0.2)), float(given.get("beta", 0.5))
    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
        raise RefusalError(f"alpha {alpha:.6g} and beta {beta:.6g}; 1/6 and 0.5 are known")
    reader.add(node, "hardsigmoid", (reader.source(node),), {"alpha": alpha, "beta": beta})


def _softmax(reader: Reader, node: onnx.NodeProto) -> None:
    rank, axis = len(reader.file.shape(node.input[0])), attributes_of(node).get("axis", -1)
    if axis % rank != rank - 1:
        raise RefusalError(f"over axis {axis} of {rank}; only the last is known")
    reader.add(node, "softmax", (reader.source(node),), {"axis": -1})


def _layer_norm(reader: Reader, node: onnx.NodeProto) -> None:
    given, rank = attributes_of(node), len(reader.file.shape(node.input[0]))
    if given.get("axis", -1) % rank != rank - 1 or len(node.input) != 3 or len(node.output) != 1:
        raise RefusalError("only over the last axis, with scale and offset, is known")
    names = tuple(str(name) for name in node.input[1:])
    for position, name in enumerate(names, start=1):
        value = reader.constant(node, position)
        assert value is not None
        reader.parameters[name] = value.astype(np.float32)
    epsilon = float(given.get("epsilon", 1e-5))
    reader.add(
        node, "layer_norm", (reader.source(node),), {"axis": -1, "epsilon": epsilon},
        parameters=names,
    )  # fmt: skip


def _transpose(reader: Reader, node: onnx.NodeProto) -> None:
    rank = len(reader.file.shape(node.input[0]))
    order = tuple(attributes_of(node).get("perm", reversed(range(rank))))
    reader.add(node, "transpose", (reader.source(node),), {"perm": order})


def _concat(reader: Reader, node: onnx.NodeProto) -> None:
    axis = int(attributes_of(node)["axis"]) % len(reader.file.shape(node.output[0]))
    if axis == 0:
        raise RefusalError("along the batch")
    inputs = tuple(reader.source(node, i) for i in range(len(node.input)))
    reader.add(node, "concat", inputs, {"axis": axis})


#: ONNX operator → handler.
ATTENTION_HANDLERS: dict[str, Callable[[Reader, onnx.NodeProto], None]] = {
    "Concat": _concat,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary("hardswish"),
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "Mul": _mul,
    "Sigmoid": _unary("sigmoid"),
    "Softmax": _softmax,
    "Transpose": _transpose,
}
