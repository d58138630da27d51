"""The operators around Erf that exporters below opset 20 write for GELU become one node."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Final

from edgecv_converters.ir import Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["FuseGelu"]

#: Constants behind DequantizeLinear are off by the rounding of their scale.
_TOLERANCE: Final = 1e-5


@dataclass(frozen=True, eq=False)
class _Match:
    """One chain.

    Attributes:
        nodes: All operators, in no order.
        last: The one that computes the result.
        value: What it is a function of.
    """

    nodes: tuple[Node, ...]
    last: Node
    value: str


class FuseGelu(Pass):
    """Make x * 0.5 * (1 + Erf(x / sqrt(2))), however it is multiplied, one Gelu."""

    name: ClassVar[str] = "fuse-gelu"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Fuse where nobody else sees, and nothing rounds, a value inside the chain."""
        fused: dict[int, Node] = {}
        gone: set[int] = set()
        for node in graph.nodes:
            match = _match(graph, node)
            if match is None:
                continue
            gone.update(id(n) for n in match.nodes if n is not match.last)
            inside = {id(n) for n in match.nodes}
            fused[id(match.last)] = Node(
                name=match.last.name,
                op="Gelu",
                domain="",
                version=20,
                inputs=(match.value,),
                outputs=match.last.outputs,
                sources=tuple(s for n in graph.nodes if id(n) in inside for s in n.sources),
            )
        return graph.rewired([fused.get(id(n), n) for n in graph.nodes if id(n) not in gone])

    def postcondition(self, graph: Graph) -> str | None:
        """No chain is left."""
        left = [node.name for node in graph.nodes if _match(graph, node)]
        return f"the chain around {left[0]!r} is still there" if left else None


def _match(graph: Graph, erf: Node) -> _Match | None:
    """The chain around the Erf *erf*."""
    if erf.op != "Erf" or erf.domain or erf.clamp:
        return None
    scaling = graph.producers.get(erf.inputs[0])
    if scaling is None or scaling.domain or _reader(graph, scaling) is not erf:
        return None
    value = _scaled(graph, scaling, "Mul", 1 / sqrt(2)) or _scaled(graph, scaling, "Div", sqrt(2))
    shift = _reader(graph, erf)
    if value is None or shift is None or _scaled(graph, shift, "Add", 1.0) != erf.outputs[0]:
        return None
    nodes = (scaling, erf, shift)
    product = _reader(graph, shift)
    if product is None or product.op != "Mul" or product.domain:
        return None
    other = _other(product, shift.outputs[0])
    if _scaled(graph, product, "Mul", 0.5) == shift.outputs[0]:
        # (0.5 * (1 + erf)) * x
        last = _reader(graph, product)
        whole = last is not None and _is_product(last, product.outputs[0], value)
        return _Match((*nodes, product, last), last, value) if last and whole else None
    if other == value:
        # (x * (1 + erf)) * 0.5
        last = _reader(graph, product)
        whole = last is not None and _scaled(graph, last, "Mul", 0.5) == product.outputs[0]
        return _Match((*nodes, product, last), last, value) if last and whole else None
    # (x * 0.5) * (1 + erf)
    half = graph.producers.get(other)
    if half is None or _reader(graph, half) is not product:
        return None
    if _scaled(graph, half, "Mul", 0.5) != value:
        return None
    return _Match((*nodes, half, product), product, value)


def _reader(graph: Graph, node: Node) -> Node | None:
    """The only reader of *node*'s result, unless that is rounded, clamped, or seen outside."""
    name = node.outputs[0]
    if node.domain or node.clamp or graph.values[name].quant is not None:
        return None
    return graph.sole_consumer(name)


def _other(node: Node, name: str) -> str:
    """The operand beside *name*."""
    first, second = node.inputs
    return second if first == name else first


def _is_product(node: Node, first: str, second: str) -> bool:
    return node.op == "Mul" and not node.domain and sorted(node.inputs) == sorted((first, second))


def _scaled(graph: Graph, node: Node, op: str, number: float) -> str | None:
    """What *node* computes with, if it is an *op* of that and of the constant *number*."""
    if node.op != op or node.domain:
        return None
    for position, name in enumerate(node.inputs):
        constant = graph.constants.get(name)
        if constant is None or constant.data.size != 1 or (op == "Div" and position == 0):
            continue
        other = node.inputs[1 - position]
        value = graph.values.get(other)
        if value is None or value.shape != graph.values[node.outputs[0]].shape:
            # a constant, too, or of more dimensions than the value has
            return None
        found = float(constant.real().reshape(-1)[0])
        return other if abs(found - number) <= _TOLERANCE * number else None
    return None
