"""The Gaussian error linear unit, exact or in its approximation by tanh."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.floats import lower_unary
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Gelu", "MicrosoftGelu"]

_FORMS = ("none", "tanh")


class Gelu(Rule):
    """GELU in float: the int8 kernel is outside XNNPACK, which makes a table of the island.

    The pass fuse-gelu makes such nodes of their older spelling with Erf.
    """

    op: ClassVar[str] = "Gelu"
    versions: ClassVar[tuple[int, ...]] = (20,)
    nearest: ClassVar[str] = "Gelu(approximate=none or tanh), or x * 0.5 * (1 + Erf(x / sqrt(2)))"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_gelu.py",
        "float32": "tests/ops/test_gelu.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/gelu.cc; xnnpack_delegate.cc VisitUnaryNode (float32)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The form."""
        form = node.attributes.get("approximate", "none")
        return None if form in _FORMS else f"approximate must be none or tanh, got {form!r}"

    def lower(self, low: Lowering, node: Node) -> None:
        """One float operator, whatever the input's order."""
        options = {"Approximate": node.attributes.get("approximate", "none") == "tanh"}
        lower_unary(low, node, "GELU", "in float, one rounding", options)


class MicrosoftGelu(Gelu):
    """The same, as onnxruntime's own optimizer writes it."""

    domain: ClassVar[str] = "com.microsoft"
    versions: ClassVar[tuple[int, ...]] = (1,)


RULES = (Gelu(), MicrosoftGelu())
