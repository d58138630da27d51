"""Properties of manifests and containers, over many of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv import artifact
from edgecv.artifact import onnx_entry, safetensors_header, tflite_tail, xml_element
from edgecv.artifact.document import decode, encode
from edgecv.errors import EdgecvError
from edgecv.spec import QuantParams, TensorSpec

KINDS = ("tflite", "openvino", "onnx", "torch")

text = st.text(max_size=12)
floats = st.floats(allow_nan=False, allow_infinity=False)
scales = st.floats(1e-30, 1e30).map(lambda s: float(np.float32(s)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | floats | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.none() | st.dictionaries(text, json_values, max_size=3)
int8_params = st.builds(QuantParams, scales, st.integers(-128, 127))
tensors = st.builds(
    TensorSpec,
    name=text,
    shape=st.lists(st.integers(-1, 512), max_size=4).map(tuple),
    dtype=st.sampled_from(["int8", "uint8", "float32"]),
    layout=st.sampled_from(["NHWC", "NCHW", "NC", ""]),
    quantization=st.none() | int8_params,
)
triples = st.tuples(floats, floats, floats)
positive = st.floats(1e-6, 1e6)
preprocesses = st.builds(
    artifact.Preprocess,
    size=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    resize=st.sampled_from(["shortest", "stretch"]),
    crop_fraction=st.floats(0, 1, exclude_min=True),
    interpolation=st.sampled_from(["bicubic", "bilinear", "nearest"]),
    color=st.sampled_from(["rgb", "bgr"]),
    mean=triples,
    std=st.tuples(positive, positive, positive),
)
manifests = st.builds(
    artifact.Manifest,
    labels=st.lists(text, max_size=4).map(tuple),
    preprocess=st.none() | preprocesses,
    inputs=st.lists(tensors, max_size=2).map(tuple),
    outputs=st.lists(tensors, max_size=2).map(tuple),
    precision=st.sampled_from(["int8", "float32"]),
    score_kind=st.sampled_from(["logit", "probability"]),
    quantizers=st.lists(
        st.builds(artifact.QuantizerRecord, text, scales, st.integers(-128, 127)), max_size=3
    ).map(tuple),
    left_out=st.lists(text, max_size=2).map(tuple),
    training_data=objects,
    parent=objects,
    tools=st.dictionaries(text, text, max_size=2),
    calibration=objects,
    verification=objects,
    drift_profile=objects,
)


@lru_cache
def model(kind: str) -> tuple[bytes, bytes | None]:
    if kind == "openvino":
        return tiny_models.openvino()
    if kind == "torch":
        return tiny_models.safetensors(), None
    return (tiny_models.tflite() if kind == "tflite" else tiny_models.onnx_model()), None


@given(manifests)
def test_a_document_says_what_was_written(manifest: artifact.Manifest) -> None:
    document = encode(manifest)
    assert decode(document) == manifest
    assert encode(decode(document)) == document


@given(manifests, st.sampled_from(KINDS))
@settings(max_examples=60)
def test_a_sealed_file_gives_back_its_parts(manifest: artifact.Manifest, kind: str) -> None:
    body, weights = model(kind)
    data = artifact.seal(kind, body, weights, manifest)
    file = artifact.read((data, weights) if weights is not None else data)
    assert file.state == "intact"
    assert file.manifest == replace(manifest, identity=file.identity)
    assert file.identity == artifact.identity(kind, body, weights)


@given(st.data())
@settings(max_examples=150)
def test_one_changed_byte_is_always_an_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    sealed, weights = sealed_model(kind)
    at = data.draw(st.integers(0, len(sealed) - 1))
    damaged = bytearray(sealed)
    damaged[at] ^= data.draw(st.integers(1, 255))
    source: Any = (bytes(damaged), weights) if weights is not None else bytes(damaged)
    with pytest.raises(EdgecvError):
        artifact.read(source)


@lru_cache
def sealed_model(kind: str) -> tuple[bytes, bytes | None]:
    body, weights = model(kind)
    precision = "int8" if kind == "tflite" else "float32"
    manifest = tiny_models.manifest(kind, precision)
    return artifact.seal(kind, body, weights, manifest), weights


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_readers(data: bytes) -> None:
    """Only the documented errors, whatever the bytes are."""
    checkpoint = b"\x40" + bytes(7) + b'{"__metadata__":{"edgecv":"'
    for prefix in (b"", b"\x1c\0\0\0TFL3", b"\x08\x08", b"<?xml", checkpoint):
        for check in ("hash", "off"):
            with suppress(EdgecvError):
                artifact.read((prefix + data, b""), check=check)
            with suppress(EdgecvError):
                artifact.read(prefix + data, check=check)


@given(
    st.binary(max_size=64),
    st.binary(max_size=64),
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True).filter(
            lambda n: n != tflite_tail.MEMBER
        ),
        st.binary(max_size=40),
        max_size=3,
    ),
)
def test_tails_are_inverse(body: bytes, document: bytes, members: dict[str, bytes]) -> None:
    data = body + tflite_tail.make_tail(len(body), document, members)
    parts = tflite_tail.split(data)
    assert (parts.body, parts.document, dict(parts.members)) == (body, document, members)


@given(st.binary(max_size=300))
def test_entries_and_elements_are_inverse(document: bytes) -> None:
    onnx_body = tiny_models.onnx_add()
    parts = onnx_entry.split(onnx_body + onnx_entry.make_entry(document))
    assert (parts.body, parts.document) == (onnx_body, document)
    ascii_text = bytes(b & 0x7F for b in document)
    for xml in (b"<net><rt_info /></net>\n", b"<net></net>", b"<net><rt_info>a</rt_info>\n</net>"):
        once = xml_element.join(xml, ascii_text)
        split = xml_element.split(once)
        assert split.document == ascii_text
        assert xml_element.join(split.body, ascii_text) == once
    for header in (b"{}", b'{"a":{}}', b'{"__metadata__":{}}   ', b'{"__metadata__":{"b":"c"}}'):
        once = safetensors_header.join(
            len(header).to_bytes(8, "little") + header + b"tensors", ascii_text
        )
        split = safetensors_header.split(once)
        assert split.document == ascii_text
        assert safetensors_header.join(split.body, ascii_text) == once
        assert split.body.endswith(b"tensors")
