"""From the many spellings of an operator to one: the table of what the torch side understands.

Every handler gets a node of the exported graph and either rewrites it into its canonical spelling
and returns the kind that the spec knows, or returns a :class:`Refusal`. Kinds are keys of
:data:`edgecv.spec.OP_TABLE`.
"""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from edgecv.quantize.canonical_attention import ATTENTION_HANDLERS
from edgecv.quantize.spelling import (
    Handler,
    Refusal,
    argument,
    aten,
    is_parameter,
    pair,
    rewrite,
    shape_of,
    show,
)

__all__ = ["HANDLERS", "IN_PLACE", "PASS_THROUGH", "Refusal"]


#: In-place operators → the same without the side effect.
IN_PLACE: dict[Any, Any] = {
    aten.relu_.default: aten.relu.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.relu6_.default: aten.relu6.default,
    aten.clamp_.default: aten.clamp.default,
    aten.add_.Tensor: aten.add.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor,
    aten.silu_.default: aten.silu.default,
    aten.sigmoid_.default: aten.sigmoid.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
}

#: Operators that only promise something about memory; replaced by their input.
PASS_THROUGH: frozenset[Any] = frozenset(
    {aten.contiguous.default, aten.clone.default, aten.detach.default, aten.alias.default}
)


def _conv2d(node: Node) -> str | Refusal:
    weight, bias = argument(node, 1, "weight", None), argument(node, 2, "bias", None)
    if not is_parameter(weight) or not (bias is None or is_parameter(bias)):
        return Refusal("its weight or bias is computed, not a parameter")
    stride = pair(argument(node, 3, "stride", 1))
    padding = argument(node, 4, "padding", 0)
    if isinstance(padding, str):
        return Refusal(f"padding {padding!r}")
    dilation = pair(argument(node, 5, "dilation", 1))
    groups = int(argument(node, 6, "groups", 1))
    args = (node.args[0], weight, bias, list(stride), list(pair(padding)), list(dilation), groups)
    rewrite(node, aten.conv2d.default, args)
    return "conv"


def _linear(node: Node) -> str | Refusal:
    weight, bias = argument(node, 1, "weight", None), argument(node, 2, "bias", None)
    if not is_parameter(weight) or not (bias is None or is_parameter(bias)):
        return Refusal("its weight or bias is computed, not a parameter")
    if not 2 <= len(shape_of(node.args[0])) <= 4:
        return Refusal(f"its input has {len(shape_of(node.args[0]))} dimensions, not 2 to 4")
    rewrite(node, aten.linear.default, (node.args[0], weight, bias))
    return "linear"


def _relu(node: Node) -> str | Refusal:
    return "relu"


def _clamp(node: Node) -> str | Refusal:
    first = "min" if node.target is aten.clamp.default else "min_val"
    second = "max" if node.target is aten.clamp.default else "max_val"
    default = (None, None) if node.target is aten.clamp.default else (-1.0, 1.0)
    low, high = argument(node, 1, first, default[0]), argument(node, 2, second, default[1])
    if (low, high) == (0, None):
        rewrite(node, aten.relu.default, (node.args[0],))
        return "relu"
    if (low, high) != (0, 6):
        return Refusal(f"limits [{low}, {high}]; only [0, 6] is known")
    rewrite(node, aten.hardtanh.default, (node.args[0], 0.0, 6.0))
    return "relu6"


def _relu6(node: Node) -> str | Refusal:
    rewrite(node, aten.hardtanh.default, (node.args[0], 0.0, 6.0))
    return "relu6"


def _add(node: Node) -> str | Refusal:
    left, right = node.args[0], node.args[1]
    tensors = [a for a in (left, right) if isinstance(a, Node) and a.op != "get_attr"]
    if len(tensors) != 2 or argument(node, 2, "alpha", 1) != 1:
        return Refusal("an addend is a constant or scaled")
    if shape_of(left)[1:] != shape_of(right)[1:]:
        return Refusal(f"shapes {show(shape_of(left))} and {show(shape_of(right))} differ")
    rewrite(node, aten.add.Tensor, (left, right))
    return "add"


def _max_pool(node: Node) -> str | Refusal:
    kernel = pair(node.args[1])
    stride = pair(argument(node, 2, "stride", None) or kernel)
    padding = pair(argument(node, 3, "padding", 0))
    dilation = pair(argument(node, 4, "dilation", 1))
    ceil = bool(argument(node, 5, "ceil_mode", False))
    args = (node.args[0], list(kernel), list(stride), list(padding), list(dilation), ceil)
    rewrite(node, aten.max_pool2d.default, args)
    return "max_pool"


def _avg_pool(node: Node) -> str | Refusal:
    if argument(node, 6, "divisor_override", None) is not None:
        return Refusal("divisor_override")
    kernel = pair(node.args[1])
    stride = pair(argument(node, 2, "stride", None) or kernel)
    padding = pair(argument(node, 3, "padding", 0))
    ceil = bool(argument(node, 4, "ceil_mode", False))
    count_pad = bool(argument(node, 5, "count_include_pad", True))
    args = (node.args[0], list(kernel), list(stride), list(padding), ceil, count_pad)
    rewrite(node, aten.avg_pool2d.default, args)
    return "avg_pool"


def _adaptive_avg_pool(node: Node) -> str | Refusal:
    size = pair(node.args[1])
    if size != (1, 1):
        return Refusal(f"output size {size}; only 1 is known")
    rewrite(node, aten.adaptive_avg_pool2d.default, (node.args[0], [1, 1]))
    return "avg_pool"


def _mean(node: Node) -> str | Refusal:
    source = node.args[0]
    dims = argument(node, 1, "dim", None)
    rank = len(shape_of(source))
    if rank != 4 or not dims or {d % rank for d in dims} != {2, 3}:
        return Refusal(f"mean over dimensions {dims}; only the two spatial ones are known")
    if not bool(argument(node, 2, "keepdim", False)):
        # the exported file pools and flattens, and both annotators must see the same tensors
        with node.graph.inserting_after(node):
            flat = node.graph.call_function(aten.flatten.using_ints, (node, 1))
        flat.meta = dict(node.meta)
        node.meta["val"] = node.meta["val"].unsqueeze(-1).unsqueeze(-1)
        node.replace_all_uses_with(flat, delete_user_cb=lambda user: user is not flat)
    rewrite(node, aten.adaptive_avg_pool2d.default, (source, [1, 1]))
    return "avg_pool"


#: Operator → handler.
HANDLERS: dict[Any, Handler] = {
    aten.conv2d.default: _conv2d,
    aten.conv2d.padding: _conv2d,
    aten.linear.default: _linear,
    aten.relu.default: _relu,
    aten.relu6.default: _relu6,
    aten.hardtanh.default: _clamp,
    aten.clamp.default: _clamp,
    aten.add.Tensor: _add,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_avg_pool,
    aten.mean.dim: _mean,
    **ATTENTION_HANDLERS,
}
