"""The nine operators that exporters below opset 17 write for a layer normalization become one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgecv_converters.ir import Constant, Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["FuseLayerNorm"]


@dataclass(frozen=True, eq=False)
class _Match:
    """One chain.

    Attributes:
        nodes: All operators, in order; the last one computes the result.
        value: What is normalized.
        epsilon: Constant of one element.
        scale: Name of the constant that multiplies, or "".
        bias: Name of the constant that is added, or "".
    """

    nodes: tuple[Node, ...]
    value: str
    epsilon: Constant
    scale: str = ""
    bias: str = ""


class FuseLayerNorm(Pass):
    """Make ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add one LayerNormalization."""

    name: ClassVar[str] = "fuse-layer-norm"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Fuse where nobody else sees, and nothing rounds, a value inside the chain."""
        fused: dict[int, Node] = {}
        gone: set[int] = set()
        for node in graph.nodes:
            match = _match(graph, node)
            if match is None:
                continue
            gone.update(id(n) for n in match.nodes[:-1])
            fused[id(match.nodes[-1])] = _node(match)
        return graph.rewired([fused.get(id(n), n) for n in graph.nodes if id(n) not in gone])

    def postcondition(self, graph: Graph) -> str | None:
        """No chain is left."""
        left = [node.name for node in graph.nodes if _match(graph, node)]
        return f"the chain from {left[0]!r} is still there" if left else None


def _node(match: _Match) -> Node:
    last = match.nodes[-1]
    return Node(
        name=last.name,
        op="LayerNormalization",
        domain="",
        version=17,
        inputs=(match.value, match.scale, match.bias),
        outputs=last.outputs,
        attributes={
            "axis": -1,
            "epsilon": float(match.epsilon.real().reshape(-1)[0]),
            # the constant keeps its name, so that it is found in the file again
            "epsilon_name": match.epsilon.name,
        },
        sources=tuple(name for node in match.nodes for name in node.sources),
    )


def _match(graph: Graph, mean: Node) -> _Match | None:
    """The chain that begins with the ReduceMean *mean*."""
    if not _is_row_mean(graph, mean):
        return None
    value = mean.inputs[0]
    center = _reader(graph, mean, "Sub")
    if center is None or center.inputs != (value, mean.outputs[0]):
        return None
    square, divide = _square_and_divide(graph, center)
    variance = square and _reader(graph, square, "ReduceMean")
    steady = variance and _is_row_mean(graph, variance) and _reader(graph, variance, "Add")
    root = steady and _reader(graph, steady, "Sqrt")
    if not (square and divide and variance and steady and root):
        return None
    if _reader(graph, root, "Div") is not divide:
        return None
    if divide.inputs != (center.outputs[0], root.outputs[0]):
        return None
    epsilon = _operand(graph, steady, variance.outputs[0], 1)
    if epsilon is None:
        return None
    nodes = [mean, center, square, variance, steady, root, divide]
    columns = graph.shape(value)[-1]
    scale, bias = "", ""
    multiply = _reader(graph, divide, "Mul")
    gamma = multiply and _operand(graph, multiply, divide.outputs[0], columns)
    if multiply and gamma:
        nodes.append(multiply)
        scale = gamma.name
        add = _reader(graph, multiply, "Add")
        beta = add and _operand(graph, add, multiply.outputs[0], columns)
        if add and beta:
            nodes.append(add)
            bias = beta.name
    return _Match(tuple(nodes), value, epsilon, scale, bias)


def _is_row_mean(graph: Graph, node: Node) -> bool:
    """Whether *node* is ReduceMean over the last dimension, kept."""
    if node.op != "ReduceMean" or node.domain or not node.attributes.get("keepdims", 1):
        return False
    shape = graph.values[node.inputs[0]].shape if node.inputs[0] in graph.values else None
    axes = node.ints("axes", ())
    if len(node.inputs) > 1 and node.inputs[1] in graph.constants:
        axes = tuple(int(axis) for axis in graph.constants[node.inputs[1]].data.reshape(-1))
    return bool(shape) and axes in ((-1,), (len(shape or ()) - 1,))


def _hidden(graph: Graph, node: Node) -> tuple[Node, ...]:
    """Readers of *node*'s result; none where it is rounded, or seen outside."""
    name = node.outputs[0]
    seen = name in graph.outputs or graph.values[name].quant is not None or node.clamp
    return () if seen else graph.consumers.get(name, ())


def _reader(graph: Graph, node: Node, op: str) -> Node | None:
    """The only reader of *node*'s result, if it is an *op*."""
    readers = _hidden(graph, node)
    return (
        readers[0] if len(readers) == 1 and readers[0].op == op and not readers[0].domain else None
    )


def _square_and_divide(graph: Graph, center: Node) -> tuple[Node | None, Node | None]:
    """Both readers of the centered value: Pow(2) or a Mul with itself, and Div."""
    readers = [n for n in _hidden(graph, center) if not n.domain]
    divide = next((n for n in readers if n.op == "Div"), None)
    squares = [n for n in readers if n is not divide]
    if len(squares) != 1 or divide is None:
        return None, None
    square = squares[0]
    name = center.outputs[0]
    if square.op == "Mul" and square.inputs == (name, name):
        return square, divide
    exponent = _operand(graph, square, name, 1) if square.op == "Pow" else None
    is_two = (
        exponent is not None and square.inputs[0] == name and exponent.real().reshape(-1)[0] == 2
    )
    return (square, divide) if is_two else (None, None)


def _operand(graph: Graph, node: Node, other: str, size: int) -> Constant | None:
    """The constant beside *other*, if it has *size* elements that go along the last dimension."""
    names = [name for name in node.inputs if name != other]
    constant = graph.constants.get(names[0]) if len(names) == 1 else None
    if constant is None or constant.data.size != size:
        return None
    if graph.values[node.outputs[0]].shape != graph.values[other].shape:
        # more dimensions than the value has
        return None
    return constant if size == 1 or constant.data.shape[-1] == size else None
