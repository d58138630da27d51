"""Constants that a model keeps in other files: read into the model, from inside its folder only.

ONNX's ``docs/ExternalData.md``: location relative to the model's folder, offset, length. Whatever the
entries say, no more is read than the tensor's dimensions need.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from onnx import TensorProto

from edgecv.errors import ModelLoadError
from edgecv_converters.tensors import item_bytes

__all__ = ["embed"]

#: Characters of a path that an error repeats.
_SHOWN = 200
_TOGETHER = "Copy the model together with all of its files."


def embed(model: Any, folder: Path, limit: int) -> bool:
    """Read the data that *model* keeps outside, in place.

    Args:
        model: ``onnx.ModelProto``.
        folder: Where its file lies.
        limit: Bytes that the model may have in all.

    Returns:
        Whether there was any.

    Raises:
        ModelLoadError: A file that is missing, too short, or outside *folder*; or all of them together
            are too large.
        UnsupportedError: An element type that no operator here uses.
    """
    outside = [t for t in _tensors(model.graph) if t.data_location == TensorProto.EXTERNAL]
    total = model.ByteSize() + sum(map(_expected_bytes, outside))
    if outside and total > limit:
        raise ModelLoadError(
            f"the model has {total} bytes with the data in its other files",
            cure="A model as one file ends at 2 GiB.",
        )
    for tensor in outside:
        tensor.raw_data = _read(tensor, folder)
        del tensor.external_data[:]
        tensor.ClearField("data_location")
    return bool(outside)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            # branches of an If
            for nested in (*([attribute.g] * attribute.HasField("g")), *attribute.graphs):
                yield from _tensors(nested)


def _expected_bytes(tensor: Any) -> int:
    if any(d < 0 for d in tensor.dims):
        raise ModelLoadError(
            f"the constant {tensor.name!r} has dimensions {list(tensor.dims)}",
            cure="The file is damaged; export the model again.",
        )
    return int(prod(tensor.dims)) * item_bytes(tensor)


def _read(tensor: Any, folder: Path) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(tensor.name, entries.get("location", ""), folder)
    expected = _expected_bytes(tensor)
    offset = _number(tensor.name, "offset", entries.get("offset", "0"))
    length = _number(tensor.name, "length", entries.get("length", str(expected)))
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(expected)
    except OSError as error:
        raise ModelLoadError(
            f"the file '{path}' with the constant {tensor.name!r} cannot be read: {error.strerror}",
            cure=_TOGETHER,
        ) from error
    if len(data) != expected or length != expected:
        raise ModelLoadError(
            f"the constant {tensor.name!r} needs {expected} bytes at {offset} of '{path}'; its entry says"
            f" {length}, and {len(data)} are there",
            cure=_TOGETHER,
        )
    return data


def _inside(name: str, location: str, folder: Path) -> Path:
    """The file, symbolic links resolved, which must be a plain one inside *folder*."""
    home = folder.resolve()
    said = repr(location) if len(location) <= _SHOWN else f"{location[:_SHOWN]!r}…"
    try:
        path = (home / location).resolve()
        is_file = path.is_file()
    except (ValueError, OSError, RuntimeError) as error:
        # a NUL in the name, a name that is too long, a loop of links
        raise ModelLoadError(
            f"the constant {name!r} lies in {said}, which is no path", cure=_TOGETHER
        ) from error
    if not location or not path.is_relative_to(home):
        raise ModelLoadError(
            f"the constant {name!r} lies in {said}, outside the model's folder '{folder}'",
            cure="Move that file into the folder and save the model again, or save it as one file.",
        )
    if not is_file:
        raise ModelLoadError(
            f"the file '{path}' with the constant {name!r} is missing", cure=_TOGETHER
        )
    return path


def _number(name: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ModelLoadError(
            f"the {key} of the constant {name!r} in another file is {text!r}",
            cure="The file is damaged; export the model again.",
        )
    return int(text)
