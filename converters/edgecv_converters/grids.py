"""Which 8-bit grid stands at each edge of an ONNX graph, and the error where one is asked for and there is none."""

from __future__ import annotations

from edgecv.errors import UnsupportedError
from edgecv.spec.types import QuantParams
from edgecv_converters.ir import Graph, Node
from edgecv_converters.passes.quantized_constants import parameters_of

__all__ = ["edge_grids", "no_grid"]


def no_grid(name: str, edge: str, dtype: str) -> UnsupportedError:
    """The error for an edge that shall be integers and has no quantizer.

    Args:
        name: Of the tensor.
        edge: ``"input"`` or ``"output"``.
        dtype: What was asked for.
    """
    return UnsupportedError(
        f"the {edge} {name!r} cannot be {dtype}: the model has no quantizer of its own there, so nothing says"
        " what the integers mean",
        cure="Leave io out (--io) or use float32, or quantize a float model first (--calibrate DIR).",
    )


def edge_grids(graph: Graph) -> dict[str, QuantParams]:
    """Graph inputs and outputs that carry exactly the numbers of one 8-bit grid.

    That is an input that only QuantizeLinear reads (or, of integers, only DequantizeLinear), with the same
    parameters, and an output that one of them writes.

    Args:
        graph: As :func:`edgecv_converters.reader.read` gives it.

    Returns:
        Name → parameters, in the dtype of that QuantizeLinear or DequantizeLinear.
    """
    found: dict[str, QuantParams] = {}
    for name in graph.inputs:
        readers = graph.consumers.get(name, ())
        wanted = _rounding(graph.values[name].dtype, reads=True)
        grids = {_grid(graph, node) if node.op == wanted else None for node in readers}
        grid = grids.pop() if len(grids) == 1 else None
        if grid is not None and name not in graph.outputs:
            found[name] = grid
    for name in graph.outputs:
        node = graph.producers.get(name)
        if node is None or node.op != _rounding(graph.values[name].dtype, reads=False):
            continue
        grid = _grid(graph, node)
        if grid is not None:
            found[name] = grid
    return found


def _rounding(dtype: str, *, reads: bool) -> str:
    """Which operator reads, or writes, an edge of *dtype* that lies on a grid."""
    return "QuantizeLinear" if (dtype == "float32") == reads else "DequantizeLinear"


def _grid(graph: Graph, node: Node) -> QuantParams | None:
    """Parameters of a QuantizeLinear or DequantizeLinear; None where they are no 8-bit grid per tensor."""
    if node.domain:
        return None
    scales, zeros, dtype = parameters_of(node, graph.constants)
    if dtype not in ("int8", "uint8") or scales.size != 1:
        return None
    return QuantParams(float(scales[0]), int(zeros[0]), dtype)
