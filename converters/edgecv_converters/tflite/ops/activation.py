"""Elementwise functions of one value: in float, but for Sigmoid on the grid that its integer kernel has."""

from __future__ import annotations

from typing import ClassVar, Final

from edgecv.spec.types import QuantParams
from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.floats import lower_unary, scalar, step, whole
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Sigmoid", "Tanh"]

_VERIFIED = {"int8": "tests/ops/test_activation.py", "float32": "tests/ops/test_activation.py"}
_KERNEL = "LiteRT tflite/kernels/activations.cc; xnnpack_delegate.cc VisitUnaryNode"
_FLOAT = "in float, one rounding"
#: TFLite 8-bit quantization specification, LOGISTIC: output scale 1/256, zero point -128. On another grid
#: the builtin kernel does not load (activations.cc, SigmoidPrepare).
_LOGISTIC_GRID: Final = QuantParams(1 / 256, -128)


class _Unary(Rule):
    """One float operator, whatever the input's order."""

    nearest: ClassVar[str] = "a float32 or quantized value"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL
    target: ClassVar[str]

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Always applies."""
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """In float."""
        lower_unary(low, node, self.target, _FLOAT)


class Sigmoid(_Unary):
    """LOGISTIC: on integers where the output's grid is (1/256, -128), else in float."""

    op: ClassVar[str] = "Sigmoid"
    versions: ClassVar[tuple[int, ...]] = (6, 13)
    target: ClassVar[str] = "LOGISTIC"

    def lower(self, low: Lowering, node: Node) -> None:
        """An integer LOGISTIC is one table, and XNNPACK joins it with the product behind it (SiLU)."""
        before, after = (low.graph.values[n].quant for n in (node.inputs[0], node.outputs[0]))
        if before is None or after != _LOGISTIC_GRID:
            lower_unary(low, node, self.target, _FLOAT)
            return
        site = low.site(node, integer=True)
        view = low.planner.compact(site.view())
        result = site.output(low.builder.tensors[view.tensor].shape)
        low.builder.emit(self.target, (view.tensor,), (result,), "integers: scale 1/256")
        site.done(result, view.layout)


class Tanh(_Unary):
    """TANH."""

    op: ClassVar[str] = "Tanh"
    versions: ClassVar[tuple[int, ...]] = (6, 13)
    target: ClassVar[str] = "TANH"


class HardSwish(_Unary):
    """HARD_SWISH, which XNNPACK has in float only."""

    op: ClassVar[str] = "HardSwish"
    versions: ClassVar[tuple[int, ...]] = (14,)
    target: ClassVar[str] = "HARD_SWISH"


class Elu(_Unary):
    """ELU."""

    op: ClassVar[str] = "Elu"
    versions: ClassVar[tuple[int, ...]] = (6,)
    nearest: ClassVar[str] = "Elu(alpha=1)"
    target: ClassVar[str] = "ELU"

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """ELU has no parameter."""
        alpha = float(node.attributes.get("alpha", 1.0))
        return None if alpha == 1.0 else f"alpha must be 1, got {alpha:g}"


class LeakyRelu(_Unary):
    """LEAKY_RELU."""

    op: ClassVar[str] = "LeakyRelu"
    versions: ClassVar[tuple[int, ...]] = (6, 16)
    target: ClassVar[str] = "LEAKY_RELU"

    def lower(self, low: Lowering, node: Node) -> None:
        """XNNPACK refuses a slope of 0, which is a RELU."""
        alpha = float(node.attributes.get("alpha", 0.01))
        if alpha == 0.0:
            lower_unary(low, node, "RELU", "a slope of 0; " + _FLOAT)
        else:
            lower_unary(low, node, self.target, _FLOAT, {"Alpha": alpha})


class HardSigmoid(_Unary):
    """MUL, ADD with RELU, MINIMUM: max(0, min(1, alpha * x + beta))."""

    op: ClassVar[str] = "HardSigmoid"
    versions: ClassVar[tuple[int, ...]] = (6,)
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/mul.cc, add.cc, maximum_minimum.cc; xnnpack_delegate.cc VisitBinaryNode"
    )

    def lower(self, low: Lowering, node: Node) -> None:
        """Broadcast constants have one element, so that the order does not matter."""
        site = low.site(node, integer=False)
        view = whole(site)
        alpha = scalar(site, "alpha", float(node.attributes.get("alpha", 0.2)))
        beta = scalar(site, "beta", float(node.attributes.get("beta", 0.5)))
        product = step(site, "MUL", (view.tensor, alpha), "product", _FLOAT)
        clamped = step(
            site, "ADD", (product, beta), "sum", "not below 0", {"FusedActivationFunction": "RELU"}
        )
        result = site.output(low.builder.tensors[view.tensor].shape)
        low.builder.emit("MINIMUM", (clamped, scalar(site, "one", 1.0)), (result,), "not above 1")
        site.done(result, view.layout)


RULES = (Sigmoid(), Tanh(), HardSwish(), Elu(), LeakyRelu(), HardSigmoid())
