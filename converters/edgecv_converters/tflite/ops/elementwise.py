"""Sums of two tensors, with broadcasting."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Constant, Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.plan import Quantization
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC

__all__ = ["RULES", "Add"]


class Add(Rule):
    """ADD."""

    op: ClassVar[str] = "Add"
    versions: ClassVar[tuple[int, ...]] = (7, 13, 14)
    nearest: ClassVar[str] = "Add of two float32 or two quantized operands of at most 4 dimensions"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_elementwise.py",
        "float32": "tests/ops/test_elementwise.py",
    }
    kernel: ClassVar[str] = "LiteRT tflite/kernels/add.cc; xnnpack_delegate.cc VisitAddNode"
    fuses_clamp: ClassVar[bool] = True

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Ranks; constants must be per tensor where they are quantized."""
        shapes = [graph.shape(name) for name in node.inputs]
        if max(map(len, shapes)) > 4 and shapes[0] != shapes[1]:
            return f"broadcasting goes to 4 dimensions, got {len(max(shapes, key=len))}"
        for name in node.inputs:
            constant = graph.constants.get(name)
            if (
                constant is not None
                and constant.quant is not None
                and constant.quant.scales.size > 1
            ):
                return (
                    f"the constant {name!r} must have one scale, got {constant.quant.scales.size}"
                )
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """Operands of one shape keep whatever order they are in; others meet in NHWC or logical order."""
        constants = [low.constant(name) for name in node.inputs]
        # a constant that has integers of its own runs in integers, a float one makes the sum float
        integer = all(
            low.graph.values[n].quant is not None
            for n in (*node.inputs, *node.outputs)
            if n in low.graph.values
        ) and all(c is None or c.quant is not None for c in constants)
        site = low.site(node, integer=integer)
        shapes = [low.graph.shape(name) for name in node.inputs]
        if not any(constants) and shapes[0] == shapes[1]:
            first, second = low.planner.aligned(site.view(0), site.view(1))
            shape, layout = low.builder.tensors[first.tensor].shape, first.layout
            operands, why = (
                (first.tensor, second.tensor),
                f"operands in one order, {_order(layout)}",
            )
        else:
            operands, shape, layout = self._broadcast(site)
            why = "operands broadcast in " + ("NHWC" if len(shape) == 4 else "logical order")
        result = site.output(shape)
        low.builder.emit("ADD", operands, (result,), why, fused=True)
        site.done(result, layout)

    def _broadcast(self, site: Site) -> tuple[tuple[int, int], tuple[int, ...], Layout]:
        graph = site.low.graph
        logical = graph.shape(site.node.outputs[0])
        rank = len(logical)
        order = NHWC if rank == 4 else tuple(range(rank))
        operands = []
        for position, name in enumerate(site.node.inputs):
            constant = site.low.constant(name)
            padded = (1,) * (rank - len(graph.shape(name))) + graph.shape(name)
            if constant is not None:
                operands.append(_constant(site, constant, padded, order))
                continue
            view = site.view(position)
            spread = view.layout.reshape(padded)
            assert spread is not None, "dimensions of size 1 always fit"
            shape = tuple(padded[axis] for axis in order)
            moved = type(view)(view.tensor, spread, view.quant)
            operands.append(site.low.planner.physical(moved, order, shape))
        shape = tuple(logical[axis] for axis in order)
        inverse = tuple(int(axis) for axis in np.argsort(order))
        return (operands[0], operands[1]), shape, Layout.row_major(shape).permute(inverse)


def _constant(
    site: Site, constant: Constant, padded: tuple[int, ...], order: tuple[int, ...]
) -> int:
    data = constant.data if site.integer else constant.real()
    quantization = None
    if site.integer and constant.quant is not None:
        quantization = Quantization(
            tuple(constant.quant.scales.tolist()), tuple(constant.quant.zero_points.tolist())
        )
    return site.builder.constant(
        constant.name, data.reshape(padded).transpose(order), "weight", quantization
    )


def _order(layout: Layout) -> str:
    return "logical" if layout.is_row_major() else "NHWC" if len(layout.shape) == 4 else str(layout)


RULES = (Add(),)
