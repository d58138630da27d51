"""TFLite Metadata (``TFLITE_METADATA``, identifier M001): what MediaPipe and Task Library read.

There is no Python writer for current versions; the tables are few, so they are written here with plain
flatbuffers. Field numbers: tflite-support ``metadata_schema.fbs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import flatbuffers

from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.spec.types import TensorSpec

__all__ = ["LABEL_FILE", "build_metadata"]

#: Name of the label file in the zip tail, one label per line.
LABEL_FILE: Final = "labels.txt"
_IDENTIFIER: Final = b"M001"
_PARSER_VERSION: Final = "1.0.0"
# union and enumeration members of metadata_schema.fbs
_IMAGE_PROPERTIES, _RGB, _NORMALIZATION, _AXIS_LABELS = 2, 1, 1, 2


def build_metadata(
    manifest: Manifest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> bytes:
    """ModelMetadata of a classifier.

    Float inputs get NormalizationOptions in 0–255 units (MediaPipe refuses them without). Every output
    has a name (MediaPipe crashes without one), the first the label file.

    Args:
        manifest: Labels and preprocessing.
        inputs: Of the file.
        outputs: Of the file.
    """
    b = flatbuffers.Builder(1024)
    tables_in = [_input(b, spec, manifest.preprocess) for spec in inputs]
    tables_out = [
        _output(b, spec, LABEL_FILE if manifest.labels and i == 0 else "")
        for i, spec in enumerate(outputs)
    ]
    subgraph = _table(b, 10, {2: _vector(b, tables_in), 3: _vector(b, tables_out)})
    subgraphs = _vector(b, [subgraph])
    name, parser = b.CreateString(f"edgecv {manifest.task}"), b.CreateString(_PARSER_VERSION)
    b.Finish(_table(b, 8, {0: name, 3: subgraphs, 7: parser}), _IDENTIFIER)
    return bytes(b.Output())


def _table(
    b: Any, fields: int, offsets: dict[int, int], *, bytes_at: dict[int, int] | None = None
) -> int:
    b.StartObject(fields)
    for slot, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (bytes_at or {}).items():
        b.PrependUint8Slot(slot, value, 0)
    return int(b.EndObject())


def _vector(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _floats(b: Any, values: Sequence[float]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return int(b.EndVector())


def _input(b: Any, spec: TensorSpec, said: Preprocess | None) -> int:
    name = b.CreateString(spec.name)
    fields = {0: name}
    if spec.layout == "NHWC" and spec.shape[-1] == 3:
        image = _table(b, 2, {}, bytes_at={0: _RGB})
        fields[3] = _table(b, 3, {1: image}, bytes_at={0: _IMAGE_PROPERTIES})
    if spec.dtype == "float32" and said is not None:
        mean, std = (_channels(values) for values in (said.mean, said.std))
        options = _table(b, 2, {0: _floats(b, mean), 1: _floats(b, std)})
        unit = _table(b, 2, {1: options}, bytes_at={0: _NORMALIZATION})
        fields[4] = _vector(b, [unit])
    return _table(b, 7, fields)


def _channels(values: Sequence[float]) -> list[float]:
    """In 0–255 units; one number where all channels agree, since MediaPipe reads one only."""
    pixels = [255.0 * v for v in values]
    return pixels[:1] if len(set(pixels)) == 1 else pixels


def _output(b: Any, spec: TensorSpec, label_file: str) -> int:
    fields = {0: b.CreateString(spec.name)}
    if label_file:
        file = _table(b, 5, {0: b.CreateString(label_file)}, bytes_at={2: _AXIS_LABELS})
        fields[6] = _vector(b, [file])
    return _table(b, 7, fields)
