"""Constants that the source reshapes, transposes or repeats before they are used are constants in that form."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from edgecv_converters.ir import Array, Constant, ConstantQuant, Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["FoldMoves"]

#: Operators whose result has the elements of input 0 in their order.
_RESHAPING: Final = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_MOVING: Final = (*_RESHAPING, "Expand", "Transpose")


class FoldMoves(Pass):
    """Carry out Reshape, Transpose, Expand and their like on constants; integers and scales stay as they are."""

    name: ClassVar[str] = "fold-moves"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """In topological order, through chains; the constant keeps its name, whatever form it takes."""
        constants = dict(graph.constants)
        gone: set[int] = set()
        for node in graph.nodes:
            source = constants.get(node.inputs[0]) if node.inputs else None
            if source is None or not _is_move(graph, node):
                continue
            moved = _moved(source, node, graph.shape(node.outputs[0]))
            if moved is not None:
                constants[node.outputs[0]] = moved
                gone.add(id(node))
        values = {name: value for name, value in graph.values.items() if name not in constants}
        nodes = [node for node in graph.nodes if id(node) not in gone]
        return graph.rewired(nodes, values=values, constants=constants)

    def postcondition(self, graph: Graph) -> str | None:
        """What is left of such moves has parameters that it cannot take along."""
        for node in graph.nodes:
            constant = graph.constants.get(node.inputs[0]) if node.inputs else None
            if constant is not None and constant.quant is None and _is_move(graph, node):
                return f"{node.name!r} reads a constant"
        return None


def _is_move(graph: Graph, node: Node) -> bool:
    """Whether *node* only moves elements, to a shape that is known, and nobody rounds or sees the result."""
    if node.domain or node.op not in _MOVING or len(node.outputs) != 1 or node.clamp:
        return False
    name = node.outputs[0]
    value = graph.values[name]
    return value.shape is not None and value.quant is None and name not in graph.outputs


def _moved(source: Constant, node: Node, shape: tuple[int, ...]) -> Constant | None:
    """*source* after *node*, or None where scales per channel would not follow."""
    axis = None if source.quant is None else source.quant.axis
    data: Array
    if node.op == "Transpose":
        perm = node.ints("perm", tuple(reversed(range(source.data.ndim))))
        data = source.data.transpose(perm)
        axis = None if axis is None else perm.index(axis)
    elif axis is not None:
        return None
    elif node.op == "Expand":
        data = np.broadcast_to(source.data, shape)
    else:
        data = source.data.reshape(shape)
    quant = source.quant
    if quant is not None:
        quant = ConstantQuant(quant.scales, quant.zero_points, axis)
    return replace(source, data=data, quant=quant)
