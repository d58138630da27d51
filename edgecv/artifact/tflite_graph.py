"""What the tables of a TFLite file say, checked before an engine believes it.

Every index leads somewhere, every constant has the bytes that its shape needs, every tensor is written
before it is read and written once, every operator has the tensors and options that it takes, and shapes
fit each other (``tflite_shapes``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgecv.artifact.flatbuffer import (
    DamageError,
    Kind,
    MisquantizedError,
    Table,
    Tables,
    Union,
    Vector,
)
from edgecv.artifact.tflite_legacy import LegacyError, check_legacy
from edgecv.artifact.tflite_operands import Operator, Tensor
from edgecv.artifact.tflite_operators import OPERATORS, OPTION_NAMES, OPTION_SCHEMA, read_options
from edgecv.artifact.tflite_shapes import check_shapes
from edgecv.artifact.tflite_types import check_types

__all__ = ["SCHEMA", "check_model"]

_MAX_ELEMENTS = 2**31
_MAX_RANK = 16
_INTS, _FLOATS, _LONGS, _RAW = Vector("i32"), Vector("f32"), Vector("i64"), Vector("u8")
_INDICES: Final = Union(2, {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"})

#: Table → slot → kind, from schema.fbs. "Any" is a table whose fields are not followed.
SCHEMA: Final[dict[str, Mapping[int, Kind]]] = {
    "Model": {
        0: "u32",
        1: Tables("OperatorCode"),
        2: Tables("SubGraph"),
        3: "text",
        4: Tables("Buffer"),
        5: _INTS,
        6: Tables("Metadata"),
        7: Tables("SignatureDef"),
    },
    "OperatorCode": {0: "i8", 1: "text", 2: "i32", 3: "i32"},
    "SubGraph": {0: Tables("Tensor"), 1: _INTS, 2: _INTS, 3: Tables("Operator"), 4: "text"},
    "Tensor": {
        0: _INTS,
        1: "i8",
        2: "u32",
        3: "text",
        4: Table("Quantization"),
        5: "u8",
        6: Table("Sparsity"),
        7: _INTS,
        8: "u8",
        9: Tables("Any"),
    },
    "Quantization": {
        0: _FLOATS,
        1: _FLOATS,
        2: _FLOATS,
        3: _LONGS,
        4: "u8",
        5: Union(4, {1: "CustomQuantization"}),
        6: "i32",
    },
    "CustomQuantization": {0: _RAW},
    "Sparsity": {0: _INTS, 1: _INTS, 2: Tables("Dimension")},
    "Dimension": {
        0: "i8",
        1: "i32",
        2: "u8",
        3: _INDICES,
        4: "u8",
        5: _INDICES._replace(slot=4),
    },
    "Int32Vector": {0: _INTS},
    "Uint16Vector": {0: Vector("u16")},
    "Uint8Vector": {0: _RAW},
    "Operator": {
        0: "u32",
        1: _INTS,
        2: _INTS,
        3: "u8",
        4: Union(3, OPTION_NAMES),
        5: _RAW,
        6: "i8",
        7: _RAW,
        8: _INTS,
        9: "u64",
        10: "u64",
        11: "u8",
        12: Table("Any"),
    },
    "Buffer": {0: _RAW, 1: "u64", 2: "u64"},
    "Metadata": {0: "text", 1: "u32"},
    "SignatureDef": {0: Tables("TensorMap"), 1: Tables("TensorMap"), 2: "text", 4: "u32"},
    "TensorMap": {0: "text", 1: "u32"},
    "Any": {},
    **OPTION_SCHEMA,
}

#: Bits per element of every TensorType with a fixed size (narrow types are packed).
_BITS: Final = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64}
_BITS.update({15: 32, 16: 16, 17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8})
_STRING, _RESOURCE, _VARIANT = 5, 13, 14
_SPARSITY = 6  # slot of a tensor
#: TensorType → smallest and largest zero point.
_ZERO_POINTS: Final = {3: (0, 255), 7: (-(2**15), 2**15 - 1), 9: (-128, 127), 17: (-8, 7)}


def check_model(model: dict[int, Any], data: bytes, *, legacy: bool) -> None:
    """Refuse a model whose tables contradict each other.

    Args:
        model: Fields of the root table, read with :data:`SCHEMA`.
        data: The file.
        legacy: Refuse also what only tflite-runtime 2.14 dies of.

    Raises:
        DamageError: What is wrong.
        LegacyError: Nothing is, and the engine would die.
    """
    codes, graphs, buffers = model.get(1, []), model.get(2, []), model.get(4, [])
    if model.get(0) != 3:
        raise DamageError(f"its schema version is {model.get(0)}, not 3")
    if not graphs or not buffers:
        raise DamageError("it has no graph or no buffers")
    for entry in model.get(6, []):
        _check_index("buffer of a metadata entry", entry.get(1, 0), buffers)
    for signature in model.get(7, []):
        number = signature.get(4, 0)
        _check_index("graph of a signature", number, graphs)
        for entry in (*signature.get(0, ()), *signature.get(1, ())):
            _check_index("tensor of a signature", entry.get(1, 0), graphs[number].get(0, ()))
    for buffer in buffers:
        # models over 2 GiB keep their constants behind the flatbuffer
        if buffer.get(1, 0) > 1 and buffer[1] + buffer.get(2, 0) > len(data):
            raise DamageError(f"a buffer ends at {buffer[1] + buffer.get(2, 0)} of {len(data)}")
    _check_calls([_check_graph(graph, codes, buffers, data, legacy) for graph in graphs])


def _check_graph(
    graph: dict[int, Any],
    codes: Sequence[dict[int, Any]],
    buffers: Sequence[dict[int, Any]],
    data: bytes,
    legacy: bool,
) -> set[int]:
    """The numbers of the graphs that this one calls."""
    tensors = [_tensor(tensor, buffers) for tensor in graph.get(0, ())]
    if legacy and any(_SPARSITY in table for table in graph.get(0, ())):
        raise LegacyError("it has sparse tensors, whose indices it follows unseen")
    for index in (*graph.get(1, ()), *graph.get(2, ())):
        _check_index("input or output of the graph", index, tensors)
    ready = [bool(t.stored) or t.variable or not t.elements for t in tensors]
    for index in graph.get(1, ()):
        if tensors[index].stored:
            raise DamageError(f"the input {tensors[index].name!r} of the graph is a constant")
        ready[index] = True
    calls: set[int] = set()
    for position, entry in enumerate(graph.get(3, ())):
        _check_index("code of an operator", entry.get(0, 0), codes)
        inputs, outputs = entry.get(1, ()), entry.get(2, ())
        for index in inputs:
            if index != -1:  # an input that is left out
                _check_index("input of an operator", index, tensors)
        for index in (*outputs, *entry.get(8, ())):
            _check_index("output of an operator", index, tensors)
        if entry.get(9, 0) > 1 and entry[9] + entry.get(10, 0) > len(data):
            raise DamageError(f"the options of operator {position} end behind the file")
        operator = Operator(
            _name(codes[entry.get(0, 0)]),
            tuple(None if index == -1 else tensors[index] for index in inputs),
            tuple(tensors[index] for index in outputs),
            {},
            data,
        )
        try:
            calls |= _check_operator(operator, entry, codes[entry.get(0, 0)], legacy)
            _check_order(operator, inputs, outputs, ready)
        except DamageError as error:
            raise type(error)(f"operator {position}, {operator.name}: {error}") from None
    for index in graph.get(2, ()):
        if not ready[index]:
            raise DamageError(f"nothing writes the output {tensors[index].name!r} of the graph")
    return calls


def _check_order(
    operator: Operator, inputs: Sequence[int], outputs: Sequence[int], ready: list[bool]
) -> None:
    """Operators stand in the order of execution, and a tensor has one writer."""
    for position, (index, tensor) in enumerate(zip(inputs, operator.inputs, strict=True)):
        # old converters gave RESHAPE a shape tensor without content, beside its options
        spare = operator.name == "RESHAPE" and position == 1
        if tensor is not None and not ready[index] and not spare:
            raise DamageError(f"it reads {tensor.name!r} before anything writes it")
    for index, tensor in zip(outputs, operator.outputs, strict=True):
        if ready[index] and tensor.elements:
            raise DamageError(f"it writes {tensor.name!r}, which has a value already")
        ready[index] = True


def _check_operator(
    operator: Operator, entry: dict[int, Any], code: dict[int, Any], legacy: bool
) -> set[int]:
    """The numbers of the graphs that it calls."""
    number = _code(code)
    if number < 0:
        raise DamageError("its code is negative")
    if number >= len(OPERATORS):
        return set()  # younger than the engines that check nothing
    rule = OPERATORS[number]
    for what, given, (fewest, most) in (
        ("inputs", operator.inputs, rule.inputs),
        ("outputs", operator.outputs, rule.outputs),
    ):
        if not fewest <= len(given) <= most:
            raise DamageError(f"it has {len(given)} {what}")
    if None in operator.inputs[: rule.optional]:
        raise DamageError(f"its input {operator.inputs.index(None)} is left out")
    options = read_options(rule, entry.get(3, 0), entry.get(4, {}))
    operator = operator._replace(options=options)
    check_types(operator)
    check_shapes(operator)
    if legacy:
        check_legacy(operator)
    return {value for name, value in options.items() if name.startswith("graph_")}


def _code(code: Mapping[int, Any]) -> int:
    return max(int(code.get(0, 0)), int(code.get(3, 0)))


def _name(code: Mapping[int, Any]) -> str:
    number = _code(code)
    return OPERATORS[number].name if 0 <= number < len(OPERATORS) else f"number {number}"


def _check_calls(calls: Sequence[set[int]]) -> None:
    """Graphs call existing ones and never themselves: an engine would recurse until it dies."""
    for called in calls:
        for number in called:
            _check_index("graph that an operator calls", number, calls)
    open_graphs = set(range(len(calls)))
    while ended := {number for number in open_graphs if not calls[number] & open_graphs}:
        open_graphs -= ended
    if open_graphs:
        raise DamageError(f"graph {min(open_graphs)} calls itself")


def _tensor(table: dict[int, Any], buffers: Sequence[dict[int, Any]]) -> Tensor:
    name, shape, kind = table.get(3, ""), table.get(0, ()), table.get(1, 0)
    _check_index(f"buffer of tensor {name!r}", table.get(2, 0), buffers)
    elements = math.prod(shape)
    if min(shape, default=0) < 0 or elements > _MAX_ELEMENTS or len(shape) > _MAX_RANK:
        raise DamageError(f"tensor {name!r} has shape {list(shape)}")
    if kind not in _BITS and kind not in (_STRING, _RESOURCE, _VARIANT):
        raise DamageError(f"tensor {name!r} has the unknown type {kind}")
    buffer = buffers[table.get(2, 0)]
    stored = buffer.get(0, range(0))
    # behind the flatbuffer, as ai-edge-quantizer writes them
    if not stored and buffer.get(1, 0) > 1:
        stored = range(buffer[1], buffer[1] + buffer.get(2, 0))
    # sparse tensors store fewer elements than their shape says
    if stored and kind in _BITS and _SPARSITY not in table:
        needed = -(-elements * _BITS[kind] // 8)
        if len(stored) != needed:
            raise DamageError(
                f"tensor {name!r} needs {needed} bytes and its buffer has {len(stored)}"
            )
    quantization = table.get(4, {})
    _check_quantization(name, shape, kind, quantization)
    is_open = -1 in table.get(7, ()) or not (shape or table.get(8) or stored)
    return Tensor(
        name,
        None if is_open else shape,
        kind,
        elements,
        stored,
        quantization.get(2, ()),
        bool(table.get(5, 0)),
    )


def _check_quantization(
    name: str, shape: tuple[int, ...], kind: int, quantization: dict[int, Any]
) -> None:
    scales, zero_points = quantization.get(2, ()), quantization.get(3, ())
    if zero_points and len(scales) != len(zero_points):
        raise DamageError(
            f"tensor {name!r} has {len(scales)} scales and {len(zero_points)} zero points"
        )
    if not scales:
        return
    # a sum of finite ones is finite in double precision, and NaN makes NaN of it
    if min(scales) < 0 or not math.isfinite(sum(scales)):
        raise DamageError(f"tensor {name!r} has a scale that is negative or not finite")
    low, high = _ZERO_POINTS.get(kind, (-(2**31), 2**31 - 1))
    if zero_points and not low <= min(zero_points) <= max(zero_points) <= high:
        raise DamageError(f"tensor {name!r} has a zero point outside of {low} to {high}")
    axis = quantization.get(6, 0)
    if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        raise MisquantizedError(
            f"its tensor {name!r} of shape {list(shape)} has {len(scales)} scales along axis {axis}, which"
            f" {'has another size' if 0 <= axis < len(shape) else 'it does not have'}"
        )


def _check_index(what: str, index: int, items: Sequence[Any]) -> None:
    if not 0 <= index < len(items):
        raise DamageError(f"the {what} is number {index} of {len(items)}")
