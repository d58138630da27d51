"""The four kinds of files behind one pair of functions: taking a file apart, putting it together.

A device app reads one kind: the module of each but TFLite, which boards run, is loaded when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgecv.artifact import tflite_tail
from edgecv.artifact.containers import Parts
from edgecv.errors import InputError, ModelLoadError

__all__ = ["COPY_AGAIN", "KINDS", "is_exact", "join", "split"]

#: Kinds of model files; ``"torch"`` is the checkpoint of a training run, a safetensors file.
KINDS: Final = ("tflite", "openvino", "onnx", "torch")
COPY_AGAIN: Final = "Copy the file again from where it was made."
_FORMATS: Final = {"openvino": "OpenVINO", "onnx": "ONNX", "torch": "safetensors"}


def split(kind: str, data: bytes) -> Parts:
    """Take a file apart.

    Args:
        kind: One of :data:`KINDS`.
        data: The whole file (the xml for OpenVINO).

    Raises:
        ModelLoadError: Damaged beyond reading.
    """
    if kind == "tflite":
        return tflite_tail.split(data)
    from edgecv.artifact import onnx_entry, safetensors_header, xml_element

    if kind == "openvino":
        return xml_element.split(data)
    try:
        return safetensors_header.split(data) if kind == "torch" else onnx_entry.split(data)
    except ValueError as error:
        raise _damaged(kind, error) from error


def join(kind: str, body: bytes, document: bytes, members: Mapping[str, bytes]) -> bytes:
    """The file of a body, a manifest's document and (TFLite) attached files.

    Raises:
        ModelLoadError: *body* is damaged.
        InputError: A member's name is not a plain file name.
    """
    if kind == "tflite":
        return body + tflite_tail.make_tail(len(body), document, members)
    from edgecv.artifact import onnx_entry, safetensors_header, xml_element

    if kind == "onnx":
        return body + onnx_entry.make_entry(document)
    try:
        if kind == "torch":
            return safetensors_header.join(body, document)
        return xml_element.join(body, document)
    except ValueError as error:
        raise _damaged(kind, error) from error


def is_exact(kind: str, data: bytes, parts: Parts) -> bool:
    """Whether sealing the parts again gives *data*."""
    document = parts.document or b""
    try:
        if kind in ("openvino", "torch"):
            return join(kind, parts.body, document, {}) == data
        # a large body is not copied
        if kind == "tflite":
            tail = tflite_tail.make_tail(len(parts.body), document, parts.members)
        else:
            from edgecv.artifact import onnx_entry

            tail = onnx_entry.make_entry(document)
    except (ValueError, InputError, ModelLoadError):
        # a body or member name that edgecv would not have written
        return False
    return data.endswith(tail) and len(data) == len(parts.body) + len(tail)


def _damaged(kind: str, error: ValueError) -> ModelLoadError:
    return ModelLoadError(f"it is a damaged {_FORMATS[kind]} file: {error}", cure=COPY_AGAIN)
