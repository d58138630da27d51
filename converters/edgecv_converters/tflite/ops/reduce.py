"""Means and maxima over whole dimensions."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from edgecv.spec.types import QuantParams
from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Factor, Layout
from edgecv_converters.tflite.frames import axis_marks
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.moves import move_complaint, renamed, static_ints
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import View

__all__ = ["RULES", "GlobalAveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMean"]

_VERIFIED = {"int8": "tests/ops/test_reduce.py", "float32": "tests/ops/test_reduce.py"}
_KERNEL = "LiteRT tflite/kernels/reduce.cc; xnnpack_delegate.cc VisitReduceNode"


class _Reduction(Rule):
    """One reduction over some dimensions."""

    tflite: ClassVar[str]
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Axes that are known."""
        complaint = move_complaint(graph, node)
        if complaint:
            return complaint
        name = node.inputs[1] if len(node.inputs) > 1 else ""
        if name and name not in graph.constants:
            return f"axes must be a constant, got the computed {name!r}"
        return None

    def axes(self, graph: Graph, node: Node) -> tuple[int, ...]:
        """Dimensions that are reduced, rising; none where the operator does nothing."""
        rank = len(graph.shape(node.inputs[0]))
        given = static_ints(graph, node, 1) or node.ints("axes", ())
        nothing = bool(node.attributes.get("noop_with_empty_axes", 0))
        axes = given or (() if nothing else tuple(range(rank)))
        return tuple(sorted(axis % rank for axis in axes))

    def lower(self, low: Lowering, node: Node) -> None:
        """Where the value lies; only dimensions that are reduced in part bring it into another order."""
        shape = low.graph.shape(node.inputs[0])
        axes = tuple(axis for axis in self.axes(low.graph, node) if shape[axis] > 1)
        if not axes:
            # dimensions of one element are their own mean
            renamed(low, node)
            return
        source = low.views[node.inputs[0]]
        view, numbers = _laid_out(
            low,
            source if self.in_integers(low.graph, node) else low.planner.dequantized(source),
            axes,
        )
        physical = low.builder.tensors[view.tensor].shape
        kept = tuple(size for i, size in enumerate(physical) if i not in numbers)
        value = low.graph.values[node.outputs[0]]
        quant = self.result_grid(view, value.quant)
        name = value.name if quant == value.quant else f"{value.name}:{self.tflite.lower()}"
        # a scalar is written as one element
        result = low.builder.activation(name, kept or (1,) * len(physical), quant)
        inputs = (view.tensor, low.builder.integers(numbers))
        why = f"over {list(axes)} of {len(shape)} dimensions, {list(numbers)} in memory"
        low.builder.emit(self.tflite, inputs, (result,), why, options={"KeepDims": not kept})
        layout = _reduced(view.layout, axes).reshape(low.graph.shape(node.outputs[0]))
        assert layout is not None, "dimensions of size 1 come and go"
        low.builder.locate(result, layout)
        low.bind(node.outputs[0], View(result, layout, quant))

    @abstractmethod
    def in_integers(self, graph: Graph, node: Node) -> bool:
        """Whether the kernel reads integers."""

    @abstractmethod
    def result_grid(self, view: View, output: QuantParams | None) -> QuantParams | None:
        """Parameters of what the kernel writes."""


def _laid_out(low: Lowering, view: View, axes: tuple[int, ...]) -> tuple[View, tuple[int, ...]]:
    """*view* in a tensor whose axes are each reduced as a whole or not at all, and those that are."""
    view = low.planner.compact(view)
    rank = len(view.shape)
    reduced = [axis in axes for axis in range(rank)]
    marks = axis_marks(view.layout, low.builder.tensors[view.tensor].shape, reduced)
    if marks is None:
        view = low.planner.laid_out(view)
        marks = axis_marks(view.layout, low.builder.tensors[view.tensor].shape, reduced)
        assert marks is not None, "every dimension is an axis of its own"
    return view, tuple(i for i, mark in enumerate(marks) if mark)


def _reduced(layout: Layout, axes: tuple[int, ...]) -> Layout:
    """*layout*, which fills its tensor, with one element left of each of *axes*."""
    kept = sorted(f for i, dim in enumerate(layout.dims) if i not in axes for f in dim)
    strides: dict[int, int] = {}
    below = 1
    for factor in sorted(kept, key=lambda f: f.stride):
        strides[factor.stride] = below
        below *= factor.size
    return Layout(
        tuple(
            () if i in axes else tuple(Factor(f.size, strides[f.stride]) for f in dim)
            for i, dim in enumerate(layout.dims)
        )
    )


class _Mean(_Reduction):
    """MEAN, which rounds once, to the output's grid."""

    tflite: ClassVar[str] = "MEAN"

    def in_integers(self, graph: Graph, node: Node) -> bool:
        """Where both ends are quantized."""
        return all(graph.values[n].quant is not None for n in (node.inputs[0], node.outputs[0]))

    def result_grid(self, view: View, output: QuantParams | None) -> QuantParams | None:
        """The output's."""
        return None if view.quant is None else output


class _Maximum(_Reduction):
    """REDUCE_MAX, which moves integers."""

    tflite: ClassVar[str] = "REDUCE_MAX"

    def in_integers(self, graph: Graph, node: Node) -> bool:
        """Always where there are any: rounding keeps the order."""
        return True

    def result_grid(self, view: View, output: QuantParams | None) -> QuantParams | None:
        """The input's; the output's rounding comes behind."""
        return view.quant


class ReduceMean(_Mean):
    """MEAN."""

    op: ClassVar[str] = "ReduceMean"
    versions: ClassVar[tuple[int, ...]] = (1, 11, 13, 18)
    nearest: ClassVar[str] = "ReduceMean of a computed tensor over constant axes"


class GlobalAveragePool(_Mean):
    """MEAN; AVERAGE_POOL_2D on int8 is outside XNNPACK."""

    op: ClassVar[str] = "GlobalAveragePool"
    versions: ClassVar[tuple[int, ...]] = (1,)
    nearest: ClassVar[str] = "GlobalAveragePool of a computed tensor"

    def axes(self, graph: Graph, node: Node) -> tuple[int, ...]:
        """All behind the channels."""
        return tuple(range(2, len(graph.shape(node.inputs[0]))))


class ReduceMax(_Maximum):
    """REDUCE_MAX."""

    op: ClassVar[str] = "ReduceMax"
    versions: ClassVar[tuple[int, ...]] = (11, 12, 13, 18, 20)
    nearest: ClassVar[str] = "ReduceMax of a computed tensor over constant axes"


class GlobalMaxPool(_Maximum):
    """REDUCE_MAX."""

    op: ClassVar[str] = "GlobalMaxPool"
    versions: ClassVar[tuple[int, ...]] = (1,)
    nearest: ClassVar[str] = "GlobalMaxPool of a computed tensor"

    def axes(self, graph: Graph, node: Node) -> tuple[int, ...]:
        """All behind the channels."""
        return tuple(range(2, len(graph.shape(node.inputs[0]))))


RULES = (GlobalAveragePool(), GlobalMaxPool(), ReduceMax(), ReduceMean())
