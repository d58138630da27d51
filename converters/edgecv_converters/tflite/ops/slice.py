"""Parts of a tensor: Slice, Split, and Gather of a regular index."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.moves import cut_to, move_complaint, static_ints
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "Gather", "Slice", "Split"]

_VERIFIED = {"int8": "tests/ops/test_slice.py", "float32": "tests/ops/test_slice.py"}
_KERNEL = (
    "LiteRT tflite/kernels/slice.cc; xnnpack_delegate.cc VisitSliceNode"
    " (GATHER, and STRIDED_SLICE with a stride: outside)"
)


class Slice(Rule):
    """Nothing, or a SLICE at the consumer; a step becomes a dimension of its own."""

    op: ClassVar[str] = "Slice"
    versions: ClassVar[tuple[int, ...]] = (11, 13)
    nearest: ClassVar[str] = (
        "Slice of a computed tensor with constant starts, ends, axes, and steps of at least 1"
    )
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Constants, and their direction."""
        complaint = move_complaint(graph, node)
        if complaint:
            return complaint
        for position, what in enumerate(("starts", "ends", "axes", "steps"), 1):
            name = node.inputs[position] if len(node.inputs) > position else ""
            if name and name not in graph.constants:
                return f"{what} must be a constant, got the computed {name!r}"
        steps = static_ints(graph, node, 4) or ()
        return (
            None if all(s >= 1 for s in steps) else f"steps must be at least 1, got {list(steps)}"
        )

    def lower(self, low: Lowering, node: Node) -> None:
        """Indices below 0 count from the end and those beyond it stop there, as in Python."""
        graph = low.graph
        shape = graph.shape(node.inputs[0])
        starts, ends = (static_ints(graph, node, position) or () for position in (1, 2))
        axes = static_ints(graph, node, 3) or tuple(range(len(starts)))
        steps = static_ints(graph, node, 4) or (1,) * len(starts)
        cuts = {}
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            extent = shape[axis]
            taken = range(extent)[slice(start, end, step)]
            cuts[axis % len(shape)] = (taken.start, len(taken), step)
        cut_to(low, node, node.outputs[0], cuts)


class Split(Rule):
    """Nothing, or a SLICE at each consumer."""

    op: ClassVar[str] = "Split"
    versions: ClassVar[tuple[int, ...]] = (11, 13, 18)
    nearest: ClassVar[str] = "Split of a computed tensor with constant sizes"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The input is computed; sizes that are not constant leave the shapes unknown."""
        return move_complaint(graph, node)

    def lower(self, low: Lowering, node: Node) -> None:
        """The sizes are those of the outputs."""
        axis = int(node.attributes.get("axis", 0)) % len(low.graph.shape(node.inputs[0]))
        start = 0
        for name in node.outputs:
            count = low.graph.shape(name)[axis]
            cut_to(low, node, name, {axis: (start, count, 1)})
            start += count


class Gather(Rule):
    """Nothing, or a SLICE at the consumer, where the index is one number or rises by equal steps."""

    op: ClassVar[str] = "Gather"
    versions: ClassVar[tuple[int, ...]] = (11, 13)
    nearest: ClassVar[str] = (
        "Gather with a constant index: one number, or numbers that rise by equal steps"
    )
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The index is constant, inside and regular."""
        complaint = move_complaint(graph, node)
        if complaint:
            return complaint
        if node.inputs[1] not in graph.constants:
            return f"the index must be a constant, got the computed {node.inputs[1]!r}"
        extent = graph.shape(node.inputs[0])[_axis(graph, node)]
        given = static_ints(graph, node, 1) or ()
        if not all(-extent <= i < extent for i in given):
            return f"the index must lie in a dimension of {extent}, got {_some(given)}"
        steps = set(np.diff(_index(graph, node)).tolist())
        rises = len(steps) <= 1 and all(step > 0 for step in steps)
        return None if rises else f"the index must rise by equal steps, got {_some(given)}"

    def lower(self, low: Lowering, node: Node) -> None:
        """A slice in the shape that the index gives it."""
        index = _index(low.graph, node)
        step = int(index[1] - index[0]) if index.size > 1 else 1
        cuts = {_axis(low.graph, node): (int(index[0]), int(index.size), step)}
        cut_to(low, node, node.outputs[0], cuts)


def _axis(graph: Graph, node: Node) -> int:
    return int(node.attributes.get("axis", 0)) % len(graph.shape(node.inputs[0]))


def _index(graph: Graph, node: Node) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    extent = graph.shape(node.inputs[0])[_axis(graph, node)]
    return np.asarray(static_ints(graph, node, 1), np.int64).reshape(-1) % extent


def _some(index: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, index[:6]))
    return f"[{shown}, …] ({len(index)} numbers)" if len(index) > 6 else f"[{shown}]"


RULES = (Slice(), Split(), Gather())
