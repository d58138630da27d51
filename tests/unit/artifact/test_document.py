"""The manifest's document: every wrong field is named with its value."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_models

from edgecv import artifact
from edgecv.artifact.document import decode, encode
from edgecv.errors import InputError, ModelLoadError


def values() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(encode(tiny_models.manifest("tflite", "int8")))
    return document


def broken(path: str, value: Any) -> dict[str, Any]:
    """The document with one value replaced; ``"inputs.0.shape"`` goes inside."""
    document = values()
    *parents, last = path.split(".")
    node: Any = document
    for key in parents:
        node = node[int(key)] if key.isdigit() else node[key]
    node[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("task", "detection", "task is 'detection', not one of classification"),
        ("labels", "abc", "labels is 'abc', not a list"),
        ("labels", ["a", 1], r"labels is \['a', 1\], not a list of texts"),
        ("score_kind", None, "score_kind is None, not text"),
        ("precision", "int4", "precision is 'int4'"),
        ("identity", "sha256:12", "not a SHA-256 digest"),
        ("tools", {"edgecv": 1}, "not an object of texts"),
        ("parent", [], "parent is .*, not an object or null"),
        ("preprocess", 3, "preprocess is 3, not an object"),
        ("preprocess.size", [8], r"preprocess\.size is \[8\], not 2 integers from 1"),
        ("preprocess.size", [8, 0], "not 2 integers from 1"),
        ("preprocess.size", [8, 6.5], "not 2 integers from 1"),
        ("preprocess.crop_fraction", 0, r"not a number in \(0, 1\]"),
        ("preprocess.crop_fraction", True, "not a number"),
        ("preprocess.resize", "letterbox", "not one of shortest, stretch"),
        ("preprocess.mean", [0.0, 0.0], "not three numbers"),
        ("preprocess.std", [1.0, 0.0, 1.0], "not three positive numbers"),
        ("inputs.0.name", 5, r"inputs\[0\]\.name is 5, not text"),
        ("inputs.0.shape", [1, -2], r"inputs\[0\]\.shape"),
        ("inputs.0.dtype", "int7", r"inputs\[0\]\.dtype is 'int7'"),
        ("inputs.0.quantization.scale", 0.1, "not a float32 value"),
        ("inputs.0.quantization.scale", -0.5, "not positive"),
        ("inputs.0.quantization.zero_point", 200, "outside int8"),
        ("quantizers.1.scale", 0.3, r"quantizers\[1\] is wrong: .*not a float32 value"),
        ("quantizers.1.zero_point", 1.0, r"quantizers\[1\]\.zero_point is 1\.0, not an integer"),
        ("schema_version", "1.x", "schema_version is '1.x'"),
        ("schema_version", 1.0, r"schema_version is 1\.0"),
    ],
)
def test_wrong_values(path: str, value: Any, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        artifact.manifest_from_json(broken(path, value))


@pytest.mark.parametrize("key", sorted(set(values()) - {"digest"}))
def test_missing_keys(key: str) -> None:
    document = values()
    del document[key]
    with pytest.raises(ModelLoadError, match=key):
        artifact.manifest_from_json(document)


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema_version":"1.0"}', b"[" * 100_000, b"NaN"],
)
def test_other_text(document: bytes) -> None:
    with pytest.raises(ModelLoadError, match="manifest is damaged"):
        decode(document)


def test_only_canonical_text_is_accepted() -> None:
    document = encode(tiny_models.manifest("tflite", "int8"))
    assert decode(document).labels == tiny_models.LABELS
    for changed in (
        document.replace(b":", b": ", 1),
        document.replace(b'"1.0"', b'"1.1"'),
        document.replace(b"-128", b"-127", 1),
        document.replace(b'"labels":', b'"labels":[],"labels":'),
    ):
        assert changed != document
        with pytest.raises(ModelLoadError, match="digest does not fit"):
            decode(changed)


@pytest.mark.parametrize("scale", [1 / 255, 0.1, 1e-38, 3.4e38, 1.0, 2.0**-149])
def test_float32_scales_survive_bit_for_bit(scale: float) -> None:
    exact = float(np.float32(scale))
    record = artifact.QuantizerRecord("t", exact, 0)
    manifest = replace(tiny_models.manifest("onnx", "int8"), quantizers=(record,))
    back = decode(encode(manifest)).quantizers[0].scale
    assert np.float32(back).tobytes() == np.float32(exact).tobytes()


@pytest.mark.parametrize("value", [{"x": {1, 2}}, {"x": np.float32(1)}, {"x": float("inf")}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    manifest = replace(tiny_models.manifest("onnx", "int8"), calibration=value)
    with pytest.raises(InputError, match="manifest cannot be written"):
        encode(manifest)


def test_leftovers_of_a_list_that_changed_are_dropped() -> None:
    document = values()
    document["quantizers"][0]["histogram"] = [1, 2]
    manifest = artifact.manifest_from_json(document)
    assert artifact.manifest_to_json(manifest)["quantizers"][0]["histogram"] == [1, 2]
    fewer = replace(manifest, quantizers=manifest.quantizers[1:])
    assert all("histogram" not in q for q in artifact.manifest_to_json(fewer)["quantizers"])
