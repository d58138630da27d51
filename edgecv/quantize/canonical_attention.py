"""One spelling for activations with a curve, attention, and what only moves elements.

SiLU becomes x * sigmoid(x), because TFLite has a tensor between the two.
"""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from edgecv.quantize.naming import META, Canonical, module_path
from edgecv.quantize.spelling import (
    Handler,
    Refusal,
    argument,
    aten,
    is_parameter,
    rewrite,
    shape_of,
    show,
)

__all__ = ["ATTENTION_HANDLERS"]


def _silu(node: Node) -> str | Refusal:
    source = node.args[0]
    with node.graph.inserting_before(node):
        gate = node.graph.call_function(aten.sigmoid.default, (source,))
    gate.meta = {**node.meta, META: Canonical("sigmoid", module_path(node))}
    rewrite(node, aten.mul.Tensor, (source, gate))
    return "mul"


def _unary(kind: str, target: Any) -> Handler:
    def handler(node: Node) -> str | Refusal:
        rewrite(node, target, (node.args[0],))
        return kind

    return handler


def _mul(node: Node) -> str | Refusal:
    left, right = node.args[0], node.args[1]
    tensors = [a for a in (left, right) if isinstance(a, Node) and not is_parameter(a)]
    if len(tensors) != 2:
        return Refusal("a factor is a constant")
    shapes = [shape_of(a) for a in tensors]
    pairs = zip(shapes[0][1:], shapes[1][1:], strict=False)
    if len(shapes[0]) != len(shapes[1]) or not all(a == b or 1 in (a, b) for a, b in pairs):
        return Refusal(f"shapes {show(shapes[0])} and {show(shapes[1])} do not broadcast")
    rewrite(node, aten.mul.Tensor, (left, right))
    return "mul"


def _softmax(node: Node) -> str | Refusal:
    rank = len(shape_of(node.args[0]))
    axis = int(argument(node, 1, "dim", -1))
    if axis % rank != rank - 1:
        return Refusal(f"over dimension {axis} of {rank}; only the last is known")
    rewrite(node, aten.softmax.int, (node.args[0], -1))
    return "softmax"


def _matmul(node: Node) -> str | Refusal:
    left, right = node.args[0], node.args[1]
    if is_parameter(left) or is_parameter(right):
        return Refusal("an operand is a parameter outside a linear layer")
    ranks = len(shape_of(left)), len(shape_of(right))
    if ranks[0] != ranks[1] or not 3 <= ranks[0] <= 4:
        return Refusal(f"ranks {ranks}; 3 or 4 on both sides are known")
    rewrite(node, aten.matmul.default, (left, right))
    return "matmul"


def _layer_norm(node: Node) -> str | Refusal:
    shape = list(node.args[1])  # type: ignore[arg-type]
    weight, bias = argument(node, 2, "weight", None), argument(node, 3, "bias", None)
    if len(shape) != 1:
        return Refusal(f"over the last {len(shape)} dimensions; only the last one is known")
    if not is_parameter(weight) or not is_parameter(bias):
        return Refusal("it has no weight or no bias")
    epsilon = float(argument(node, 4, "eps", 1e-5))
    rewrite(node, aten.layer_norm.default, (node.args[0], shape, weight, bias, epsilon))
    return "layer_norm"


def _transpose(node: Node) -> str | Refusal:
    rank = len(shape_of(node.args[0]))
    if node.target is aten.permute.default:
        listed: Any = node.args[1]
        order = [int(d) % rank for d in listed]
    else:
        first, second = (int(d) % rank for d in node.args[1:3])  # type: ignore[arg-type]
        order = list(range(rank))
        order[first], order[second] = second, first
    rewrite(node, aten.permute.default, (node.args[0], order))
    return "transpose"


def _reshape(node: Node) -> str | Refusal:
    source = node.args[0]
    before, after = shape_of(source), shape_of(node)
    per_picture = before[1:]
    whole = len(after) == 2 and str(before[0]) == str(after[0])
    if whole and all(isinstance(n, int) for n in per_picture):
        rewrite(node, aten.flatten.using_ints, (source, 1))
    elif node.target is aten.flatten.using_ints:
        return Refusal(f"{show(before)} to {show(after)}; only [N, …] to [N, all] is known")
    else:
        rewrite(node, aten.reshape.default, (source, node.args[1]))
    return "reshape"


def _concat(node: Node) -> str | Refusal:
    parts = list(node.args[0])  # type: ignore[arg-type]
    if any(is_parameter(part) for part in parts):
        return Refusal("a part is a constant")
    axis = int(argument(node, 1, "dim", 0)) % len(shape_of(node))
    if axis == 0:
        return Refusal("along the batch")
    rewrite(node, aten.cat.default, (parts, axis))
    return "concat"


#: Operator → handler; a part of :data:`edgecv.quantize.canonical.HANDLERS`.
ATTENTION_HANDLERS: dict[Any, Handler] = {
    aten.silu.default: _silu,
    aten.sigmoid.default: _unary("sigmoid", aten.sigmoid.default),
    aten.hardswish.default: _unary("hardswish", aten.hardswish.default),
    aten.hardsigmoid.default: _unary("hardsigmoid", aten.hardsigmoid.default),
    aten.mul.Tensor: _mul,
    aten.softmax.int: _softmax,
    aten.matmul.default: _matmul,
    aten.layer_norm.default: _layer_norm,
    aten.transpose.int: _transpose,
    aten.permute.default: _transpose,
    aten.flatten.using_ints: _reshape,
    aten.view.default: _reshape,
    aten.reshape.default: _reshape,
    aten.cat.default: _concat,
}
