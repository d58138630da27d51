"""Constants behind the flatbuffer, where ai-edge-quantizer puts them: the same model, the same answers."""

from __future__ import annotations

import struct
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx_models import small_resnet

from edgecv.errors import ModelLoadError
from edgecv.runtime import Runtime
from edgecv_converters import convert_model

#: Large numbers that are looked for and replaced once the places are known.
_OFFSET, _SIZE = 0x5EED_0FF5_0000_0000, 0x5EED_512E_0000_0000


def moved(tflite_file: bytes) -> bytes:
    """The same model with every constant behind the flatbuffer."""
    model = schema.ModelT.InitFromPackedBuf(tflite_file, 0)
    contents: dict[int, bytes] = {}
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data):
            contents[number] = bytes(bytearray(buffer.data))
            buffer.data, buffer.offset, buffer.size = None, _OFFSET + number, _SIZE + number
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    packed = bytes(builder.Output())
    tail = b""
    for number, content in contents.items():
        tail += bytes(-(len(packed) + len(tail)) % 16)
        place = struct.pack("<Q", len(packed) + len(tail))
        for marker, value in ((_OFFSET, place), (_SIZE, struct.pack("<Q", len(content)))):
            assert packed.count(struct.pack("<Q", marker + number)) == 1
            packed = packed.replace(struct.pack("<Q", marker + number), value)
        tail += content
    return packed + tail


@pytest.fixture(scope="module")
def files() -> tuple[bytes, bytes]:
    plain = convert_model(small_resnet().bytes(), "tflite").files[".tflite"]
    return plain, moved(plain)


def test_they_are_constants(files: tuple[bytes, bytes], tmp_path: Path) -> None:
    found = []
    for name, data in zip(("plain", "moved"), files, strict=True):
        (tmp_path / f"{name}.tflite").write_bytes(data)
        with Runtime(tmp_path / f"{name}.tflite", backend="litert") as runtime:
            (spec,) = runtime.info.inputs
            rng = np.random.default_rng(0)
            array = rng.integers(-128, 127, spec.shape, np.int8, endpoint=True)
            found.append(runtime.infer(array)["logits"])
    assert len(np.unique(found[0])) > 3
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("cut", [1, 64])
def test_they_end_inside_the_file(files: tuple[bytes, bytes], tmp_path: Path, cut: int) -> None:
    (tmp_path / "short.tflite").write_bytes(files[1][:-cut])
    with pytest.raises(ModelLoadError, match="a buffer ends at"):
        Runtime(tmp_path / "short.tflite", backend="litert")
