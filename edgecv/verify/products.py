"""Which convolutions, linear layers and matrix products the source quantizes."""

from __future__ import annotations

from typing import Any

from edgecv.verify.source import read_source
from edgecv_converters.reader import parse

__all__ = ["PRODUCTS", "crooked_products", "quantized_products"]

#: Operators that multiply and accumulate.
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: What may stand between a product and its rounding: it runs inside the product's kernel.
_INSIDE = ("Add", "BatchNormalization", "Clip", "Identity", "Relu")
#: What may stand between a rounding and the product that reads it, and moves integers only.
_MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def quantized_products(source: bytes) -> dict[str, bool]:
    """Every product of an ONNX file, and whether all that it reads and writes is quantized.

    Args:
        source: The file.

    Returns:
        Name of the node (of a nameless one, operator type and first output) → whether both operands
        come out of DequantizeLinear and the result, perhaps after a bias and a clamp, is rounded.
    """
    graph = parse(source).graph
    nodes, stored = graph.node, {tensor.name for tensor in graph.initializer}
    producers = {out: node for node in nodes for out in node.output}
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)

    def constant(name: str) -> bool:
        node = producers.get(name)
        if node is None:
            return name in stored or not name
        return node.op_type == "Constant" or (
            node.op_type == "DequantizeLinear" and constant(node.input[0])
        )

    def rounded(name: str) -> bool:
        found = readers.get(name, [])
        return bool(found) and all(
            node.op_type == "QuantizeLinear" or (inside(node, name) and rounded(node.output[0]))
            for node in found
        )

    def inside(node: Any, name: str) -> bool:
        others = [n for n in node.input if n != name]
        return node.op_type in _INSIDE and all(map(constant, others))

    return {
        node.name or f"{node.op_type}:{node.output[0]}": rounded(node.output[0])
        and all(
            name in producers and producers[name].op_type == "DequantizeLinear"
            for name in node.input[:2]
        )
        for node in nodes
        if node.op_type in PRODUCTS
    }


def crooked_products(source: bytes) -> frozenset[str]:
    """Products of two activations whose right operand has a zero point other than 0, in int8 terms.

    XNNPACK has no integer kernel for them, so that a plan may compute them in float.

    Args:
        source: The file.

    Returns:
        Names of the nodes, as :func:`quantized_products` gives them.
    """
    known = read_source(source)
    found = set()
    for node in parse(source).graph.node:
        if node.op_type != "MatMul":
            continue
        name = node.input[1]
        op, inputs = known.producers.get(name, ("", ()))
        while op in _MOVES:
            name = inputs[0]
            op, inputs = known.producers.get(name, ("", ()))
        rounding = known.by_output.get(name)
        if rounding is None or rounding.integers is not None:
            continue
        if int(rounding.zero_points[0]) != (128 if rounding.dtype == "uint8" else 0):
            found.add(node.name or f"{node.op_type}:{node.output[0]}")
    return frozenset(found)
