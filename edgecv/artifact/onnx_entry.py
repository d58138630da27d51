"""ONNX: the manifest is the last entry of ``metadata_props``, appended as raw protobuf.

Protobuf messages concatenate, so a device needs no onnx package and the bytes before the entry stay
as the exporter wrote them. Numbers of fields: ``onnx.proto``, message ModelProto; wire format:
protobuf's encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from edgecv.artifact.containers import KEY, Parts, holds_traces

__all__ = ["Field", "entries", "fields", "looks_like_onnx", "make_entry", "split"]

_IR_VERSION, _GRAPH, _OPSET_IMPORT, _METADATA = 1, 7, 8, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: Wire type of every field that a ModelProto may have up to IR version 13.
_WIRE_TYPES: Final = {_IR_VERSION: _VARINT, 5: _VARINT} | dict.fromkeys(
    (2, 3, 4, 6, _GRAPH, _OPSET_IMPORT, _METADATA, 20, 25, 26), _BYTES
)
_MAX_FIELD = 2**29 - 1


class Field(NamedTuple):
    """One field of a message: where it starts, where its value lies."""

    number: int
    wire: int
    start: int
    begin: int
    end: int


def looks_like_onnx(data: bytes) -> bool:
    """Whether *data* is a complete message with the fields that every model has, and no misfit."""
    try:
        numbers = [field.number for field in _walk(data)]
    except ValueError:
        return False
    return {_IR_VERSION, _GRAPH, _OPSET_IMPORT} <= set(numbers)


def split(data: bytes) -> Parts:
    """Take an ONNX file apart.

    Raises:
        ValueError: *data* is not a complete message.
    """
    last = None
    own = []
    for field in _walk(data):
        last = field
        if field.number == _METADATA and _entry(data, field)[0] == KEY.encode():
            own.append(field)
    if len(own) == 1 and own[0] is last:
        return Parts(data[: last.start], _entry(data, last)[1])
    return Parts(data, traces=bool(own) or holds_traces(data))


def make_entry(document: bytes) -> bytes:
    """The bytes that, appended to a model, are its last ``metadata_props`` entry."""
    entry = _length_delimited(1, KEY.encode()) + _length_delimited(2, document)
    return _length_delimited(_METADATA, entry)


def entries(data: bytes) -> dict[str, bytes]:
    """``metadata_props`` of a model: key → value; of equal keys the last.

    Raises:
        ValueError: *data* is not a complete message.
    """
    found = (_entry(data, field) for field in _walk(data) if field.number == _METADATA)
    return {key.decode("utf-8", "replace"): value for key, value in found}


def _length_delimited(number: int, value: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(value)) + value


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _entry(data: bytes, field: Field) -> tuple[bytes, bytes]:
    """Key and value of a StringStringEntryProto; empty where absent or damaged."""
    found = {1: b"", 2: b""}
    try:
        for inner in fields(data, field.begin, field.end):
            if inner.wire == _BYTES and inner.number in found:
                found[inner.number] = data[inner.begin : inner.end]
    except ValueError:
        return b"", b""
    return found[1], found[2]


def _walk(data: bytes) -> Iterator[Field]:
    """Fields of a ModelProto; a known field of the wrong wire type is an error."""
    for field in fields(data, 0, len(data)):
        if _WIRE_TYPES.get(field.number, field.wire) != field.wire:
            raise ValueError(f"field {field.number} has wire type {field.wire}")
        yield field


def fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    """Fields of the message between *at* and *end*, whatever its type.

    Raises:
        ValueError: The bytes are not a complete message.
    """
    while at < end:
        start = at
        tag, at = _read_varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number <= _MAX_FIELD:
            raise ValueError(f"field number {number}")
        if wire == _BYTES:
            size, at = _read_varint(data, at, end)
        elif wire == _VARINT:
            size = _read_varint(data, at, end)[1] - at
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > end:
            raise ValueError(f"a field ends {at + size - end} bytes behind the end")
        yield Field(number, wire, start, at, at + size)
        at += size


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than ten bytes")
