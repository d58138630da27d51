"""PRelu: in float, its slope arranged beside the input."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Constant, Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.frames import (
    MAX_BROADCAST_RANK,
    Frame,
    joined_rank,
    operand_shape,
    plain_constant,
)
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.moves import move_complaint
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "PRelu"]


class PRelu(Rule):
    """PRELU, which XNNPACK has in float only, with a constant slope."""

    op: ClassVar[str] = "PRelu"
    versions: ClassVar[tuple[int, ...]] = (9, 16)
    nearest: ClassVar[str] = (
        "PRelu of a computed tensor with a constant slope that broadcasts to it"
    )
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_prelu.py",
        "float32": "tests/ops/test_prelu.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/activations.cc PreluEval; xnnpack_delegate.cc VisitBinaryNode"
        " (float32, constant slope)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Which operand is constant, and whether the slope repeats along the input in a way that kernels know."""
        complaint = move_complaint(graph, node)
        if complaint:
            return complaint
        if node.inputs[1] not in graph.constants:
            return f"the slope must be a constant, got the computed {node.inputs[1]!r}"
        shape, given = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
        slope = operand_shape(given, len(shape))
        fits = len(slope) == len(shape) and all(
            size in (1, full) for size, full in zip(slope, shape, strict=True)
        )
        if not fits:
            return f"the slope must broadcast to {list(shape)}, got {list(given)}"
        rank = joined_rank(shape, [shape, slope])
        if rank > MAX_BROADCAST_RANK and slope != shape:
            return f"the slope may repeat over {MAX_BROADCAST_RANK} groups of dimensions, got {rank} in {list(given)}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """The input stays in whatever order it is in; the slope is arranged for it."""
        site = low.site(node, integer=False)
        slope = low.graph.constants[node.inputs[1]]
        frame, values = _framed(site, operand_shape(slope.data.shape, len(site.view().shape)))
        result = site.output(frame.shape)
        inputs = (values, _slope(site, slope, frame))
        low.builder.emit("PRELU", inputs, (result,), "XNNPACK has it in float only: one rounding")
        site.done(result, frame.layout)


def _framed(site: Site, slope: tuple[int, ...]) -> tuple[Frame, int]:
    """The form in which the input meets a slope of shape *slope*, and the input's tensor in it."""
    view = site.low.planner.compact(site.view())
    shape = site.builder.tensors[view.tensor].shape
    frame = Frame(shape, view.layout).fitting([slope])
    frame = frame or Frame(view.shape, Layout.row_major(view.shape)).fitting([slope])
    assert frame is not None, "joined dimensions in logical order are few: why_not"
    return frame, frame.tensor(site, view)


def _slope(site: Site, slope: Constant, frame: Frame) -> int:
    logical = operand_shape(slope.data.shape, len(frame.layout.shape))
    return plain_constant(site, slope, frame.constant(slope.real().reshape(logical)))


RULES = (PRelu(),)
