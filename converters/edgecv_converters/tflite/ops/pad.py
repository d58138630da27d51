"""Padding with one number; in front of a convolution XNNPACK makes it a part of that."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.builder import per_tensor
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.moves import move_complaint, static_ints
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC, View, axis_order

__all__ = ["RULES", "Pad"]

#: kernels/pad.cc and XNN_MAX_TENSOR_DIMS are wider; the operator's versions end here.
_MAX_RANK = 5


class Pad(Rule):
    """PAD with zeros (the zero point on integers), PADV2 with another number."""

    op: ClassVar[str] = "Pad"
    versions: ClassVar[tuple[int, ...]] = (11, 13, 18, 19, 21)
    nearest: ClassVar[str] = "Pad in constant mode, by constant amounts of at least 0, with zeros"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_pad.py",
        "float32": "tests/ops/test_pad.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/pad.cc; xnnpack_delegate.cc VisitPadNode (PADV2: outside)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Mode, amounts and the number."""
        complaint = move_complaint(graph, node)
        if complaint:
            return complaint
        mode = node.attributes.get("mode", "constant")
        if mode != "constant":
            return f"mode must be constant, got {mode}"
        for position, what in ((1, "pads"), (2, "constant_value"), (3, "axes")):
            name = node.inputs[position] if len(node.inputs) > position else ""
            if (name or position == 1) and name not in graph.constants:
                return f"{what} must be a constant, got {name!r}"
        pads = static_ints(graph, node, 1) or ()
        if any(amount < 0 for amount in pads):
            return f"pads must be at least 0, got {list(pads)}"
        rank = len(graph.shape(node.inputs[0]))
        return None if rank <= _MAX_RANK else f"at most {_MAX_RANK} dimensions, got {rank}"

    def lower(self, low: Lowering, node: Node) -> None:
        """On the input's own grid where the number lies on it; the output's rounding comes behind."""
        amounts = _amounts(low.graph, node)
        view = low.views[node.inputs[0]]
        if not any(map(any, amounts)):
            low.bind(node.outputs[0], view)
            return
        value = _value(low.graph, node)
        output = low.graph.values[node.outputs[0]].quant
        step = _step(view, value, rounded=output == view.quant)
        if step is None:
            view = low.planner.dequantized(view)
        rank = len(amounts)
        order = axis_order(view.layout) or (NHWC if rank == 4 else tuple(range(rank)))
        image = low.planner.physical(view, order)
        shape = tuple(
            size + sum(amounts[axis])
            for size, axis in zip(low.builder.tensors[image].shape, order, strict=True)
        )
        name = node.outputs[0] if output in (view.quant, None) else f"{node.outputs[0]}:pad"
        result = low.builder.activation(name, shape, view.quant)
        inputs = [image, low.builder.integers([amounts[axis] for axis in order])]
        op, why = "PAD", "with zeros"
        if value:
            filler = np.asarray(value, np.float32) if step is None else np.asarray(step, np.int8)
            quantization = per_tensor(view.quant)
            inputs.append(low.builder.constant(f"{name}:value", filler, "parameter", quantization))
            op, why = "PADV2", f"with {value:g}"
        low.builder.emit(
            op, tuple(inputs), (result,), why, feature="rank5" if len(shape) > 4 else ""
        )
        inverse = tuple(order.index(axis) for axis in range(rank))
        layout = Layout.row_major(shape).permute(inverse)
        low.builder.locate(result, layout)
        low.bind(node.outputs[0], View(result, layout, view.quant))


def _amounts(graph: Graph, node: Node) -> list[tuple[int, int]]:
    """(before, behind) per dimension."""
    rank = len(graph.shape(node.inputs[0]))
    pads = static_ints(graph, node, 1) or ()
    axes = static_ints(graph, node, 3) or tuple(range(rank))
    amounts = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        amounts[axis % rank] = (pads[i], pads[i + len(axes)])
    return amounts


def _value(graph: Graph, node: Node) -> float:
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    value = float(graph.constants[name].real().reshape(-1)[0]) if name else 0.0
    # infinities stand for the lowest and highest number, which nothing exceeds
    limit = float(np.finfo(np.float32).max)
    return min(max(value, -limit), limit)


def _step(view: View, value: float, *, rounded: bool) -> int | None:
    """The integer that stands for *value* on the view's grid, or None where it has none (or is float).

    Args:
        view: What is padded.
        value: The number.
        rounded: Whether the source rounds the result to this grid, and the number with it.
    """
    if view.quant is None:
        return None
    steps = value / view.quant.scale + view.quant.zero_point
    nearest = round(min(max(steps, -128.0), 127.0))
    return nearest if rounded or abs(steps - nearest) <= 1e-4 else None


RULES = (Pad(),)
