"""Operators that only rename positions: views of what they read, under the names that they write."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.views import NHWC, View, ViewPlanner

__all__ = ["cut_to", "move_complaint", "renamed", "reshaped", "static_ints"]


def move_complaint(graph: Graph, node: Node) -> str | None:
    """Why input 0 of *node* is nothing that has a view, or None."""
    name = node.inputs[0]
    return (
        f"the input must be computed, got the constant {name!r}"
        if name in graph.constants
        else None
    )


def static_ints(graph: Graph, node: Node, position: int) -> tuple[int, ...] | None:
    """Integers of constant input *position*; None when it is omitted or computed."""
    name = node.inputs[position] if len(node.inputs) > position else ""
    if name not in graph.constants:
        return None
    return tuple(int(v) for v in graph.constants[name].data.reshape(-1))


def reshaped(low: Lowering, view: View, shape: tuple[int, ...]) -> View:
    """*view* in another logical shape of as many elements."""
    layout = view.layout.reshape(shape)
    if layout is None:
        # factors would have to be cut across: lay the elements out first
        tensor = low.planner.physical(view)
        return View(tensor, Layout.row_major(shape), view.quant)
    return replace(view, layout=layout)


def renamed(low: Lowering, node: Node) -> None:
    """Bind the node's output to its input in the output's shape."""
    view = low.views[node.inputs[0]]
    low.bind(node.outputs[0], reshaped(low, view, low.graph.shape(node.outputs[0])))


def cut_to(low: Lowering, node: Node, output: str, cuts: dict[int, tuple[int, int, int]]) -> None:
    """Bind *output* to a part of the node's input.

    Args:
        low: The lowering.
        node: Reads the whole.
        output: Name of the part.
        cuts: Dimension → (first index, number of elements, step).
    """
    view = low.views[node.inputs[0]]
    for axis, (start, count, step) in cuts.items():
        if (start, count, step) != (0, view.shape[axis], 1):
            view = _cut(low.planner, view, axis, start, count, step)
    low.bind(output, reshaped(low, view, low.graph.shape(output)))


def _cut(
    planner: ViewPlanner, view: View, axis: int, start: int, count: int, step: int = 1
) -> View:
    """*count* elements of one dimension; nothing moves where one SLICE can read them at the consumer."""
    total = prod(planner.builder.tensors[view.tensor].shape)
    layout = view.layout.slice(axis, start, count, step)
    if layout is not None and layout.copy_plan(total) is not None:
        return replace(view, layout=layout)
    whole, extent, window = planner.laid_out(view), view.shape[axis], count * step
    if step > 1 and extent % step:
        # SLICE takes one of every *step* only of a multiple: a part of that length, or padded to it
        first = min(start, extent - window) if window <= extent else 0
        if window > extent:
            whole = _padded(planner, whole, axis, window - extent)
        part = planner.laid_out(_cut(planner, whole, axis, first, window))
        return _cut(planner, part, axis, start - first, count, step)
    layout = whole.layout.slice(axis, start, count, step)
    assert layout is not None, "a dimension of its own is cut freely"
    return replace(whole, layout=layout)


def _padded(planner: ViewPlanner, view: View, axis: int, more: int) -> View:
    """A view that was laid out, *more* zeros behind one dimension (nobody reads them)."""
    build, known = planner.builder, planner.builder.tensors[view.tensor]
    order = NHWC if len(view.shape) == 4 else tuple(range(len(view.shape)))
    pads = [[0, more * (order[i] == axis)] for i in range(len(order))]
    shape = tuple(size + pad[1] for size, pad in zip(known.shape, pads, strict=True))
    result = build.activation(f"{known.name}:pad", shape, view.quant)
    feature = "rank5" if len(shape) > 4 else ""
    inputs = (view.tensor, build.integers(pads))
    build.emit(
        "PAD", inputs, (result,), f"to a multiple of the step along axis {axis}", feature=feature
    )
    inverse = tuple(order.index(i) for i in range(len(order)))
    return View(result, Layout.row_major(shape).permute(inverse), view.quant)
