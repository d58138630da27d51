"""Reading pictures: every file is decoded once before anything is trained on or measured."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from edgecv.data.model import Dataset
from edgecv.errors import InputError

__all__ = ["FORMATS", "extensions", "formats", "in_threads", "read_picture", "verify"]

#: Formats that are decoded. Pillow knows more, but EPS starts Ghostscript on the file, and FITS,
#: GRIB, HDF5 and the like are stubs that cannot be decoded.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "TGA")

#: What Pillow's decoders raise on damaged files, found by fuzzing and in its issue tracker.
_DECODE_ERRORS = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@cache
def formats() -> tuple[str, ...]:
    """Those of :data:`FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def extensions() -> frozenset[str]:
    """Lower-case file name endings of :data:`FORMATS` that this Pillow can open."""
    return frozenset(e for e, name in Image.registered_extensions().items() if name in formats())


def read_picture(path: Path) -> Image.Image:
    """Open and fully decode a picture.

    Raises:
        InputError: Missing, unreadable, damaged, or larger than Pillow's limit of pixels.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be read: {error.strerror}", cure="Check the path and its permissions."
        ) from error
    try:
        picture = Image.open(BytesIO(data), formats=formats())
        picture.load()
    except _DECODE_ERRORS as error:
        reason = "empty file" if not data else _reason(error)
        raise InputError(
            f"'{path}' is not a readable picture: {reason}", cure="Replace or remove the file."
        ) from error
    return picture


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "of no picture format that is known"
    return str(error) or type(error).__name__


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
