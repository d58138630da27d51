"""What a graph says of itself: its quantizers, and the tensors at its edge."""

from __future__ import annotations

from collections.abc import Mapping

from edgecv.artifact.manifest import QuantizerRecord
from edgecv.spec.types import QuantParams, TensorSpec
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


def edge_specs(
    graph: Graph,
    names: tuple[str, ...],
    grids: Mapping[str, QuantParams] | None = None,
    layout: str | None = None,
) -> tuple[TensorSpec, ...]:
    """Inputs or outputs of an ONNX file.

    Args:
        graph: As it was read, before the passes.
        names: Of the tensors.
        grids: Name → what its integers mean; of a float tensor it says nothing.
        layout: Order of four dimensions; None is the source's, ``"nchw"``.
    """
    layouts = _LAYOUTS if layout is None else _LAYOUTS | {4: layout.upper()}
    found = []
    for name in names:
        shape, dtype = graph.shape(name), graph.values[name].dtype
        grid = (grids or {}).get(name) if dtype in ("int8", "uint8") else None
        quantization = None if grid is None else grid.as_dtype(dtype)
        found.append(TensorSpec(name, shape, dtype, layouts.get(len(shape), ""), quantization))
    return tuple(found)
