"""The manifest as text: canonical JSON with its own digest, and a strict reader with clear errors.

Canonical form: keys sorted, no spaces, ASCII only, floats as their shortest exact decimal (so a
float32 scale held as a Python float survives bit for bit). A document that is not in canonical form
was not written by edgecv, or was changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgecv.artifact.fields import Fields, damaged
from edgecv.artifact.manifest import SCHEMA_VERSION, Manifest, Preprocess, QuantizerRecord
from edgecv.errors import InputError, ModelLoadError
from edgecv.spec.types import QuantParams, TensorSpec

__all__ = [
    "decode",
    "encode",
    "manifest_from_json",
    "manifest_to_json",
    "read_preprocess",
    "sha256",
]

_OBJECTS = ("training_data", "parent", "calibration", "verification", "drift_profile")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?")
_DTYPES = (
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "bool"),
)


def sha256(*parts: bytes) -> str:
    """Digest of the concatenated *parts* as ``"sha256:<64 hex digits>"``.

    >>> sha256(b"")[:20]
    'sha256:e3b0c44298fc1'
    """
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return f"sha256:{state.hexdigest()}"


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON-ready values, without the document's digest.

    Keys of a newer minor version (:attr:`Manifest.extra`) stand where they were found.

    >>> manifest_to_json(Manifest(("a", "b"), None, (), (), "int8"))["labels"]
    ['a', 'b']
    """
    document = _plain(asdict(manifest))
    extra = document.pop("extra")
    if manifest.preprocess is not None:
        for key in ("crop_fraction", "mean", "std"):
            value = document["preprocess"][key]
            floats = [float(v) for v in value] if isinstance(value, list) else float(value)
            document["preprocess"][key] = floats
    merged: dict[str, Any] = _merge(document, extra)
    return merged


def encode(manifest: Manifest) -> bytes:
    """The canonical document of *manifest*, with its digest.

    Raises:
        InputError: A field holds something that the schema does not allow.
    """
    try:
        document = manifest_to_json(manifest)
        document["digest"] = sha256(_canonical(document))
        manifest_from_json(document)
        return _canonical(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the manifest cannot be written: {error}",
            cure="Use finite numbers, text, lists, dicts.",
        ) from error
    except ModelLoadError as error:
        raise InputError(
            f"the manifest cannot be written: {error.what}", cure="Correct that field."
        ) from error


def decode(document: bytes) -> Manifest:
    """Read a canonical document.

    Raises:
        ModelLoadError: Not canonical JSON, a digest that does not fit, a field that is missing or
            wrong, or a newer major version.
    """
    try:
        values = json.loads(document.decode("ascii"))
        canonical = _canonical(values)
    except (ValueError, RecursionError) as error:
        raise damaged(f"it is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise damaged("it is not a JSON object")
    # the version first: a newer major version may digest differently
    _check_version(values.get("schema_version"))
    body = {key: value for key, value in values.items() if key != "digest"}
    if canonical != document or values.get("digest") != sha256(_canonical(body)):
        raise damaged("its digest does not fit its content")
    return manifest_from_json(values)


def manifest_from_json(values: Mapping[str, Any]) -> Manifest:
    """Check every field and build the manifest; the digest is not looked at.

    Raises:
        ModelLoadError: A field is missing or wrong; it is named with its value.
    """
    version = _check_version(values.get("schema_version"))
    top = Fields(values, "")
    top.skip("digest", "schema_version")
    objects = {key: top.free_object(key) for key in _OBJECTS}
    return Manifest(
        labels=top.texts("labels"),
        preprocess=top.optional("preprocess", read_preprocess),
        inputs=top.each("inputs", _tensor),
        outputs=top.each("outputs", _tensor),
        precision=top.choice("precision", ("int8", "float32", "float16")),
        task=top.choice("task", ("classification",)),
        score_kind=top.choice("score_kind", ("logit", "probability")),
        quantizers=top.each("quantizers", _quantizer),
        left_out=top.texts("left_out"),
        tools=top.text_object("tools"),
        identity=top.digest("identity"),
        schema_version=version,
        **objects,
        # last, when every known key has been taken
        extra=top.leftovers(),
    )


def _check_version(version: Any) -> str:
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise damaged(f"its schema_version is {version!r}")
    if int(version.partition(".")[0]) > int(SCHEMA_VERSION.partition(".")[0]):
        raise ModelLoadError(
            f"its manifest has version {version}, and this edgecv reads up to {SCHEMA_VERSION}",
            cure="Upgrade with: pip install --upgrade edgecv (or the wheel that wrote the file).",
        )
    return version


def read_preprocess(fields: Fields) -> Preprocess:
    """The fields of a :class:`Preprocess`, each checked; errors as *fields* makes them."""
    crop = fields.number("crop_fraction")
    if not 0 < crop <= 1:
        raise fields.wrong("crop_fraction", "a number in (0, 1]")
    height, width = fields.integers("size", count=2, low=1)
    return Preprocess(
        size=(height, width),
        resize=fields.choice("resize", ("shortest", "stretch")),
        crop_fraction=crop,
        interpolation=fields.choice("interpolation", ("bicubic", "bilinear", "nearest")),
        color=fields.choice("color", ("rgb", "bgr")),
        mean=fields.triple("mean"),
        std=fields.triple("std", positive=True),
    )


def _tensor(fields: Fields) -> TensorSpec:
    return TensorSpec(
        name=fields.text("name"),
        # -1 is a dimension that the file leaves open
        shape=fields.integers("shape", low=-1),
        dtype=fields.choice("dtype", _DTYPES),
        layout=fields.text("layout"),
        quantization=fields.optional("quantization", _quant_params),
    )


def _quant_params(fields: Fields) -> QuantParams:
    dtype = fields.choice("dtype", ("int8", "uint8"))
    try:
        return QuantParams(fields.number("scale"), fields.integer("zero_point"), dtype)
    except InputError as error:
        raise damaged(f"{fields.where} is wrong: {error.what}") from error


def _quantizer(fields: Fields) -> QuantizerRecord:
    name, scale, zero_point = (
        fields.text("name"),
        fields.number("scale"),
        fields.integer("zero_point"),
    )
    try:
        QuantParams(scale, zero_point)
    except InputError as error:
        raise damaged(f"{fields.where} is wrong: {error.what}") from error
    return QuantizerRecord(name, scale, zero_point)


def _canonical(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a document equals what reading it gives."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _merge(document: Any, extra: Any) -> Any:
    """Put leftovers back at their places; what the document says itself wins."""
    if isinstance(document, dict) and isinstance(extra, dict):
        return {
            **extra,
            **{key: _merge(value, extra.get(key)) for key, value in document.items()},
        }
    # a list that has changed since says nothing about which item an unknown key belonged to
    if isinstance(document, list) and isinstance(extra, list) and len(document) == len(extra):
        return [_merge(item, more) for item, more in zip(document, extra, strict=True)]
    return document
