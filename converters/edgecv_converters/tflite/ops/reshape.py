"""Operators that only rename positions: no data moves until a consumer needs an order."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import View

__all__ = ["RULES", "Flatten", "Reshape"]

_VERIFIED = {"int8": "tests/ops/test_reshape.py", "float32": "tests/ops/test_reshape.py"}
_KERNEL = "LiteRT tflite/kernels/reshape.cc; xnnpack_delegate.cc VisitReshapeNode"


def _lower(low: Lowering, node: Node) -> None:
    view = low.views[node.inputs[0]]
    shape = low.graph.shape(node.outputs[0])
    layout = view.layout.reshape(shape)
    if layout is None:
        # factors would have to be cut across: lay the elements out first
        view = View(low.planner.physical(view), Layout.row_major(view.shape), view.quant)
        layout = Layout.row_major(shape)
    low.bind(node.outputs[0], replace(view, layout=layout))


class Reshape(Rule):
    """Nothing, or a RESHAPE at the consumer."""

    op: ClassVar[str] = "Reshape"
    versions: ClassVar[tuple[int, ...]] = (5, 13, 14, 19, 21)
    nearest: ClassVar[str] = "Reshape to a constant shape"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The shape is known."""
        known = node.inputs[1] in graph.constants
        return None if known else f"the shape {node.inputs[1]!r} must be a constant"

    def lower(self, low: Lowering, node: Node) -> None:
        """Split the factors anew."""
        _lower(low, node)


class Flatten(Rule):
    """Nothing, or a RESHAPE at the consumer."""

    op: ClassVar[str] = "Flatten"
    versions: ClassVar[tuple[int, ...]] = (1, 9, 11, 13, 21)
    nearest: ClassVar[str] = "Flatten of a tensor of static shape"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Always applies."""
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """Join the factors."""
        _lower(low, node)


RULES = (Reshape(), Flatten())
