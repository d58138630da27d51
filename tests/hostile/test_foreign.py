"""Damaged and malicious metadata: a note or an error of edgecv's, never a crash, a hang or a bomb."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zipfile
from io import BytesIO

import foreign_files as foreign
import numpy as np
import pytest
import tiny_models

from edgecv.artifact import ModelFile, read
from edgecv.artifact.flatbuffer import Tables, read_tables
from edgecv.errors import EdgecvError, ModelLoadError
from edgecv.foreign import Reading, resolve
from edgecv.foreign.attached import attached
from edgecv.foreign.graph import precision, score_kind

SEEDS = 60


def tflite(packed: bool) -> bytes:
    body = foreign.with_metadata(
        tiny_models.tflite("float32"),
        foreign.metadata(
            label_files=[("labels.txt", 2, "")], units=[(1, ([127.5] * 3, [127.5] * 3))], image=True
        ),
    )
    members = {"labels.txt": foreign.labels_text(), "metadata.json": foreign.ultralytics_json()}
    return foreign.with_archive(body, members, packed=packed)


def onnx_file() -> bytes:
    keys = {key: str(value) for key, value in foreign.ultralytics_keys().items()}
    info = {"model_info labels": "a b c", "model_info mean_values": "1 2 3"}
    return foreign.onnx_with(keys | info)


def ir() -> tuple[bytes, bytes]:
    return foreign.ir_with({"labels": "a b c", "mean_values": "1 2 3", "resize_type": "crop"})


FILES = {
    "tflite": lambda: tflite(False),
    "tflite-packed": lambda: tflite(True),
    "onnx": onnx_file,
    "openvino": lambda: ir()[0],
}


def resolved(file: ModelFile) -> Reading:
    kind = "tflite" if file.kind == "tflite" else "onnx"
    return resolve(file, foreign.picture_spec(kind), foreign.scores_spec())


def mutant(data: bytes, seed: int) -> bytes:
    """Cut off, or with one or eight bytes changed; changes lie where the metadata is, every other time."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return data[: rng.integers(8, len(data))]
    changed = bytearray(data)
    low = len(data) * 3 // 4 if seed % 2 else 8
    for place in rng.integers(low, len(data), 1 if seed % 3 == 1 else 8):
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_mutated_files(name: str) -> None:
    data, kind = FILES[name](), name.split("-")[0]
    weights = ir()[1] if kind == "openvino" else None
    whole = ModelFile(kind, None, data, weights, None, "unchecked")
    if kind != "tflite":
        assert len(resolved(whole).labels) == 3
    for seed in range(SEEDS):
        changed = mutant(data, seed)
        # as it is, and with the archive split off where it still is one
        files = [ModelFile(kind, None, changed, weights, None, "unchecked")]
        with contextlib.suppress(EdgecvError):
            files.append(read((changed, weights) if weights is not None else changed, check="off"))
        for file in files:
            reading = resolved(file)
            assert len(reading.labels) in (0, 3)
            assert score_kind(file) in ("logit", "probability", "")
            assert precision(file) in ("int8", "float32")


def with_bomb(size: int) -> bytes:
    """labels.txt that inflates to *size* bytes while the directory says 10."""
    file = BytesIO(tiny_models.tflite("float32"))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("labels.txt", b"\0" * size)
        archive.getinfo("labels.txt").file_size = 10
    return file.getvalue()


def test_a_zip_bomb_is_left_unopened() -> None:
    data = with_bomb(96 * 2**20)
    file = ModelFile("tflite", None, data, None, None, "unchecked")
    tracemalloc.start()
    try:
        assert "labels.txt" not in attached(file) or len(attached(file)["labels.txt"]) <= 4 * 2**20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.parametrize(
    "piece",
    [
        b"<layer ", b'<layer a="', b"a-", b'<layer a="" ', b'"', b"<model_info>", b'<labels value="',
        b'<labels value="a"/>', b"<edge ", b'<edge to-layer="1" ', b"&amp;", b"&#99999999;", b"<a ",
    ],
)  # fmt: skip
def test_repetition_does_not_explode(piece: bytes) -> None:
    """Two megabytes of what a pattern begins with; a quadratic reader would take hours."""
    for begin, end in ((b"<net>", b"</net>"), (b"<net><model_info>", b"</model_info></net>")):
        body = begin + piece * (2**21 // len(piece)) + end
        reading = resolved(ModelFile("openvino", None, body, b"", None, "unchecked"))
        assert reading.labels == ()


@pytest.mark.parametrize(
    "names", ["{0: '" + "\\" * 2**20, "{" * 2**20, "{0:" + " " * 2**20, "{0: 'a'," * 2**17]
)
def test_long_names_do_not_explode(names: str) -> None:
    data = foreign.onnx_with({"names": names, "task": "classify"})
    assert resolved(foreign.file_of(data)).labels == ()


def overlapping(tables: int, length: int) -> bytes:
    """A flatbuffer of *tables* texts of *length* bytes each, laid over each other."""
    vector = 20 + 4  # behind the root: offset, identifier, vtable, table
    first = vector + 4 + 4 * tables
    places = [first + 8 * i for i in range(tables)]
    texts = first + 8 * tables
    vtable = struct.pack("<HHH2x", 6, 8, 4)
    out = struct.pack("<I4s", 16, b"TEST") + vtable + struct.pack("<iI", 8, 4)
    out += struct.pack("<I", tables)
    out += b"".join(struct.pack("<I", p - (vector + 4 + 4 * i)) for i, p in enumerate(places))
    for i, place in enumerate(places):
        out += struct.pack("<iI", place - 8, texts + 4 * i - (place + 4))
    return out + struct.pack("<I", length) * tables + b"\0" * (length + 8)


def test_texts_laid_over_each_other_do_not_eat_memory() -> None:
    """2,000 texts of a megabyte in a file of one megabyte."""
    schema = {"Root": {0: Tables("Entry")}, "Entry": {0: "text"}}
    one = read_tables(overlapping(1, 100), schema, "Root", b"TEST")
    assert len(one[0][0][0]) == 100
    data = overlapping(2000, 2**20)
    with pytest.raises(ModelLoadError, match="overlaps"):
        read_tables(data, schema, "Root", b"TEST")


def test_numbers_that_no_file_should_have() -> None:
    entries = {
        "model_info labels": "a b c", "model_info mean_values": "1e400 1 1",
        "model_info scale_values": "1" * 100_000, "names": "{0: 'a'}", "task": "classify",
        "imgsz": "9" * 100_000,
    }  # fmt: skip
    reading = resolved(foreign.file_of(foreign.onnx_with(entries)))
    assert reading.preprocess is None
    assert len(reading.notes) >= 2
