"""The demo's output folder: replaced only when it is the demo's, restored when a run fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecv.errors import InputError

__all__ = ["MARKER", "output_folder"]

#: Says that a folder was made by the demo.
MARKER = ".edgecv-demo"


@contextmanager
def output_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A fresh folder *out*; on an error it is removed and what was there before comes back.

    Args:
        out: The folder.
        overwrite: Replace an earlier demo.

    Raises:
        InputError: Something else is there, or an earlier demo and *overwrite* is false.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"'{out}' is not a folder", cure="Choose another with --out.")
    occupied = out.is_dir() and any(out.iterdir())
    if occupied and not (out / MARKER).is_file():
        raise InputError(
            f"'{out}' holds files that are not of a demo", cure="Choose another with --out."
        )
    if occupied and not overwrite:
        raise InputError(
            f"'{out}' holds an earlier demo", cure="Use --overwrite, or another --out."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.before-{os.getpid()}")
    if out.exists():
        out.rename(aside)
    try:
        out.mkdir()
        (out / MARKER).write_text("made by edgecv demo\n", encoding="utf-8")
        yield out
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        if aside.exists():
            aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)
