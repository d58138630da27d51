"""What the handlers of operators share: arguments, shapes, and the words for a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

__all__ = [
    "Handler",
    "Refusal",
    "argument",
    "aten",
    "is_parameter",
    "operands",
    "pair",
    "rewrite",
    "shape_of",
    "show",
]

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Refusal:
    """Why an operator cannot be taken, as a phrase."""

    reason: str


#: Rewrites a node into its canonical spelling and returns its kind, or says why not.
Handler = Callable[[Node], "str | Refusal"]


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


def rewrite(node: Node, target: Any, args: tuple[Any, ...]) -> None:
    """Give *node* another operator and arguments."""
    node.target, node.args, node.kwargs = target, args, {}


def is_parameter(value: Any) -> bool:
    """Whether an argument is a weight of the model."""
    return isinstance(value, Node) and value.op == "get_attr"


def operands(node: Node) -> list[Node]:
    """Nodes among the arguments in order; those of a concatenation stand in a list."""
    first = node.args[0] if node.args else None
    listed = list(first) if isinstance(first, (list, tuple)) else list(node.args)
    return [a for a in listed if isinstance(a, Node)]


def show(shape: tuple[Any, ...]) -> str:
    """A shape for messages; what depends on the batch is N."""
    return f"[{', '.join(str(n) if isinstance(n, int) else 'N' for n in shape)}]"
