"""Model files as others leave them: TFLite Metadata, attached archives, ``model_info``, Ultralytics' keys."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import flatbuffers
import onnx
import tiny_models
from ai_edge_litert import schema_py_generated as schema

from edgecv.artifact import ModelFile, read
from edgecv.spec.types import QuantParams, TensorSpec

CLASSES = tiny_models.CLASSES
NAMES = ("cat", "great white shark", "dog")


def picture_spec(
    kind: str = "tflite", dtype: str = "float32", quantization: QuantParams | None = None
) -> tuple[TensorSpec, ...]:
    """The input of the tiny classifier of *kind*."""
    height, width = tiny_models.HEIGHT, tiny_models.WIDTH
    nhwc = kind == "tflite"
    shape = (1, height, width, 3) if nhwc else (1, 3, height, width)
    return (TensorSpec("input", shape, dtype, "NHWC" if nhwc else "NCHW", quantization),)


def scores_spec(classes: int = CLASSES) -> tuple[TensorSpec, ...]:
    """An output of *classes* scores."""
    return (TensorSpec("logits", (1, classes), "float32", "NC"),)


def file_of(data: bytes | tuple[bytes, bytes]) -> ModelFile:
    """As the runtime reads it."""
    return read(data)


# --- TFLite Metadata ----------------------------------------------------------------------------


def metadata(
    *,
    label_files: Sequence[tuple[str, int, str]] = (),
    units: Sequence[tuple[int, Any]] = (),
    image: bool = False,
    identifier: bytes = b"M001",
    outputs: int = 1,
) -> bytes:
    """ModelMetadata.

    Args:
        label_files: Name, type and locale of files associated with the first output.
        units: Type and value of the input's process units; for type 1 (mean, std), else a float that
            stands in their first slot.
        image: Whether the input has ImageProperties.
        identifier: Of the flatbuffer.
        outputs: Output tensors described.
    """
    b = flatbuffers.Builder(256)
    process = [_unit(b, kind, value) for kind, value in units]
    fields: dict[int, int] = {}
    if process:
        fields[4] = _vector(b, process)
    if image:
        properties = _table(b, 2, {}, {0: 1})
        fields[3] = _table(b, 3, {1: properties}, {0: 2})
    tensor_in = _table(b, 7, fields, {})
    files = []
    for name, kind, locale in label_files:
        texts = {0: b.CreateString(name)} | ({3: b.CreateString(locale)} if locale else {})
        files.append(_table(b, 5, texts, {2: kind}))
    tensors_out = [_table(b, 7, {6: _vector(b, files)} if files else {}, {})]
    tensors_out += [_table(b, 7, {}, {}) for _ in range(outputs - 1)]
    subgraph = _table(b, 10, {2: _vector(b, [tensor_in]), 3: _vector(b, tensors_out)}, {})
    b.Finish(_table(b, 8, {3: _vector(b, [subgraph])}, {}), identifier)
    return bytes(b.Output())


def _unit(b: Any, kind: int, value: Any) -> int:
    if kind == 1:
        mean, std = value
        options = _table(b, 2, {0: _floats(b, mean), 1: _floats(b, std)}, {})
    else:
        b.StartObject(1)
        b.PrependFloat32Slot(0, value, 0.0)
        options = int(b.EndObject())
    return _table(b, 2, {1: options}, {0: kind})


def _table(b: Any, fields: int, offsets: Mapping[int, int], small: Mapping[int, int]) -> int:
    b.StartObject(fields)
    for slot, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in small.items():
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


def with_metadata(body: bytes, content: bytes) -> bytes:
    """A TFLite file with *content* as its ``TFLITE_METADATA``."""
    model = schema.ModelT.InitFromPackedBuf(body, 0)
    buffer = schema.BufferT()
    buffer.data = list(content)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    b = flatbuffers.Builder(4096)
    b.Finish(model.Pack(b), b"TFL3")
    return bytes(b.Output())


def with_archive(body: bytes, members: Mapping[str, bytes | str], *, packed: bool = False) -> bytes:
    """*members* as a zip archive behind *body*; *packed* compresses as Ultralytics does."""
    file = BytesIO(body)
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "a", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def labels_text(names: Sequence[str] = NAMES) -> str:
    """One label a line."""
    return "".join(f"{name}\n" for name in names)


# --- Ultralytics --------------------------------------------------------------------------------


def ultralytics_keys(
    names: Sequence[str] = NAMES, task: str = "classify", imgsz: Any = None
) -> dict[str, Any]:
    """What an export of a classifier carries."""
    size = [tiny_models.HEIGHT, tiny_models.WIDTH] if imgsz is None else imgsz
    return {
        "description": "Ultralytics model", "author": "Ultralytics", "version": "8.3.0", "task": task,
        "stride": 1, "batch": 1, "imgsz": size, "names": dict(enumerate(names)), "args": {},
    }  # fmt: skip


def ultralytics_json(**changes: Any) -> str:
    """``metadata.json`` of a TFLite export."""
    return json.dumps(ultralytics_keys(**changes), indent=2)


# --- ONNX and OpenVINO --------------------------------------------------------------------------


def onnx_with(entries: Mapping[str, str], data: bytes | None = None) -> bytes:
    """The tiny classifier as ONNX with *entries* in ``metadata_props``."""
    model = onnx.load_from_string(data if data is not None else tiny_models.onnx_model())
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString(deterministic=True))


def ir_with(info: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The tiny classifier as IR with *info* as ``model_info``, written by OpenVINO itself."""
    import tempfile
    from pathlib import Path

    from edgecv_runtimes.quiet import import_openvino

    openvino = import_openvino()
    xml, weights = tiny_models.openvino()
    model = openvino.Core().read_model(xml, weights)
    for key, value in info.items():
        model.set_rt_info(value, ["model_info", key])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
