"""Matrix products with a constant on the right: Gemm, and what MatMul makes of one (:mod:`matmul`)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.weights import add_bias, add_weight, weight_complaint

__all__ = ["RULES", "Gemm", "lower_linear"]

_KERNEL = "LiteRT tflite/kernels/fully_connected.cc; xnnpack_delegate.cc VisitFullyConnectedNode"
_VERIFIED = {"int8": "tests/ops/test_linear.py", "float32": "tests/ops/test_linear.py"}


def lower_linear(
    low: Lowering,
    node: Node,
    *,
    transposed: bool,
    order: tuple[int, ...] | None = None,
    why: str = "constant right operand",
) -> None:
    """FULLY_CONNECTED with weights [out, in].

    Args:
        low: The lowering.
        node: Activation first, weights second.
        transposed: The source has the weights as [out, in] already.
        order: An exchange of dimensions that the activation goes through first, and the result back.
        why: For the plan.
    """
    site = low.site(node)
    image = site.physical(0, order)
    weight = add_weight(site, (lambda w: w) if transposed else (lambda w: w.T), axis=0)
    outputs, inputs = low.builder.tensors[weight].shape
    quant = site.view().quant
    bias = add_bias(site, outputs, quant.scale if quant else 1.0)
    shape = (*low.builder.tensors[image].shape[:-1], outputs)
    result = site.output(shape)
    keep = len(shape) > 2
    low.builder.emit(
        "FULLY_CONNECTED",
        (image, weight, bias),
        (result,),
        why,
        feature="keep_num_dims" if keep else "",
        macs=int(np.prod(shape)) * inputs,
        fused=True,
        options={"KeepNumDims": keep},
    )
    layout = Layout.row_major(shape)
    site.done(result, layout if order is None else layout.permute(order))


class Gemm(Rule):
    """FULLY_CONNECTED."""

    op: ClassVar[str] = "Gemm"
    versions: ClassVar[tuple[int, ...]] = (9, 11, 13)
    nearest: ClassVar[str] = (
        "Gemm(alpha=1, beta=1, transA=0) of rank 2 with constant weights and a bias per column"
    )
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = _KERNEL
    fuses_clamp: ClassVar[bool] = True

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Factors, transposition, bias shape and weight."""
        for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
            found = node.attributes.get(name, wanted)
            if found != wanted:
                return f"{name} must be {wanted}, got {found}"
        transposed = bool(node.attributes.get("transB", 0))
        complaint = weight_complaint(graph, node, channel_axis=0 if transposed else 1)
        if complaint:
            return complaint
        columns = graph.shape(node.inputs[1])[0 if transposed else 1]
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        if bias and graph.shape(bias) not in ((columns,), (1, columns)):
            return f"the bias must have shape [{columns}], got {list(graph.shape(bias))}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """Weights become [out, in] without a copy."""
        lower_linear(low, node, transposed=bool(node.attributes.get("transB", 0)))


RULES = (Gemm(),)
