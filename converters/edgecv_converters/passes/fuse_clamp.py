"""Relu and Clip run inside the operator before them, on its accumulator."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from edgecv_converters.ir import Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["FuseClamp", "clamp_of"]

#: (low, high) → name of the clamp that kernels fuse.
_CLAMPS = {(0.0, float("inf")): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1"}
#: float32's largest number stands for "no bound" in some exporters' files.
_HUGE = 3.4e38


def clamp_of(graph: Graph, node: Node) -> str | None:
    """Name of the clamp that a Relu or Clip node is, or None when it is another range or operator."""
    if node.domain:
        return None
    if node.op == "Relu":
        return "relu"
    if node.op != "Clip":
        return None
    bounds = []
    for position, none in ((1, -float("inf")), (2, float("inf"))):
        name = node.inputs[position] if len(node.inputs) > position else ""
        if name and name not in graph.constants:
            return None
        bound = float(graph.constants[name].real().reshape(-1)[0]) if name else none
        bounds.append(none if abs(bound) > _HUGE else bound)
    return _CLAMPS.get((bounds[0], bounds[1]))


class FuseClamp(Pass):
    """Move Relu and Clip into the node that computes what they clamp, if its rule can take them."""

    name: ClassVar[str] = "fuse-clamp"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Fuse where nothing else sees the value before the clamp and it is not rounded in between."""
        fused: dict[int, Node] = {}
        gone: set[int] = set()
        for node in graph.nodes:
            clamp = clamp_of(graph, node)
            producer = graph.producers.get(node.inputs[0]) if clamp and node.inputs else None
            if clamp is None or producer is None or graph.sole_consumer(node.inputs[0]) is None:
                continue
            rule = context.rules.find(producer)
            if (
                rule is None
                or not rule.takes_clamp(graph, producer)
                or graph.values[node.inputs[0]].quant is not None
            ):
                continue
            if id(producer) in fused or len(producer.outputs) != 1:
                continue
            fused[id(producer)] = replace(
                producer,
                outputs=node.outputs,
                clamp=clamp,
                sources=(*producer.sources, *node.sources),
            )
            gone.add(id(node))
        return graph.rewired([fused.get(id(n), n) for n in graph.nodes if id(n) not in gone])

    def postcondition(self, graph: Graph) -> str | None:
        """A clamped node is of a known kind."""
        for node in graph.nodes:
            if node.clamp and node.clamp not in _CLAMPS.values():
                return f"{node.name!r} has the unknown clamp {node.clamp!r}"
        return None
