"""Reading pictures: every file is decoded once before anything is trained on or measured."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image

from edgecv.data.model import Dataset
from edgecv.errors import InputError
from edgecv.preprocess.read import FORMATS, open_picture

__all__ = ["extensions", "in_threads", "read_picture", "verify"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def extensions() -> frozenset[str]:
    """Lower-case file name endings of the formats that are decoded and that this Pillow can open."""
    return frozenset(
        ending
        for ending, name in Image.registered_extensions().items()
        if name in FORMATS and name in Image.OPEN
    )


def read_picture(path: Path) -> Image.Image:
    """Open and fully decode a picture, in its own mode.

    Raises:
        InputError: Missing, unreadable, damaged, or larger than Pillow's limit of pixels.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be read: {error.strerror}", cure="Check the path and its permissions."
        ) from error
    return open_picture(data, f"'{path}'")


def verify(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> None:
    """Decode every picture.

    Args:
        dataset: What was scanned.
        progress: Called with (done, total) now and then.

    Raises:
        InputError: Pictures cannot be decoded; the first five are named.
    """
    with warnings.catch_warnings():
        # damaged metadata is no reason to bother anyone; a picture too large to be one is an error
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        faults = [
            fault
            for fault in in_threads(_fault, [item.path for item in dataset.items], progress)
            if fault is not None
        ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InputError(
            "; ".join(fault.what for fault in faults[:5]) + more,
            cure="Replace or remove these files.",
        )


def _fault(path: Path) -> InputError | None:
    try:
        read_picture(path)
    except InputError as error:
        return error
    return None


def in_threads(
    function: Callable[[_In], _Out],
    values: Iterable[_In],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[_Out]:
    """Map over threads in order (hashing and Pillow's decoders release the interpreter's lock)."""
    values = list(values)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, result in enumerate(pool.map(function, values), start=1):
            if progress and (done % 100 == 0 or done == len(values)):
                progress(done, len(values))
            yield result
