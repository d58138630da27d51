"""From the many spellings of an operator to one: the table of what the torch side understands.

Every handler gets a node of the exported graph and either rewrites it into its canonical spelling
and returns the kind that the spec knows, or returns a :class:`Refusal`. Kinds are keys of
:data:`edgecv.spec.OP_TABLE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

__all__ = ["HANDLERS", "IN_PLACE", "PASS_THROUGH", "Refusal"]

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Refusal:
    """Why an operator cannot be taken, as a phrase."""

    reason: str


#: In-place operators → the same without the side effect.
IN_PLACE: dict[Any, Any] = {
    aten.relu_.default: aten.relu.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.relu6_.default: aten.relu6.default,
    aten.clamp_.default: aten.clamp.default,
    aten.add_.Tensor: aten.add.Tensor,
}

#: Operators that only promise something about memory; replaced by their input.
PASS_THROUGH: frozenset[Any] = frozenset(
    {aten.contiguous.default, aten.clone.default, aten.detach.default, aten.alias.default}
)


def argument(node: Node, index: int, name: str, default: Any) -> Any:
    """Argument of *node* by position or name."""
    if len(node.args) > index:
        return node.args[index]
    return node.kwargs.get(name, default)


def shape_of(node: Any) -> tuple[Any, ...]:
    """Shape of the tensor that *node* produces; the batch dimension is symbolic."""
    return tuple(node.meta["val"].shape)


def pair(value: Any) -> tuple[int, int]:
    """One number or two, as two."""
    if isinstance(value, int):
        return value, value
    numbers = [int(v) for v in value]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _rewrite(node: Node, target: Any, args: tuple[Any, ...]) -> None:
    node.target, node.args, node.kwargs = target, args, {}


def _is_parameter(value: Any) -> bool:
    return isinstance(value, Node) and value.op == "get_attr"


def _conv2d(node: Node) -> str | Refusal:
    weight, bias = argument(node, 1, "weight", None), argument(node, 2, "bias", None)
    if not _is_parameter(weight) or not (bias is None or _is_parameter(bias)):
        return Refusal("its weight or bias is computed, not a parameter")
    stride = pair(argument(node, 3, "stride", 1))
    padding = argument(node, 4, "padding", 0)
    if isinstance(padding, str):
        return Refusal(f"padding {padding!r}")
    dilation = pair(argument(node, 5, "dilation", 1))
    groups = int(argument(node, 6, "groups", 1))
    args = (node.args[0], weight, bias, list(stride), list(pair(padding)), list(dilation), groups)
    _rewrite(node, aten.conv2d.default, args)
    return "conv"


def _linear(node: Node) -> str | Refusal:
    weight, bias = argument(node, 1, "weight", None), argument(node, 2, "bias", None)
    if not _is_parameter(weight) or not (bias is None or _is_parameter(bias)):
        return Refusal("its weight or bias is computed, not a parameter")
    if len(shape_of(node.args[0])) != 2:
        return Refusal(f"its input has {len(shape_of(node.args[0]))} dimensions, not 2")
    _rewrite(node, aten.linear.default, (node.args[0], weight, bias))
    return "linear"


def _relu(node: Node) -> str | Refusal:
    return "relu"


def _clamp(node: Node) -> str | Refusal:
    first = "min" if node.target is aten.clamp.default else "min_val"
    second = "max" if node.target is aten.clamp.default else "max_val"
    default = (None, None) if node.target is aten.clamp.default else (-1.0, 1.0)
    low, high = argument(node, 1, first, default[0]), argument(node, 2, second, default[1])
    if (low, high) == (0, None):
        _rewrite(node, aten.relu.default, (node.args[0],))
        return "relu"
    if (low, high) != (0, 6):
        return Refusal(f"limits [{low}, {high}]; only [0, 6] is known")
    _rewrite(node, aten.hardtanh.default, (node.args[0], 0.0, 6.0))
    return "relu6"


def _relu6(node: Node) -> str | Refusal:
    _rewrite(node, aten.hardtanh.default, (node.args[0], 0.0, 6.0))
    return "relu6"


def _add(node: Node) -> str | Refusal:
    left, right = node.args[0], node.args[1]
    tensors = [a for a in (left, right) if isinstance(a, Node) and a.op != "get_attr"]
    if len(tensors) != 2 or argument(node, 2, "alpha", 1) != 1:
        return Refusal("an addend is a constant or scaled")
    if shape_of(left)[1:] != shape_of(right)[1:]:
        return Refusal(f"shapes {_show(shape_of(left))} and {_show(shape_of(right))} differ")
    _rewrite(node, aten.add.Tensor, (left, right))
    return "add"


def _max_pool(node: Node) -> str | Refusal:
    kernel = pair(node.args[1])
    stride = pair(argument(node, 2, "stride", None) or kernel)
    padding = pair(argument(node, 3, "padding", 0))
    dilation = pair(argument(node, 4, "dilation", 1))
    ceil = bool(argument(node, 5, "ceil_mode", False))
    args = (node.args[0], list(kernel), list(stride), list(padding), list(dilation), ceil)
    _rewrite(node, aten.max_pool2d.default, args)
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
    _rewrite(node, aten.avg_pool2d.default, args)
    return "avg_pool"


def _adaptive_avg_pool(node: Node) -> str | Refusal:
    size = pair(node.args[1])
    if size != (1, 1):
        return Refusal(f"output size {size}; only 1 is known")
    _rewrite(node, aten.adaptive_avg_pool2d.default, (node.args[0], [1, 1]))
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
    _rewrite(node, aten.adaptive_avg_pool2d.default, (source, [1, 1]))
    return "avg_pool"


def _show(shape: tuple[Any, ...]) -> str:
    return f"[{', '.join(str(n) if isinstance(n, int) else 'N' for n in shape)}]"


def _flatten(node: Node) -> str | Refusal:
    source = node.args[0]
    before, after = shape_of(source), shape_of(node)
    per_picture = before[1:]
    whole = len(after) == 2 and str(before[0]) == str(after[0])
    if not whole or any(not isinstance(n, int) for n in per_picture):
        return Refusal(f"{_show(before)} to {_show(after)}; only [N, …] to [N, all] is known")
    _rewrite(node, aten.flatten.using_ints, (source, 1))
    return "reshape"


#: Operator → handler.
HANDLERS: dict[Any, Callable[[Node], str | Refusal]] = {
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
    aten.flatten.using_ints: _flatten,
    aten.view.default: _flatten,
    aten.reshape.default: _flatten,
}
