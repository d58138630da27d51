"""Operators that give the same elements another shape: no data moves until a consumer needs an order."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.moves import move_complaint, renamed
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"]

_VERIFIED = {"int8": "tests/ops/test_reshape.py", "float32": "tests/ops/test_reshape.py"}
_KERNEL = "LiteRT tflite/kernels/reshape.cc; xnnpack_delegate.cc VisitReshapeNode (SQUEEZE, EXPAND_DIMS: int8 outside)"


class _Renaming(Rule):
    """Nothing, or a RESHAPE at the consumer."""

    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The input is computed; the shape of the output is static, or the node would not come here."""
        return move_complaint(graph, node)

    def lower(self, low: Lowering, node: Node) -> None:
        """Split the factors anew."""
        renamed(low, node)


class Reshape(_Renaming):
    """Nothing, or a RESHAPE at the consumer."""

    op: ClassVar[str] = "Reshape"
    versions: ClassVar[tuple[int, ...]] = (5, 13, 14, 19, 21)
    nearest: ClassVar[str] = "Reshape to a constant shape"

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The shape is known."""
        if node.inputs[1] not in graph.constants:
            return f"the shape {node.inputs[1]!r} must be a constant"
        return move_complaint(graph, node)


class Flatten(_Renaming):
    """Nothing, or a RESHAPE at the consumer."""

    op: ClassVar[str] = "Flatten"
    versions: ClassVar[tuple[int, ...]] = (1, 9, 11, 13, 21)
    nearest: ClassVar[str] = "Flatten of a computed tensor of static shape"


class Squeeze(_Renaming):
    """Nothing, or a RESHAPE at the consumer; never SQUEEZE."""

    op: ClassVar[str] = "Squeeze"
    versions: ClassVar[tuple[int, ...]] = (11, 13, 21)
    nearest: ClassVar[str] = "Squeeze of a computed tensor over constant axes"


class Unsqueeze(_Renaming):
    """Nothing, or a RESHAPE at the consumer; never EXPAND_DIMS."""

    op: ClassVar[str] = "Unsqueeze"
    versions: ClassVar[tuple[int, ...]] = (11, 13, 21)
    nearest: ClassVar[str] = "Unsqueeze of a computed tensor at constant axes"


class Identity(_Renaming):
    """Nothing: what the pass drop-noops leaves, between an output and another output."""

    op: ClassVar[str] = "Identity"
    versions: ClassVar[tuple[int, ...]] = (1, 13, 14, 16, 19, 21)
    nearest: ClassVar[str] = "Identity of a computed tensor"


RULES = (Reshape(), Flatten(), Squeeze(), Unsqueeze(), Identity())
