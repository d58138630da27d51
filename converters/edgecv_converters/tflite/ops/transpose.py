"""Transpose: a permutation of the view's dimensions."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.moves import move_complaint
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import View

__all__ = ["RULES", "Transpose"]

#: XNN_MAX_TENSOR_DIMS; the builtin kernel of older runtimes ends there too.
_MAX_RANK = 6


class Transpose(Rule):
    """Nothing, or together with other moves one TRANSPOSE at the consumer."""

    op: ClassVar[str] = "Transpose"
    versions: ClassVar[tuple[int, ...]] = (1, 13, 21)
    nearest: ClassVar[str] = "Transpose of a computed tensor with at most 6 dimensions that part"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_transpose.py",
        "float32": "tests/ops/test_transpose.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/transpose.cc; xnnpack_delegate.cc VisitTransposeNode (at most 6 dimensions)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Dimensions that stay neighbors count once."""
        complaint = move_complaint(graph, node)
        if complaint:
            return complaint
        shape = graph.shape(node.inputs[0])
        parts = _parts(Layout.row_major(shape).permute(_perm(node, len(shape))))
        return (
            None if parts <= _MAX_RANK else f"at most {_MAX_RANK} dimensions may part, got {parts}"
        )

    def lower(self, low: Lowering, node: Node) -> None:
        """Permute; a view that is too scattered for one TRANSPOSE is laid out first."""
        view = low.views[node.inputs[0]]
        perm = _perm(node, len(view.shape))
        moved = replace(view, layout=view.layout.permute(perm))
        if _parts(moved.layout) > _MAX_RANK:
            tensor = low.planner.physical(view)
            layout = Layout.row_major(view.shape).permute(perm)
            moved = View(tensor, layout, view.quant)
        low.bind(node.outputs[0], moved)


def _perm(node: Node, rank: int) -> tuple[int, ...]:
    return node.ints("perm", tuple(reversed(range(rank))))


def _parts(layout: Layout) -> int:
    """Dimensions of the TRANSPOSE that would bring *layout* into logical order."""
    return len(layout.physical_order()[0])


RULES = (Transpose(),)
