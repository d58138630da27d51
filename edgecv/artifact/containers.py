"""Where the manifest lives in each kind of file: taking a file apart and putting it together.

A module per kind (``tflite_tail``, ``onnx_entry``, ``xml_element``) works on bytes. Its ``split``
gives the model without its manifest, the manifest's document when there is one in its place, and
whether there are traces of one elsewhere. Writing is deterministic and the exact inverse: writing
again what was split, and comparing, proves that nobody touched the container.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["KEY", "Parts", "holds_traces"]

#: Name of the manifest inside every kind of file.
KEY = "edgecv"

#: Pieces that every document holds, in its own order; two of them are no accident.
_TRACES = (b'"left_out":[', b'"quantizers":[', b'"schema_version":"', b'"score_kind":"')


class Parts(NamedTuple):
    """A file taken apart.

    Attributes:
        body: The model without its manifest; engines get exactly this.
        document: The manifest as it stands in the file, or None.
        members: Other files in the container (TFLite's zip tail): name → content.
        traces: Something of a manifest is there, but no document in its place.
    """

    body: bytes
    document: bytes | None = None
    members: Mapping[str, bytes] = MappingProxyType({})
    traces: bool = False


def holds_traces(data: bytes, *, quote: bytes = b'"') -> bool:
    """Whether *data* holds pieces of a manifest's document, whose quotes are written as *quote*.

    >>> holds_traces(b'..."left_out":[],"quantizers":[...'), holds_traces(b'"score_kind":"')
    (True, False)
    """
    return sum(trace.replace(b'"', quote) in data for trace in _TRACES) >= 2
