"""Concatenation: every input on the output's grid, and never more inputs than the delegate takes."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Array, Constant, Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.builder import per_tensor
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC, View, axis_order

__all__ = ["RULES", "Concat"]

_SAME_GRID = "onto the grid of the concatenation: unequal ones make a file that does not load"


class Concat(Rule):
    """CONCATENATION, behind a QUANTIZE for each input with other parameters than the output's."""

    op: ClassVar[str] = "Concat"
    versions: ClassVar[tuple[int, ...]] = (4, 11, 13)
    nearest: ClassVar[str] = "Concat of tensors of at most 6 dimensions, one of them computed"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_concat.py",
        "float32": "tests/ops/test_concat.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/concatenation.cc; xnnpack_delegate.cc VisitConcatenationNode (2 to 5 inputs)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Rank, and something to compute."""
        rank = len(graph.shape(node.outputs[0]))
        if rank > 6:
            return f"at most 6 dimensions, got {rank}"
        if all(name in graph.constants for name in node.inputs):
            return f"one input must be computed, got the constants {list(node.inputs)}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """In the order in which most of the inputs lie."""
        graph = low.graph
        site = low.site(node, integer=graph.values[node.outputs[0]].quant is not None)
        if len(node.inputs) == 1:
            low.bind(node.outputs[0], low.views[node.inputs[0]])
            return
        parts = [self._part(site, position) for position in range(len(node.inputs))]
        logical = graph.shape(node.outputs[0])
        order = _order([part for part in parts if isinstance(part, View)], len(logical))
        tensors = [
            low.planner.physical(part, order)
            if isinstance(part, View)
            else _constant(site, part, order)
            for part in parts
        ]
        axis = order.index(int(node.attributes["axis"]) % len(logical))
        shape = tuple(logical[i] for i in order)
        result = site.output(shape)
        why = f"axis {node.attributes['axis']} of the source in the order {list(order)}"
        _emit(site, _limited(site, tensors, axis), result, axis, why)
        inverse = tuple(order.index(i) for i in range(len(order)))
        site.done(result, Layout.row_major(shape).permute(inverse))

    def _part(self, site: Site, position: int) -> View | Constant:
        """Input *position* in the arithmetic and on the grid of the output."""
        name = site.node.inputs[position]
        constant = site.low.constant(name)
        if constant is not None:
            return constant
        view = site.low.views[name]
        quant = site.low.graph.values[site.node.outputs[0]].quant
        if quant is None:
            return site.low.planner.dequantized(view)
        return site.low.planner.bridged(view, quant, "regrid", _SAME_GRID)


def _order(views: list[View], rank: int) -> tuple[int, ...]:
    """The order that moves the fewest elements; NHWC for pictures, and logical order, where that is equal."""
    logical = tuple(range(rank))
    candidates = [NHWC, logical] if rank == 4 else [logical]
    candidates += [found for view in views if (found := axis_order(view.layout)) is not None]

    def moved(order: tuple[int, ...]) -> int:
        layouts = [view.layout.permute(order) for view in views]
        return sum(layout.size for layout in layouts if not layout.is_row_major())

    return min(candidates, key=moved)


def _limited(site: Site, tensors: list[int], axis: int) -> list[int]:
    """*tensors*, neighbors joined until the delegate takes what is left; the smallest ones are copied twice."""
    build, limit = (
        site.builder,
        int(site.builder.spec.engines["litert"].limits["concatenation_inputs"]),
    )
    quant = site.low.graph.values[site.node.outputs[0]].quant
    while len(tensors) > limit:
        count = min(limit, len(tensors) - limit + 1)
        sizes = [prod(build.tensors[t].shape) for t in tensors]
        starts = range(len(tensors) - count + 1)
        start = min(starts, key=lambda i: sum(sizes[i : i + count]))
        group = tensors[start : start + count]
        shape = list(build.tensors[group[0]].shape)
        shape[axis] = sum(build.tensors[t].shape[axis] for t in group)
        name = f"{site.node.outputs[0]}:part"
        joined = build.activation(name, tuple(shape), quant if site.integer else None)
        _emit(site, group, joined, axis, f"XNNPACK takes at most {limit} inputs")
        tensors = [*tensors[:start], joined, *tensors[start + count :]]
    return tensors


def _emit(site: Site, tensors: list[int], result: int, axis: int, why: str) -> None:
    site.builder.emit("CONCATENATION", tuple(tensors), (result,), why, options={"Axis": axis})


def _constant(site: Site, constant: Constant, order: tuple[int, ...]) -> int:
    """A constant on the grid of the output, rounded as ONNX's QuantizeLinear does (integers on it stay)."""
    quant = site.low.graph.values[site.node.outputs[0]].quant
    data: Array = constant.real()
    if quant is not None:
        steps = np.rint(data / np.float32(quant.scale)) + quant.zero_point
        data = np.clip(steps, -128, 127).astype(np.int8)
    return site.builder.constant(constant.name, data.transpose(order), "weight", per_tensor(quant))


RULES = (Concat(),)
