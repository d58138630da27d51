"""OpenVINO: the manifest is the element ``<edgecv value="…"/>``, last in the net's ``rt_info``.

The xml is edited as bytes and never parsed: what OpenVINO wrote stays as it is, and nothing in a
hostile file (entities, depth) can act here.
"""

from __future__ import annotations

import re
from typing import Final

from edgecv.artifact.containers import KEY, Parts, holds_traces

__all__ = ["ends_like_ir", "join", "split"]

_ELEMENT = re.compile(rb'<edgecv value="([^"<>]*)"/>')
_END = re.compile(rb"</net>\s*\Z")
_INFO_END = re.compile(rb"</rt_info>\s*</net>\s*\Z")
_INFO_EMPTY = re.compile(rb"<rt_info\s*/>(?=\s*</net>\s*\Z)")
# "&" first when writing, last when reading
_ESCAPES: Final = ((b"&", b"&amp;"), (b'"', b"&quot;"), (b"<", b"&lt;"), (b">", b"&gt;"))
#: The closing tags lie within this many bytes of the end; regular expressions look no further.
_TAIL = 4096


def ends_like_ir(data: bytes) -> bool:
    """Whether *data* ends with the closing tag of an IR.

    >>> ends_like_ir(b"<net></net>\\n"), ends_like_ir(b"<net><layers>")
    (True, False)
    """
    return _END.search(data, max(0, len(data) - _TAIL)) is not None


def split(data: bytes) -> Parts:
    """Take an IR's xml apart."""
    found = list(_ELEMENT.finditer(data))
    if len(found) != 1:
        traces = bool(found) or b"<edgecv" in data or holds_traces(data, quote=b"&quot;")
        return Parts(data, traces=traces)
    element = found[0]
    body = data[: element.start()] + data[element.end() :]
    return Parts(body, _unescape(element.group(1)))


def join(body: bytes, document: bytes) -> bytes:
    """Insert the manifest; an ``rt_info`` is made when there is none or an empty one.

    Raises:
        ValueError: *body* does not end like an IR.
    """
    element = b'<%s value="%s"/>' % (KEY.encode(), _escape(document))
    near_end = max(0, len(body) - _TAIL)
    if info := _INFO_END.search(body, near_end):
        return body[: info.start()] + element + body[info.start() :]
    if empty := _INFO_EMPTY.search(body, near_end):
        return body[: empty.start()] + b"<rt_info>" + element + b"</rt_info>" + body[empty.end() :]
    if end := _END.search(body, near_end):
        return body[: end.start()] + b"<rt_info>" + element + b"</rt_info>" + body[end.start() :]
    raise ValueError("the xml does not end with </net>")


def _escape(text: bytes) -> bytes:
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text


def _unescape(text: bytes) -> bytes:
    for plain, escaped in reversed(_ESCAPES):
        text = text.replace(escaped, plain)
    return text
