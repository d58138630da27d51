"""Means over the whole image."""

from __future__ import annotations

from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC

__all__ = ["RULES", "GlobalAveragePool", "ReduceMean"]

_VERIFIED = {"int8": "tests/ops/test_reduce.py", "float32": "tests/ops/test_reduce.py"}
_KERNEL = "LiteRT tflite/kernels/reduce.cc; xnnpack_delegate.cc VisitMeanNode"


def _lower(low: Lowering, node: Node) -> None:
    """MEAN over height and width of the NHWC image."""
    site = low.site(node)
    image = site.physical(0, NHWC)
    batch, _, _, channels = low.builder.tensors[image].shape
    result = site.output((batch, channels))
    inputs = (image, low.builder.integers((1, 2)))
    low.builder.emit(
        "MEAN", inputs, (result,), "over height and width", options={"KeepDims": False}
    )
    site.done(result, Layout.row_major(low.graph.shape(node.outputs[0])))


class GlobalAveragePool(Rule):
    """MEAN."""

    op: ClassVar[str] = "GlobalAveragePool"
    versions: ClassVar[tuple[int, ...]] = (1,)
    nearest: ClassVar[str] = "GlobalAveragePool of NCHW"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Rank."""
        rank = len(graph.shape(node.inputs[0]))
        return None if rank == 4 else f"the input must have 4 dimensions, got {rank}"

    def lower(self, low: Lowering, node: Node) -> None:
        """As MEAN; AVERAGE_POOL_2D on int8 is outside XNNPACK."""
        _lower(low, node)


class ReduceMean(Rule):
    """MEAN over height and width."""

    op: ClassVar[str] = "ReduceMean"
    versions: ClassVar[tuple[int, ...]] = (1, 11, 13, 18)
    nearest: ClassVar[str] = "ReduceMean of NCHW over axes 2 and 3"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Rank and axes."""
        rank = len(graph.shape(node.inputs[0]))
        axes = _axes(graph, node, rank)
        return (
            None
            if rank == 4 and axes == [2, 3]
            else f"axes must be 2 and 3 of 4, got {axes} of {rank}"
        )

    def lower(self, low: Lowering, node: Node) -> None:
        """With or without the reduced dimensions."""
        _lower(low, node)


def _axes(graph: Graph, node: Node, rank: int) -> list[int] | None:
    name = node.inputs[1] if len(node.inputs) > 1 else ""
    if name and name not in graph.constants:
        return None
    given = (
        [int(a) for a in graph.constants[name].data.reshape(-1)] if name else node.ints("axes", ())
    )
    return sorted(axis % rank for axis in given)


RULES = (GlobalAveragePool(), ReduceMean())
