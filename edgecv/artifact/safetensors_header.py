"""Checkpoints: the manifest is the first entry of a safetensors header's ``__metadata__``.

A safetensors file is the size of its header (eight bytes, little endian), the header (JSON, filled up
with spaces to a multiple of eight) and the tensors. The header is edited as bytes and never parsed
here; only :mod:`edgecv.quantize`, which has the library, reads tensors.
Format: safetensors' README, section "Format".
"""

from __future__ import annotations

import json
import re
import struct
from typing import Final

from edgecv.artifact.containers import KEY, Parts, holds_traces

__all__ = ["join", "looks_like_safetensors", "split"]

_SIZE = struct.Struct("<Q")
#: The library reads no larger header.
_MAX_HEADER: Final = 100_000_000
_ALIGNMENT: Final = 8
_OPEN: Final = b'{"__metadata__":{'
_ENTRY = re.compile(rb'"%s":"([^"\\]*(?:\\.[^"\\]*)*)"' % KEY.encode())
#: Quotes inside the document, which is text inside JSON.
_QUOTE: Final = b'\\"'


def looks_like_safetensors(data: bytes) -> bool:
    """Whether *data* begins like a safetensors file, whole or cut off.

    >>> looks_like_safetensors(b"\\x08" + bytes(7) + b'{"a":1} '), looks_like_safetensors(b"\\x08{")
    (True, False)
    """
    return data[8:9] == b"{" and 2 <= _SIZE.unpack_from(data)[0] <= _MAX_HEADER


def split(data: bytes) -> Parts:
    """Take a checkpoint apart.

    Raises:
        ValueError: The header is cut off.
    """
    text, tensors = _header(data)
    start = len(_OPEN)
    found = _ENTRY.match(text, start) if text.startswith(_OPEN) else None
    document = _unescape(found[1]) if found else None
    if found is None or document is None:
        named = b'"%s":' % KEY.encode() in text
        return Parts(data, traces=named or holds_traces(text, quote=_QUOTE))
    rest = text[found.end() :].removeprefix(b",")
    return Parts(_file(text[:start] + rest, tensors), document)


def join(body: bytes, document: bytes) -> bytes:
    """Put *document* first into the metadata, which is made when there is none.

    Raises:
        ValueError: The header of *body* is cut off or no object.
    """
    text, tensors = _header(body)
    if not text.startswith(_OPEN):
        if text[:1] != b"{" or text[-1:] != b"}":
            raise ValueError("its header is no JSON object")
        text = _OPEN + b"}" + (b"," if text[1:2] != b"}" else b"") + text[1:]
    rest = text[len(_OPEN) :]
    entry = b'"%s":%s' % (KEY.encode(), _escape(document))
    return _file(_OPEN + entry + (b"" if rest[:1] == b"}" else b",") + rest, tensors)


def _header(data: bytes) -> tuple[bytes, bytes]:
    """The header without what fills it up, and the tensors."""
    if len(data) < _SIZE.size:
        raise ValueError("its header is cut off")
    size = _SIZE.unpack_from(data)[0]
    end = _SIZE.size + size
    if end > len(data):
        raise ValueError(f"its header ends {end - len(data)} bytes behind the end")
    return data[_SIZE.size : end].rstrip(b" "), data[end:]


def _file(text: bytes, tensors: bytes) -> bytes:
    padded = text + b" " * (-len(text) % _ALIGNMENT)
    return _SIZE.pack(len(padded)) + padded + tensors


def _escape(document: bytes) -> bytes:
    return json.dumps(document.decode("ascii")).encode("ascii")


def _unescape(text: bytes) -> bytes | None:
    """The document, or None where *text* is not what :func:`_escape` gives."""
    try:
        document = json.loads(b'"%s"' % text).encode("ascii")
    except ValueError:
        return None
    return document if _escape(document) == b'"%s"' % text else None
