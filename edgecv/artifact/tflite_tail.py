"""TFLite: a zip archive after the flatbuffer (TFLite Metadata's associated files).

Members are stored uncompressed, because MediaPipe refuses anything else, with offsets counted from
the start of the file and no time stamps. The flatbuffer's own readers ignore what follows it.
Format: PKWARE APPNOTE 6.3.3, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from typing import Final

from edgecv.artifact.containers import Parts, holds_traces
from edgecv.errors import InputError

__all__ = ["IDENTIFIER", "MEMBER", "make_tail", "split"]

#: Bytes 4 to 8 of a TFLite file.
IDENTIFIER: Final = b"TFL3"
#: Member that holds the manifest; the first one, so that a tail cut off early still shows its name.
MEMBER: Final = "edgecv.json"

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_LOCAL_SIGN, _CENTRAL_SIGN, _END_SIGN = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 20  # 2.0: the least that a reader must support
_MADE_BY_UNIX = 3 << 8 | _VERSION
_DAY_ONE = 1 << 5 | 1  # 1980-01-01 in MS-DOS form: 0 would be no date
_MODE = 0o100644 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def split(data: bytes) -> Parts:
    """Take a TFLite file apart; a tail that is not ours stays readable as members."""
    tail = _read_tail(data)
    if tail is None:
        cut_off = data.rfind(_LOCAL_SIGN, max(0, len(data) - 64)) >= 0
        named = MEMBER.encode() in data
        return Parts(data, traces=cut_off or named or holds_traces(data))
    start, members = tail
    document = members.pop(MEMBER, None)
    traces = document is None and (MEMBER.encode() in data or holds_traces(data))
    return Parts(data[:start], document, members, traces)


def make_tail(start: int, document: bytes, members: Mapping[str, bytes]) -> bytes:
    """The archive that follows a flatbuffer of *start* bytes: the manifest, then *members* by name.

    Raises:
        InputError: A member's name is not a plain file name.
    """
    for name in members:
        if not _NAME.fullmatch(name) or name == MEMBER:
            raise InputError(
                f"{name!r} cannot be the name of an attached file",
                cure="Use letters, digits, '.', '_' and '-'.",
            )
    files = [(MEMBER, document), *sorted(members.items())]
    local, central = bytearray(), bytearray()
    for name, content in files:
        crc, size, raw = zlib.crc32(content), len(content), name.encode("ascii")
        offset = start + len(local)
        common = (_VERSION, 0, 0, 0, _DAY_ONE, crc, size, size, len(raw), 0)
        local += _LOCAL.pack(_LOCAL_SIGN, *common) + raw + content
        central += _CENTRAL.pack(_CENTRAL_SIGN, _MADE_BY_UNIX, *common, 0, 0, 0, _MODE, offset)
        central += raw
    at, count = start + len(local), len(files)
    end = _END.pack(_END_SIGN, 0, 0, count, count, len(central), at, 0)
    return bytes(local + central + end)


def _read_tail(data: bytes) -> tuple[int, dict[str, bytes]] | None:
    """Start of the archive and its members, or None when there is no stored archive at the end."""
    end = len(data) - _END.size
    if end < 0:
        return None
    sign, disk, first_disk, here, count, size, at, comment = _END.unpack_from(data, end)
    if sign != _END_SIGN or disk or first_disk or here != count or comment or not count:
        return None
    if at + size != end:
        return None
    members: dict[str, bytes] = {}
    start = at
    for _ in range(count):
        member = _read_member(data, at, end)
        if member is None:
            return None
        at, offset, name, content = member
        if name in members:
            return None
        start = min(start, offset)
        members[name] = content
    return (start, members) if at == end else None


def _read_member(data: bytes, at: int, end: int) -> tuple[int, int, str, bytes] | None:
    """Position behind a directory entry, offset of its local header, its name and content."""
    if at + _CENTRAL.size > end:
        return None
    entry = _CENTRAL.unpack_from(data, at)
    sign, method, crc, packed, size = entry[0], entry[4], *entry[7:10]
    name_size, extra_size, comment_size, offset = entry[10], entry[11], entry[12], entry[16]
    behind = at + _CENTRAL.size + name_size + extra_size + comment_size
    if sign != _CENTRAL_SIGN or method != 0 or packed != size or behind > end:
        return None
    raw = data[at + _CENTRAL.size : at + _CENTRAL.size + name_size]
    if offset + _LOCAL.size > at:
        return None
    header = _LOCAL.unpack_from(data, offset)
    name_at = offset + _LOCAL.size
    content_at = name_at + header[9] + header[10]
    content = data[content_at : content_at + size]
    if header[0] != _LOCAL_SIGN or data[name_at : name_at + header[9]] != raw:
        return None
    if len(content) != size or content_at + size > at or zlib.crc32(content) != crc:
        return None
    return behind, offset, raw.decode("utf-8", "replace"), content
