"""Flatbuffers, read with every offset checked before it is followed; a TFLite file as a whole.

Engines differ in what they check: tflite-runtime 2.14 verifies nothing and a damaged file kills the
process (154 of 300 mutations). Here every table, vector and string that a schema names is followed;
what the tables of a TFLite file mean is checked in ``tflite_graph``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from edgecv.artifact.tflite_tail import IDENTIFIER
from edgecv.errors import ModelLoadError, UnsupportedError

__all__ = [
    "IDENTIFIER",
    "DamageError",
    "Kind",
    "MisquantizedError",
    "Table",
    "Tables",
    "Union",
    "Vector",
    "check_flatbuffer",
    "read_tables",
]

_MAX_TABLES = 2_000_000

_SCALARS: Final = {
    name: struct.Struct(f"<{code}")
    for name, code in zip(
        ("i8", "u8", "u16", "i32", "u32", "f32", "i64", "u64"),
        ("b", "B", "H", "i", "I", "f", "q", "Q"),
        strict=True,
    )
}


class Vector(NamedTuple):
    """A vector of scalars: the kind of its elements."""

    kind: str


class Table(NamedTuple):
    """A table by name."""

    name: str


class Tables(NamedTuple):
    """A vector of tables by name."""

    name: str


class Union(NamedTuple):
    """A table whose name follows from the number in an earlier slot; "Any" where none is given."""

    slot: int
    names: Mapping[int, str]


#: What a field is: a scalar by its kind, ``"text"``, or one of the classes above.
Kind = str | Vector | Table | Tables | Union


def check_flatbuffer(body: bytes, *, legacy: bool = False) -> None:
    """Refuse a TFLite file that is damaged, whatever the engine would make of it.

    Args:
        body: The file; what follows the flatbuffer is ignored.
        legacy: Refuse also sound files of which tflite-runtime 2.14 dies.

    Raises:
        UnsupportedError: Such a file.
        ModelLoadError: Not a TFLite file; an offset, size or index points outside; or operators that
            contradict their tensors or have options that make no sense. It is named.
    """
    # not at the top: a file with a manifest has a digest instead and needs none of it
    from edgecv.artifact.tflite_graph import SCHEMA, check_model
    from edgecv.artifact.tflite_legacy import LegacyError

    try:
        check_model(_Walker(body, SCHEMA).root("Model", IDENTIFIER), body, legacy=legacy)
    except LegacyError as error:
        raise UnsupportedError(
            f"tflite-runtime would not survive it: {error}",
            cure="Run it with a younger engine: pip install 'edgecv[litert]'.",
        ) from error
    except MisquantizedError as error:
        raise ModelLoadError(
            f"{error}; LiteRT refuses such a file, too",
            cure="The converter that wrote it is at fault, not the copy: convert the model again.",
        ) from error
    except DamageError as error:
        raise ModelLoadError(
            f"it is a damaged or truncated TFLite file: {error}",
            cure="Copy the file again from where it was made.",
        ) from error


def read_tables(
    data: bytes, schema: Mapping[str, Mapping[int, Kind]], root: str, identifier: bytes
) -> dict[int, Any]:
    """Fields of a flatbuffer's root table, every offset checked before it is followed.

    Args:
        data: The flatbuffer; what follows it is ignored.
        schema: Table → slot → kind; fields that it does not name are skipped.
        root: Name of the root table.
        identifier: The four bytes behind the first offset.

    Returns:
        Slot → value: numbers, texts, dictionaries of tables, tuples of scalars. A vector of bytes is
        the range of its places in *data*. Absent fields are absent.

    Raises:
        ModelLoadError: Another identifier, or an offset or size points outside; it is named.
    """
    try:
        return _Walker(data, schema).root(root, identifier)
    except DamageError as error:
        raise ModelLoadError(
            f"its tables are damaged: {error}", cure="Copy the file again from where it was made."
        ) from error


class DamageError(ValueError):
    """What is wrong, for the message."""


class MisquantizedError(DamageError):
    """Quantization along a dimension that the tensor does not have; old converters wrote it for biases."""


class _Walker:
    """Follows tables; each one is visited once however often it is referenced."""

    def __init__(self, data: bytes, schema: Mapping[str, Mapping[int, Kind]]) -> None:
        self._data, self._schema = data, schema
        self._seen: dict[tuple[int, str], dict[int, Any]] = {}
        self._copied: dict[tuple[int, str], Any] = {}
        self._room = len(data)

    def root(self, name: str, identifier: bytes) -> dict[int, Any]:
        """Fields of the root table."""
        if len(self._data) < 8 or self._data[4:8] != identifier:
            raise DamageError(f"the identifier {identifier.decode('ascii')} is missing")
        return self._table(self._uoffset(0), name)

    def _need(self, at: int, size: int) -> None:
        if at < 0 or at + size > len(self._data):
            raise DamageError(f"{size} bytes at {at} lie outside its {len(self._data)} bytes")

    def _uoffset(self, at: int) -> int:
        """Target of the forward offset at *at*."""
        return at + int(self._scalar(at, "u32"))

    def _scalar(self, at: int, kind: str) -> Any:
        form = _SCALARS[kind]
        self._need(at, form.size)
        return form.unpack_from(self._data, at)[0]

    def _table(self, at: int, name: str) -> dict[int, Any]:
        if (at, name) in self._seen:
            return self._seen[at, name]
        if len(self._seen) >= _MAX_TABLES:
            raise DamageError(f"it has more than {_MAX_TABLES} tables")
        if at % 4:
            raise DamageError(f"the table at {at} is not aligned")
        layout = at - self._scalar(at, "i32")
        self._need(layout, 4)
        layout_size, size = struct.unpack_from("<HH", self._data, layout)
        if layout % 2 or layout_size < 4 or layout_size % 2:
            raise DamageError(f"the layout of the table at {at} is not one")
        self._need(layout, layout_size)
        self._need(at, size)
        fields = self._seen[at, name] = {}
        slots = struct.unpack_from(f"<{(layout_size - 4) // 2}H", self._data, layout + 4)
        for slot, offset in enumerate(slots):
            if offset and offset >= size:
                raise DamageError(f"field {slot} lies outside its table at {at}")
            kind = self._schema[name].get(slot)
            if not offset or kind is None:
                continue
            if isinstance(kind, Union):
                kind = Table(kind.names.get(fields.get(kind.slot, 0), "Any"))
            fields[slot] = self._field(at + offset, kind)
        return fields

    def _field(self, at: int, kind: str | Vector | Table | Tables) -> Any:
        if kind == "text":
            return self._text(self._uoffset(at))
        if isinstance(kind, str):
            return self._scalar(at, kind)
        target = self._uoffset(at)
        if isinstance(kind, Table):
            return self._table(target, kind.name)
        count = self._scalar(target, "u32")
        if isinstance(kind, Vector):
            return self._vector(target + 4, count, kind.kind)
        self._need(target + 4, 4 * count)
        places = range(target + 4, target + 4 + 4 * count, 4)
        return [self._table(self._uoffset(place), kind.name) for place in places]

    def _vector(self, at: int, count: int, kind: str) -> Any:
        size = _SCALARS[kind].size
        self._need(at, count * size)
        if at % size:
            raise DamageError(f"the vector at {at} is not aligned")
        if kind == "u8":
            return range(at, at + count)
        if (at, kind) not in self._copied:
            self._make_room(at, count * size)
            form = f"<{count}{_SCALARS[kind].format[1]}"
            self._copied[at, kind] = struct.unpack_from(form, self._data, at)
        return self._copied[at, kind]

    def _text(self, at: int) -> str:
        if (at, "text") not in self._copied:
            count = self._scalar(at, "u32")
            self._need(at + 4, count + 1)
            if self._data[at + 4 + count]:
                raise DamageError(f"the text at {at} does not end")
            self._make_room(at, count)
            text = self._data[at + 4 : at + 4 + count].decode("utf-8", "replace")
            self._copied[at, "text"] = text
        return str(self._copied[at, "text"])

    def _make_room(self, at: int, size: int) -> None:
        """Things that lie side by side are together no larger than the file; others eat memory."""
        self._room -= size
        if self._room < 0:
            raise DamageError(f"what lies at {at} overlaps with something else")
