"""QuantizeLinear that stayed: a float value that others read too, or a second rounding."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "QuantizeLinear"]


class QuantizeLinear(Rule):
    """QUANTIZE."""

    op: ClassVar[str] = "QuantizeLinear"
    versions: ClassVar[tuple[int, ...]] = (10, 13, 19, 21)
    nearest: ClassVar[str] = "QuantizeLinear to int8 or uint8 per tensor"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_quantize.py",
        "float32": "tests/ops/test_quantize.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/quantize.cc; xnnpack_delegate.cc VisitQuantizeNode"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Its parameters were read by the pass attach-quantization."""
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """Binding rounds."""
        low.bind(node.outputs[0], low.views[node.inputs[0]])


RULES = (QuantizeLinear(),)
