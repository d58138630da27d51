"""What a graph says of itself: its quantizers, and the tensors at its edge."""

from __future__ import annotations

from edgecv.artifact.manifest import QuantizerRecord
from edgecv.spec.types import TensorSpec
from edgecv_converters.ir import Graph

__all__ = ["edge_specs", "quantizer_records"]

_LAYOUTS = {4: "NCHW", 2: "NC"}


def quantizer_records(graph: Graph) -> tuple[QuantizerRecord, ...]:
    """Every activation quantizer of *graph* (after the passes) once, under its owner's name, in graph order."""
    found: dict[str, QuantizerRecord] = {}
    names = [*graph.inputs, *(name for node in graph.nodes for name in node.outputs if name)]
    for name in names:
        value = graph.values[name]
        if value.quant is not None and value.quantizer not in found:
            found[value.quantizer] = QuantizerRecord(
                value.quantizer, value.quant.scale, value.quant.zero_point
            )
    return tuple(found.values())


def edge_specs(graph: Graph, names: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    """Inputs or outputs of a graph as the source has them (before the passes): float, in ONNX's order."""
    return tuple(
        TensorSpec(
            name,
            graph.shape(name),
            graph.values[name].dtype,
            _LAYOUTS.get(len(graph.shape(name)), ""),
        )
        for name in names
    )
