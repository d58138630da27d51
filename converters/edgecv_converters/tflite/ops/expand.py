"""Expand that repeats nothing."""

from __future__ import annotations

from math import prod
from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.moves import move_complaint, renamed
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Expand"]


class Expand(Rule):
    """Nothing, or a RESHAPE at the consumer."""

    op: ClassVar[str] = "Expand"
    versions: ClassVar[tuple[int, ...]] = (8, 13)
    nearest: ClassVar[str] = (
        "Expand of a constant, or of a computed tensor to as many elements (sums and products broadcast by themselves)"
    )
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_expand.py",
        "float32": "tests/ops/test_expand.py",
    }
    kernel: ClassVar[str] = "LiteRT tflite/kernels/broadcast_to.cc (XNNPACK: float32 only)"

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Dimensions of size 1 may come, none may grow."""
        complaint = move_complaint(graph, node)
        if complaint:
            return complaint
        shapes = [graph.shape(name) for name in (node.inputs[0], node.outputs[0])]
        if prod(shapes[0]) == prod(shapes[1]):
            return None
        return f"a computed tensor must not be repeated, got {list(shapes[0])} to {list(shapes[1])}"

    def lower(self, low: Lowering, node: Node) -> None:
        """The same elements."""
        renamed(low, node)


RULES = (Expand(),)
