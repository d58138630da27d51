"""Files that others attach to a TFLite file as a zip archive behind the flatbuffer.

The artifact layer has the members of archives without compression. Ultralytics compresses, so that
those are read here, each within a bound.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from typing import Final

from edgecv.artifact import ModelFile

__all__ = ["attached"]

_MAX_BYTES: Final = 4 * 2**20
_MAX_MEMBERS: Final = 64
_END = b"PK\x05\x06"
#: The directory's end lies in the last bytes: its 22, and a comment of at most 65,535.
_TAIL: Final = 22 + 65_535

#: RuntimeError and its child NotImplementedError: encrypted, or a compression that is not known here.
_ERRORS: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(ValueError, LookupError, RuntimeError),
)


def attached(file: ModelFile) -> dict[str, bytes]:
    """Name → content of the attached files; what is damaged or large beyond reason is left out."""
    if file.members or _END not in file.body[-_TAIL:]:
        return {name: data for name, data in file.members.items() if len(data) <= _MAX_BYTES}
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(BytesIO(file.body)) as archive:
            for info in archive.infolist()[:_MAX_MEMBERS]:
                if info.is_dir() or info.file_size > _MAX_BYTES:
                    continue
                with archive.open(info) as member:
                    # one more, since the directory may lie about the size
                    content = member.read(_MAX_BYTES + 1)
                if len(content) <= _MAX_BYTES:
                    found[info.filename] = content
    except _ERRORS:
        return found
    return found
