"""Constants that a file rounds a second time are stored as the integers that they become.

onnxruntime's quantizer rounds a constant that operators share once for each of them: DequantizeLinear, Identity,
QuantizeLinear, DequantizeLinear. OpenVINO 2026.4 reads that and then fails to compile it ("AddTransformation …
index '0' out of range"). What QuantizeLinear makes of a constant is exact, so that nothing changes but the form.
"""

from __future__ import annotations

from typing import Any

from onnx import NodeProto, numpy_helper

from edgecv_converters.ir import Constant
from edgecv_converters.nodes import constant_value, is_constant, read_node
from edgecv_converters.passes.quantized_constants import absorbed, quantized
from edgecv_converters.reader import parse
from edgecv_converters.tensors import to_array

__all__ = ["store_second_roundings"]

#: Names of ONNX's own domain.
_OWN = ("", "ai.onnx")
_OPERATORS = ("DequantizeLinear", "Identity", "QuantizeLinear")


def store_second_roundings(source: bytes) -> bytes:
    """*source* with the integers of every constant that it dequantizes and rounds again.

    Args:
        source: A whole ONNX file, operators in order.

    Returns:
        The file, the same bytes where there is no such constant.

    Raises:
        EdgecvError: As reading it.
    """
    model = parse(source)
    graph, nodes = model.graph, list(model.graph.node)
    opsets = {
        o.domain.replace("ai.onnx", ""): o.version for o in model.opset_import if o.domain in _OWN
    }
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    known: dict[str, Constant] = {}
    #: constants behind a DequantizeLinear, and copies of such
    real: dict[str, Constant] = {}
    made: dict[str, Constant] = {}

    def constant(name: str) -> Constant | None:
        if name not in known and name in tensors:
            known[name] = Constant(name, to_array(tensors[name]))
        return known.get(name)

    for proto in nodes:
        if is_constant(proto):
            known[proto.output[0]] = Constant(proto.output[0], constant_value(proto))
        if proto.domain not in _OWN or proto.op_type not in _OPERATORS:
            continue
        if proto.op_type == "Identity":
            if proto.input[0] in real:
                real[proto.output[0]] = real[proto.input[0]]
            continue
        node = read_node(proto, opsets)
        # their parameters alone are asked for by name
        parameters = {n: c for n in proto.input[1:] if (c := constant(n)) is not None}
        if proto.op_type == "QuantizeLinear":
            if proto.input[0] in real:
                known[proto.output[0]] = quantized(real[proto.input[0]], node, parameters)
                made[proto.output[0]] = known[proto.output[0]]
            continue
        integers = constant(proto.input[0])
        if integers is not None:
            real[proto.output[0]] = absorbed(integers, node, parameters)
    if not made:
        return source
    kept = [p for p in nodes if made.keys().isdisjoint(p.output)]
    copies = [NodeProto.FromString(proto.SerializeToString()) for proto in kept]
    stored: list[Any] = [numpy_helper.from_array(c.data, c.name) for c in made.values()]
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(stored)
    return bytes(model.SerializeToString(deterministic=True))
