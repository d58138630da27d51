"""Identity, Dropout (outside training), Cast to the same type, … do nothing: their readers read what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar, Final

from edgecv_converters.ir import Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["NOOPS", "DropNoOps"]


class DropNoOps(Pass):
    """Remove operators whose result is their (first) input, element for element."""

    name: ClassVar[str] = "drop-noops"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Send readers of a no-op's output to its input."""
        renamed: dict[str, str] = {}
        dropped = []
        for node in _noops(graph):
            source, result = renamed.get(node.inputs[0], node.inputs[0]), node.outputs[0]
            if result in graph.outputs:
                # the name of an output is the caller's: it moves onto the producer instead
                if source in graph.inputs or source in graph.constants or source in graph.outputs:
                    continue
                renamed = {
                    name: result if target == source else target for name, target in renamed.items()
                }
                renamed[source] = result
            else:
                renamed[result] = source
            dropped.append(node)
        gone = {id(node) for node in dropped}
        nodes = [_rename(node, renamed) for node in graph.nodes if id(node) not in gone]
        return graph.rewired(nodes)

    def postcondition(self, graph: Graph) -> str | None:
        """No-ops are left only between a graph input or another output and a graph output."""
        fixed = {*graph.inputs, *graph.outputs, *graph.constants}
        for node in _noops(graph):
            if node.outputs[0] not in graph.outputs or node.inputs[0] not in fixed:
                return f"{node.name!r} is still there"
        return None


def _noops(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        does_nothing = NOOPS.get(node.op)
        if does_nothing is None or node.domain or not node.inputs or not node.outputs:
            continue
        if node.inputs[0] and node.outputs[0] and does_nothing(graph, node):
            yield node


def _is_inference_dropout(graph: Graph, node: Node) -> bool:
    mask_is_read = any(
        graph.consumers.get(name) or name in graph.outputs for name in node.outputs[1:] if name
    )
    mode = node.inputs[2] if len(node.inputs) > 2 else ""
    training = bool(mode) and not (mode in graph.constants and not graph.constants[mode].data.any())
    return not mask_is_read and not training


def _keeps_type(graph: Graph, node: Node) -> bool:
    said = _type(graph, node.inputs[0])
    return said != "unknown" and said == _type(graph, node.outputs[0])


def _keeps_shape(graph: Graph, node: Node) -> bool:
    name = node.inputs[0]
    shape = (
        tuple(graph.constants[name].data.shape)
        if name in graph.constants
        else graph.values[name].shape
    )
    return shape is not None and shape == graph.values[node.outputs[0]].shape


def _type(graph: Graph, name: str) -> str:
    constant = graph.constants.get(name)
    return graph.values[name].dtype if constant is None else str(constant.data.dtype)


#: Operator → whether a node of it does nothing.
NOOPS: Final[dict[str, Callable[[Graph, Node], bool]]] = {
    "Cast": _keeps_type,
    "CastLike": _keeps_type,
    "Concat": lambda graph, node: len(node.inputs) == 1,
    "Dropout": _is_inference_dropout,
    "Expand": _keeps_shape,
    "Identity": lambda graph, node: True,
    # of one operand
    "Max": lambda graph, node: len(node.inputs) == 1,
    "Mean": lambda graph, node: len(node.inputs) == 1,
    "Min": lambda graph, node: len(node.inputs) == 1,
    "Sum": lambda graph, node: len(node.inputs) == 1,
}


def _rename(node: Node, renamed: dict[str, str]) -> Node:
    if not any(name in renamed for name in (*node.inputs, *node.outputs)):
        return node
    return replace(
        node,
        inputs=tuple(renamed.get(name, name) for name in node.inputs),
        outputs=tuple(renamed.get(name, name) for name in node.outputs),
    )
