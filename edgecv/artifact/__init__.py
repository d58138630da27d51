"""Model files and the manifest that travels inside them.

>>> from edgecv import artifact
>>> artifact.detect(b"<?xml version='1.0'?><net/>")
'openvino'
"""

from __future__ import annotations

from edgecv.artifact.atomic import replace_all, write_atomically
from edgecv.artifact.document import manifest_from_json, manifest_to_json, sha256
from edgecv.artifact.file import (
    KINDS,
    ModelFile,
    Source,
    detect,
    identity,
    read,
    seal,
    seal_file,
    update,
)
from edgecv.artifact.manifest import SCHEMA_VERSION, Manifest, Preprocess, QuantizerRecord

__all__ = [
    "KINDS",
    "SCHEMA_VERSION",
    "Manifest",
    "ModelFile",
    "Preprocess",
    "QuantizerRecord",
    "Source",
    "detect",
    "identity",
    "manifest_from_json",
    "manifest_to_json",
    "read",
    "replace_all",
    "seal",
    "seal_file",
    "sha256",
    "update",
    "write_atomically",
]
