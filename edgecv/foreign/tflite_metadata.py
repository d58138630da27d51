"""TFLite Metadata (``TFLITE_METADATA``, identifier M001), as Task Library and MediaPipe read it.

Numbers of fields: tflite-support ``metadata_schema.fbs``. The label file of the output lies in the zip
archive behind the flatbuffer. Its readers stretch the whole picture, bilinear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgecv.artifact import ModelFile, Preprocess
from edgecv.artifact.flatbuffer import (
    IDENTIFIER,
    Kind,
    Table,
    Tables,
    Union,
    Vector,
    read_tables,
)
from edgecv.errors import InputError, ModelLoadError
from edgecv.foreign.attached import attached
from edgecv.foreign.labels import check_count, parse_lines
from edgecv.foreign.metadata import Edge
from edgecv.foreign.presets import normalization

__all__ = ["label_file", "read"]

_NAME: Final = "TFLITE_METADATA"
_FILE_IDENTIFIER: Final = b"M001"
_MODEL: Final[Mapping[str, Mapping[int, Kind]]] = {
    "Model": {4: Tables("Buffer"), 6: Tables("Metadata")},
    "Buffer": {0: Vector("u8")},
    "Metadata": {0: "text", 1: "u32"},
}
_METADATA: Final[Mapping[str, Mapping[int, Kind]]] = {
    "ModelMetadata": {3: Tables("SubGraph")},
    "SubGraph": {2: Tables("Input"), 3: Tables("Output")},
    "Input": {3: Table("Content"), 4: Tables("Unit")},
    "Content": {0: "u8"},
    "Unit": {0: "u8", 1: Union(0, {1: "Normalization"})},
    "Normalization": {0: Vector("f32"), 1: Vector("f32")},
    "Any": {},
    "Output": {6: Tables("File")},
    "File": {0: "text", 2: "i8", 3: "text"},
}
_CURE: Final = "Give labels and preprocessing."
_IMAGE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS, _VALUE_LABELS = 2, 1, 2, 3


def read(file: ModelFile, edge: Edge) -> tuple[tuple[str, ...], Preprocess | None, tuple[str, ...]]:
    """Labels, preprocessing, and why something was not used.

    A uint8 input takes pixels as they are, whatever the normalization of the float model says, as
    Task Library and MediaPipe do; other inputs are normalized, then quantized.

    Raises:
        ModelLoadError: The tables are damaged.
    """
    found = _subgraph(file.body)
    if found is None:
        return (), None, ()
    notes: list[str] = []
    labels: tuple[str, ...] = ()
    try:
        labels = _labels(file, found.get(3, []), edge)
    except InputError as error:
        notes.append(error.what)
    preprocess = None
    try:
        preprocess = _preprocess(found.get(2, []), edge)
    except InputError as error:
        notes.append(error.what)
    return labels, preprocess, tuple(notes)


def label_file(body: bytes) -> str:
    """Name of the attached file that holds the labels; the empty text where none can be read."""
    try:
        found = _subgraph(body)
    except (ModelLoadError, LookupError):
        return ""
    outputs = found.get(3, []) if found is not None else []
    return _label_file(outputs[0]) if len(outputs) == 1 else ""


def _label_file(output: Mapping[int, Any]) -> str:
    named = [
        entry
        for entry in output.get(6, [])
        if entry.get(2, 0) in (_AXIS_LABELS, _VALUE_LABELS) and entry.get(0)
    ]
    # a list without a locale holds the names themselves, the others translations
    chosen = next((entry for entry in named if not entry.get(3)), named[0] if named else {})
    return str(chosen.get(0, ""))


def _subgraph(body: bytes) -> dict[int, Any] | None:
    """SubGraphMetadata of a model that has just one."""
    model = read_tables(body, _MODEL, "Model", IDENTIFIER)
    entry = next((entry for entry in model.get(6, []) if entry.get(0) == _NAME), None)
    if entry is None:
        return None
    place = model[4][entry.get(1, 0)].get(0, range(0))
    content = body[place.start : place.stop]
    subgraphs = read_tables(content, _METADATA, "ModelMetadata", _FILE_IDENTIFIER).get(3, [])
    return dict(subgraphs[0]) if len(subgraphs) == 1 else None


def _labels(file: ModelFile, outputs: Sequence[Mapping[int, Any]], edge: Edge) -> tuple[str, ...]:
    if edge.classes is None or len(outputs) != 1:
        return ()
    chosen = _label_file(outputs[0])
    if not chosen:
        return ()
    members = attached(file)
    if chosen not in members:
        raise InputError(f"it names {chosen!r}, which is not attached", cure=_CURE)
    text = members[chosen].decode("utf-8-sig", "replace")
    labels = parse_lines(text, repr(chosen))
    check_count(labels, edge.classes, repr(chosen))
    return labels


def _preprocess(inputs: Sequence[Mapping[int, Any]], edge: Edge) -> Preprocess | None:
    spec = edge.picture
    if spec is None or len(inputs) != 1:
        return None
    units = inputs[0].get(4, [])
    types = [unit.get(0, 0) for unit in units]
    is_image = inputs[0].get(3, {}).get(0, 0) == _IMAGE_PROPERTIES
    if any(kind != _NORMALIZATION for kind in types) or len(types) > 1:
        raise InputError(f"it has process units of types {types}", cure=_CURE)
    if not types and not (spec.dtype == "uint8" and is_image):
        return None
    if spec.dtype == "uint8":
        mean, std = normalization("raw", spec)
    else:
        mean, std = (_triple(units[0].get(1, {}).get(slot, ())) for slot in (0, 1))
    if min(std) <= 0:
        raise InputError(f"its normalization divides by {std}", cure=_CURE)
    return Preprocess(edge.size, "stretch", 1.0, "bilinear", "rgb", mean, std)


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    """For pixels / 255, from units of a grey level."""
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise InputError(f"its normalization has {list(values)[:4]}", cure=_CURE)
    one, two, three = values if len(values) == 3 else [*values] * 3
    return one / 255, two / 255, three / 255
