"""Whole files or none."""

from __future__ import annotations

import os
from pathlib import Path

from edgecv.errors import InputError

__all__ = ["write_bytes"]


def write_bytes(path: Path, content: bytes) -> None:
    """Write *content* to *path* through a temporary file beside it: no reader sees half of it.

    Raises:
        InputError: The folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"the folder {str(path.parent)!r} does not exist", cure="Create it first.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
