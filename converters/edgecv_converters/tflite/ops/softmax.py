"""Softmax over the last dimension."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.floats import rows
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Softmax"]


class Softmax(Rule):
    """SOFTMAX in float: XNNPACK has none on integers, and the builtin one is 6 to 10 times slower."""

    op: ClassVar[str] = "Softmax"
    versions: ClassVar[tuple[int, ...]] = (1, 11, 13)
    nearest: ClassVar[str] = "Softmax over the last dimension (transpose before and after)"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_softmax.py",
        "float32": "tests/ops/test_softmax.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/activations.cc SoftmaxPrepare; xnnpack_delegate.cc VisitSoftmaxNode (float only)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The axis; where it is the last, the older definitions' coercion to a matrix changes nothing."""
        rank = len(graph.shape(node.inputs[0]))
        axis = int(node.attributes.get("axis", -1 if node.version >= 13 else 1))
        if rank and axis in (-1, rank - 1):
            return None
        return f"axis must be the last of {rank}, got {axis}"

    def lower(self, low: Lowering, node: Node) -> None:
        """Any output grid, one rounding; the same integers as the integer kernel's on (1/256, -128)."""
        site = low.site(node, integer=False)
        values = rows(site)
        shape = low.builder.tensors[values].shape
        result = site.output(shape)
        why = "in float: XNNPACK has no int8 SOFTMAX"
        low.builder.emit("SOFTMAX", (values,), (result,), why, options={"Beta": 1.0})
        site.done(result, Layout.row_major(shape))


RULES = (Softmax(),)
