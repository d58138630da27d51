"""Small text files that a caller names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgecv.errors import InputError

__all__ = ["read_text"]

_MAX_BYTES: Final = 16 * 2**20


def read_text(path: str | Path) -> str:
    """Content of a UTF-8 file, without its byte order mark.

    Raises:
        InputError: Missing, no regular file, too large for what it should be, or not UTF-8.
    """
    file = Path(path)
    try:
        if not file.is_file():
            # a device or a pipe would never end
            reason = "not a regular file" if file.exists() else "no such file"
            raise InputError(f"'{path}' cannot be read: {reason}", cure="Check the path.")
        if file.stat().st_size > _MAX_BYTES:
            raise InputError(
                f"'{path}' has {file.stat().st_size} bytes, so it is no list of labels or settings",
                cure="Check the path.",
            )
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise InputError(
                f"'{path}' is not UTF-8 text: {error.reason} at byte {error.start}",
                cure="Save it as UTF-8.",
            ) from error
        # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"'{path}' cannot be read: {reason}", cure="Check the path.") from error
