"""An addition of a constant behind a matrix product or a convolution is its bias."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from edgecv_converters.ir import Constant, ConstantQuant, Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["BindBias"]


class BindBias(Pass):
    """Make MatMul + Add(constant) and Conv + Add(constant) one node with a bias as third input."""

    name: ClassVar[str] = "bind-bias"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Merge where nothing else sees the product and the constant has one element per output channel."""
        constants = dict(graph.constants)
        merged: dict[int, Node] = {}
        gone: set[int] = set()
        for node in graph.nodes:
            found = _bias_addition(graph, node)
            if found is None:
                continue
            addition, bias = found
            constants[f"{bias.name}:bias"] = _flat(bias)
            # the merged node takes the addition's place, where all it reads is known
            merged[id(addition)] = replace(
                node,
                inputs=(*node.inputs[:2], f"{bias.name}:bias"),
                outputs=addition.outputs,
                sources=(*node.sources, *addition.sources),
            )
            gone.add(id(node))
        nodes = [merged.get(id(n), n) for n in graph.nodes if id(n) not in gone]
        return graph.rewired(nodes, constants=constants)


def _bias_addition(graph: Graph, node: Node) -> tuple[Node, Constant] | None:
    if (
        node.domain
        or node.op not in ("MatMul", "Conv")
        or (len(node.inputs) > 2 and node.inputs[2])
    ):
        return None
    weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    value = graph.values[node.outputs[0]]
    addition = graph.sole_consumer(node.outputs[0])
    if (
        weight is None
        or value.quant is not None
        or addition is None
        or addition.op != "Add"
        or addition.domain
    ):
        return None
    others = [graph.constants[n] for n in addition.inputs if n in graph.constants]
    if (
        len(others) != 1
        or value.shape is None
        or graph.values[addition.outputs[0]].shape != value.shape
    ):
        return None
    bias = others[0]
    channels = weight.data.shape[0] if node.op == "Conv" else weight.data.shape[-1]
    rank = len(value.shape)
    channel_axis = 1 if node.op == "Conv" else rank - 1
    padded = (1,) * (rank - bias.data.ndim) + bias.data.shape
    wanted = tuple(channels if axis == channel_axis else 1 for axis in range(rank))
    return (addition, bias) if padded == wanted else None


def _flat(bias: Constant) -> Constant:
    quant = bias.quant
    if quant is not None and quant.axis is not None:
        quant = ConstantQuant(quant.scales, quant.zero_points, 0)
    return Constant(f"{bias.name}:bias", bias.data.reshape(-1), quant)
