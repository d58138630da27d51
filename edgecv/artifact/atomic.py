"""Writing files so that readers see the old content or the new, never a part."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["replace_all", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write *content* to a temporary file beside *path*, then rename it over *path*.

    The content reaches the disk before the name does (boards lose power). An existing file keeps
    its permissions; a symbolic link keeps pointing where it did.

    Raises:
        OSError: The folder cannot be written; nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(handle, target.stat().st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(handle)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_all(moves: Mapping[Path, Path]) -> None:
    """Rename finished files over their final names: all of them, or none.

    Args:
        moves: Temporary file → final name, on the same file system.

    Raises:
        OSError: A rename failed; the files that were there before are back under their names.
    """
    aside: dict[Path, Path] = {}
    placed: list[Path] = []
    try:
        for temporary, final in moves.items():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            if final.exists():
                kept = final.with_name(f".{final.name}.{os.urandom(4).hex()}.before")
                final.rename(kept)
                aside[final] = kept
            temporary.rename(final)
            placed.append(final)
    except BaseException:
        for final in placed:
            final.unlink()
        for final, kept in aside.items():
            kept.rename(final)
        raise
    for kept in aside.values():
        kept.unlink()
