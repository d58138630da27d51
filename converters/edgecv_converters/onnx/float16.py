"""float32 constants of an ONNX file as float16, each behind a Cast; what is computed stays float32.

Engines compute the Cast when they load the file. OpenVINO's own compression is not used: it cuts what float16
cannot hold to the nearest number that it can (measured with 2026.4: 1e6 among normal weights became 65504).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import TensorProto, helper, numpy_helper

from edgecv_converters.half import as_float16
from edgecv_converters.ir import Array
from edgecv_converters.nodes import constant_value, is_constant
from edgecv_converters.reader import parse
from edgecv_converters.tensors import to_array

__all__ = ["store_in_float16"]


def store_in_float16(source: bytes) -> tuple[bytes, dict[str, Array]]:
    """An ONNX file with the constants that can be (:func:`~edgecv_converters.half.as_float16`) in half the bytes.

    The float32 tensor keeps its name and its readers; what is stored is ``<name>:float16``.

    Args:
        source: A whole ONNX file.

    Returns:
        The file, and name → float16 elements of every constant that is stored so.
    """
    model = parse(source)
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    halves = {
        name: half
        for name, data in _constants(graph)
        if name in read and (half := as_float16(data)) is not None
    }
    if not halves:
        return source, {}
    kept = [_copy(t) for t in graph.initializer if t.name not in halves]
    stored = [numpy_helper.from_array(half, f"{name}:float16") for name, half in halves.items()]
    casts = [
        helper.make_node(
            "Cast", [f"{name}:float16"], [name], name=f"{name}:cast", to=TensorProto.FLOAT
        )
        for name in halves
    ]
    nodes = [_copy(n) for n in graph.node if not (is_constant(n) and n.output[0] in halves)]
    # older files name a constant among the inputs, too: a default that the caller may replace
    inputs = [_copy(i) for i in graph.input if i.name not in halves]
    for field, items in (
        (graph.initializer, [*kept, *stored]),
        (graph.node, [*casts, *nodes]),
        (graph.input, inputs),
    ):
        del field[:]
        field.extend(items)
    return model.SerializeToString(deterministic=True), halves


def _constants(graph: Any) -> Iterator[tuple[str, Array]]:
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            yield tensor.name, to_array(tensor)
    for node in graph.node:
        if is_constant(node):
            yield node.output[0], constant_value(node)


def _copy(message: Any) -> Any:
    """A message that outlives the list it stands in."""
    return type(message).FromString(message.SerializeToString())
