"""BatchNormalization behind a float convolution or matrix product goes into its weights."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Array, Constant, Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["FoldBatchNorm", "factor_and_shift"]

#: Operator → dimension of its weight that counts output channels, without transposition.
_CHANNEL_AXIS = {"Conv": 0, "Gemm": 1, "MatMul": 1}


def factor_and_shift(graph: Graph, node: Node) -> tuple[Array, Array] | None:
    """float64 vectors [C] so that BatchNormalization *node* is x * factor + shift; None when it is not.

    It is not where statistics are computed, or make no finite numbers.
    """
    constants = [graph.constants.get(name) for name in node.inputs[1:5]]
    if len(constants) != 4 or int(node.attributes.get("training_mode", 0)):
        return None
    vectors = [c.real().reshape(-1).astype(np.float64) for c in constants if c is not None]
    if len(vectors) != 4 or len({v.size for v in vectors}) != 1:
        return None
    scale, bias, mean, variance = vectors
    steady = variance + float(node.attributes.get("epsilon", 1e-5))
    if not (steady > 0).all():
        return None
    factor = scale / np.sqrt(steady)
    shift = bias - mean * factor
    return (factor, shift) if np.isfinite(factor).all() and np.isfinite(shift).all() else None


class FoldBatchNorm(Pass):
    """Scale float weights and biases by the BatchNormalization that alone reads their result."""

    name: ClassVar[str] = "fold-batch-norm"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Fold one after the other: a second BatchNormalization meets the weights that the first one left."""
        while (
            found := next(filter(None, (_foldable(graph, n) for n in graph.nodes)), None)
        ) is not None:
            graph = _folded(graph, *found)
        return graph

    def postcondition(self, graph: Graph) -> str | None:
        """None is left that could be folded."""
        left = [node.name for node in graph.nodes if _foldable(graph, node)]
        return f"{left[0]!r} is still there" if left else None


def _foldable(graph: Graph, node: Node) -> tuple[Node, Node] | None:
    """The product in front of BatchNormalization *node*, and *node*; None when they cannot be one."""
    if node.op != "BatchNormalization" or node.domain or any(node.outputs[1:]):
        return None
    product = graph.producers.get(node.inputs[0])
    if (
        product is None
        or product.domain
        or product.op not in _CHANNEL_AXIS
        or product.clamp
        or graph.sole_consumer(node.inputs[0]) is not node
        or graph.values[node.inputs[0]].quant is not None
    ):
        return None
    if any(float(product.attributes.get(name, 1.0)) != 1.0 for name in ("alpha", "beta")):
        return None
    if product.op == "MatMul" and len(graph.values[node.inputs[0]].shape or ()) != 2:
        # its last dimension is not the channel, which ONNX counts from the front
        return None
    found = factor_and_shift(graph, node)
    return (product, node) if found and _takes(graph, product, found[0].size) else None


def _takes(graph: Graph, product: Node, channels: int) -> bool:
    """Whether weight and bias of *product* are float constants of *channels* output channels."""
    weight = graph.constants.get(product.inputs[1])
    axis = _channel_axis(product)
    if weight is None or weight.quant is not None or weight.data.dtype != np.float32:
        return False
    if axis >= weight.data.ndim or weight.data.shape[axis] != channels:
        return False
    name = product.inputs[2] if len(product.inputs) > 2 else ""
    bias = graph.constants.get(name)
    return not name or (bias is not None and bias.data.shape in ((channels,), (1, channels)))


def _channel_axis(product: Node) -> int:
    transposed = product.op == "Gemm" and bool(product.attributes.get("transB", 0))
    return 0 if transposed else _CHANNEL_AXIS[product.op]


def _folded(graph: Graph, product: Node, node: Node) -> Graph:
    found = factor_and_shift(graph, node)
    assert found is not None, node.name
    factor, shift = found
    weight = graph.constants[product.inputs[1]].data
    broadcast = [1] * weight.ndim
    broadcast[_channel_axis(product)] = -1
    scaled = (weight * factor.reshape(broadcast)).astype(np.float32)
    if len(product.inputs) > 2 and product.inputs[2]:
        shift = shift + graph.constants[product.inputs[2]].real().reshape(-1) * factor
    # names of the result: two products may share a weight, but not what is folded into it
    names = (f"{node.outputs[0]}:weight", f"{node.outputs[0]}:bias")
    constants = {
        **graph.constants,
        names[0]: Constant(names[0], scaled),
        names[1]: Constant(names[1], shift.astype(np.float32)),
    }
    merged = replace(
        product,
        inputs=(product.inputs[0], *names),
        outputs=node.outputs[:1],
        sources=(*product.sources, *node.sources),
    )
    nodes = [merged if n is node else n for n in graph.nodes if n is not product]
    return graph.rewired(nodes, constants=constants)
