"""Relu and Clip that no operator before them could take in."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.passes.fuse_clamp import clamp_of
from edgecv_converters.tflite.floats import lower_unary
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Clip", "Relu"]

_VERIFIED = {"int8": "tests/ops/test_clamp.py", "float32": "tests/ops/test_clamp.py"}
_KERNEL = (
    "LiteRT tflite/kernels/activations.cc; xnnpack_delegate.cc VisitReluNode takes float32 only"
)
_WHY = "stands alone: in float, one rounding"


class Relu(Rule):
    """RELU."""

    op: ClassVar[str] = "Relu"
    versions: ClassVar[tuple[int, ...]] = (6, 13, 14)
    nearest: ClassVar[str] = "Relu of a float32 or quantized value"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Always applies."""
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """In float: RELU on integers is outside XNNPACK."""
        lower_unary(low, node, "RELU", _WHY)


class Clip(Rule):
    """RELU6, RELU_N1_TO_1 or RELU, by the bounds."""

    op: ClassVar[str] = "Clip"
    versions: ClassVar[tuple[int, ...]] = (11, 12, 13)
    nearest: ClassVar[str] = "Clip with constant bounds (0, 6), (-1, 1) or (0, none)"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Bounds that a kernel has."""
        if clamp_of(graph, node):
            return None
        bounds = [
            float(graph.constants[n].real().reshape(-1)[0])
            if n in graph.constants
            else (n or "none")
            for n in node.inputs[1:]
        ]
        return f"bounds must be (0, 6), (-1, 1) or (0, none), got {bounds}"

    def lower(self, low: Lowering, node: Node) -> None:
        """In float."""
        clamp = clamp_of(low.graph, node)
        assert clamp is not None
        lower_unary(low, node, clamp.upper(), _WHY)


RULES = (Relu(), Clip())
