"""Cutting a stream of bytes into JPEG files: a camera program's pipe, or a multipart answer."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["JpegSplitter"]

_SOI: Final = b"\xff\xd8\xff"
#: Markers without a length: TEM, RST0 to RST7.
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})


class JpegSplitter:
    """Finds whole JPEG files in bytes as they come; what stands between them is skipped.

    The end is found by walking the segments, since a thumbnail in the metadata has an end marker of its
    own. A file that the next one cuts short is given as it is: decoding it fails, and that is counted.

    Args:
        most_bytes: A file that is longer is no picture; what is held is dropped.

    >>> one = b"\\xff\\xd8\\xff\\xe0\\x00\\x04ab\\xff\\xda\\x00\\x02pixels\\xff\\x00\\xff\\xd9"
    >>> splitter = JpegSplitter()
    >>> splitter.feed(b"--boundary" + one + one[:9])
    >>> splitter.take() == one, splitter.take()
    (True, None)
    """

    def __init__(self, most_bytes: int = 16 << 20) -> None:
        self._most = most_bytes
        self._data = bytearray()
        self._at = 0  # how far the file at the front has been walked; 0 before its start was found
        self._scan = False  # whether that is inside of entropy-coded data
        self._whole: deque[bytes] = deque()

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        self._data += data
        while self._step():
            pass

    def take(self) -> bytes | None:
        """The next file, or None."""
        return self._whole.popleft() if self._whole else None

    def _step(self) -> bool:
        """Walk on; False when more bytes are needed."""
        if self._at == 0:
            return self._find_start()
        if len(self._data) > self._most:
            # no picture is that large: look for another start behind this one
            self._restart(1)
            return True
        return self._walk_scan() if self._scan else self._walk_segment()

    def _find_start(self) -> bool:
        start = self._data.find(_SOI)
        if start < 0:
            del self._data[: max(0, len(self._data) - 2)]
            return False
        del self._data[:start]
        self._at, self._scan = 2, False
        return True

    def _walk_segment(self) -> bool:
        data, at = self._data, self._at
        if len(data) < at + 4:
            return False
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xD8:
            # damaged: it is cut here, and the search goes on
            self._cut(at)
            return True
        if marker == 0xD9:
            self._cut(at + 2)
            return True
        if marker == 0xFF or marker in _ALONE:
            self._at += 1 if marker == 0xFF else 2
            return True
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if len(data) < end:
            return False
        self._at, self._scan = end, marker == 0xDA
        return True

    def _walk_scan(self) -> bool:
        data = self._data
        place = data.find(b"\xff", self._at)
        if place < 0 or place + 1 >= len(data):
            self._at = place if place >= 0 else len(data)
            return False
        marker = data[place + 1]
        if marker == 0 or 0xD0 <= marker <= 0xD7:
            self._at = place + 2
        elif marker == 0xFF:
            self._at = place + 1
        elif marker == 0xD9:
            self._cut(place + 2)
        elif marker == 0xD8:
            self._cut(place)
        else:
            self._at, self._scan = place, False  # a further scan of a progressive file
        return True

    def _cut(self, end: int) -> None:
        self._whole.append(bytes(self._data[:end]))
        self._restart(end)

    def _restart(self, start: int) -> None:
        del self._data[:start]
        self._at, self._scan = 0, False
