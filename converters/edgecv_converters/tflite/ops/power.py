"""Squares and square roots: what exporters below opset 17 spell a layer normalization with."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.floats import lower_unary, whole
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Pow", "Sqrt"]

_VERIFIED = {"int8": "tests/ops/test_power.py", "float32": "tests/ops/test_power.py"}
_FLOAT = "in float, one rounding"


class Sqrt(Rule):
    """SQRT, which XNNPACK has in float only."""

    op: ClassVar[str] = "Sqrt"
    versions: ClassVar[tuple[int, ...]] = (6, 13)
    nearest: ClassVar[str] = "Sqrt of a float32 or quantized value"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/elementwise.cc; xnnpack_delegate.cc VisitUnaryNode"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Always applies."""
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """In float."""
        lower_unary(low, node, "SQRT", _FLOAT)


class Pow(Rule):
    """MUL of a value with itself, or SQRT."""

    op: ClassVar[str] = "Pow"
    versions: ClassVar[tuple[int, ...]] = (7, 12, 13, 15)
    nearest: ClassVar[str] = "Pow with the constant exponent 2 or 0.5"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/mul.cc, elementwise.cc; xnnpack_delegate.cc VisitBinaryNode"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The exponent, and that the base is computed."""
        base, exponent = node.inputs[:2]
        constant = graph.constants.get(exponent)
        if constant is None or constant.data.size != 1:
            return f"the exponent must be a constant of one element, got {exponent!r}"
        if base in graph.constants:
            return f"the base must be computed, got the constant {base!r}"
        if len(constant.data.shape) > len(graph.shape(base)):
            return f"the exponent must not have more dimensions than the base, got {list(constant.data.shape)}"
        number = float(constant.real().reshape(-1)[0])
        return None if number in (2.0, 0.5) else f"the exponent must be 2 or 0.5, got {number:g}"

    def lower(self, low: Lowering, node: Node) -> None:
        """In float: an integer MUL of a tensor with itself is no faster, and rounds in 8 bits."""
        if float(low.graph.constants[node.inputs[1]].real().reshape(-1)[0]) == 0.5:
            lower_unary(low, node, "SQRT", _FLOAT)
            return
        site = low.site(node, integer=False)
        view = whole(site)
        result = site.output(low.builder.tensors[view.tensor].shape)
        low.builder.emit("MUL", (view.tensor, view.tensor), (result,), f"squared; {_FLOAT}")
        site.done(result, view.layout)


RULES = (Sqrt(), Pow())
