"""Reading pictures: decoded once, to RGB, with one error for everything that is none.

Orientation tags are not applied, as in timm (``Image.open`` and ``convert("RGB")``): a picture that
training saw lying on its side must lie on its side here.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from edgecv.errors import InputError

__all__ = [
    "FORMATS",
    "Halved",
    "Picture",
    "Pixels",
    "as_picture",
    "check_pixels",
    "decode",
    "encoded",
    "halved_jpeg",
    "load_rgb",
    "open_picture",
]

Pixels = npt.NDArray[np.uint8]
#: A path, JPEG or PNG bytes, a PIL image, or uint8 [H, W, 3].
Picture = str | Path | bytes | Image.Image | npt.NDArray[Any]

#: Formats that are decoded. Pillow knows more, but EPS starts Ghostscript on the file.
FORMATS: Final = (*("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "TGA"),)
#: What Pillow's decoders raise on damaged files, found by fuzzing and in its issue tracker.
_DECODE_ERRORS: Final = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, NotImplementedError, OSError),
    *(SyntaxError, TypeError, ValueError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
_REPLACE = "Replace or remove the file."
#: At a half, a quarter, an eighth. libjpeg knows every n/8, but takes longer for 7/8 to 5/8 than for the
#: whole, and for 3/8 hardly less than for 1/2 (1280x720, ms: 3.2 whole, 4.0 at 5/8, 2.7 at 1/2, 2.6 at 3/8).
_MOST_HALVINGS: Final = 3
#: Height and width of a picture → how often both may be halved.
Halvings = Callable[[int, int], int]


class Halved(NamedTuple):
    """A picture that was decoded at a smaller size.

    Attributes:
        pixels: RGB; each side rounded up.
        size: (height, width) of the picture itself.
        times: How often both were halved.
    """

    pixels: Pixels | Image.Image
    size: tuple[int, int]
    times: int


def load_rgb(source: Picture, *, color: str = "rgb") -> Pixels:
    """Decode a picture.

    Args:
        source: Path, encoded bytes, PIL image of any mode, or uint8 [H, W, 3].
        color: Channel order of an array, ``"rgb"`` or ``"bgr"`` (OpenCV).

    Returns:
        uint8 [H, W, 3] RGB; the caller's own array when it is one.

    Raises:
        InputError: Missing, unreadable, not a picture, an array of another shape or dtype, or
            *color* for something that is no array.

    >>> load_rgb(np.zeros((2, 3, 3), np.uint8)).shape
    (2, 3, 3)
    """
    picture = as_picture(source, color)
    return picture if isinstance(picture, np.ndarray) else np.asarray(picture)


def open_picture(data: bytes, name: str) -> Image.Image:
    """Decode bytes of a known format, whole.

    Args:
        data: The file.
        name: What to call it in errors, e.g. its path.

    Raises:
        InputError: Empty, damaged, of no known format, or larger than Pillow's limit of pixels.
    """
    with _told(data, name):
        picture = Image.open(BytesIO(data), formats=_formats())
        picture.load()
    return picture


@contextmanager
def _told(data: bytes, name: str) -> Iterator[None]:
    """Make one error of everything that Pillow raises."""
    try:
        yield
    except _DECODE_ERRORS as error:
        if not data:
            reason = "empty file"
        elif isinstance(error, UnidentifiedImageError):
            reason = "of no picture format that is known"
        else:
            reason = str(error) or type(error).__name__
        raise InputError(f"{name} is not a readable picture: {reason}", cure=_REPLACE) from error


def as_picture(source: Picture, color: str) -> Pixels | Image.Image:
    """An RGB image or array as the decoder gave it; arguments and errors of :func:`load_rgb`."""
    if color not in ("rgb", "bgr"):
        raise InputError(f"color {color!r} is unknown", cure="Use 'rgb' or 'bgr'.")
    if isinstance(source, np.ndarray):
        check_pixels(source)
        return source if color == "rgb" else source[..., ::-1]
    if color != "rgb":
        raise InputError(
            f"color={color!r} is for arrays; {type(source).__name__} pictures know their channels",
            cure="Leave color out.",
        )
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the picture")
    file = encoded(source)
    if file is None:
        raise InputError(
            f"{type(source).__name__} is not a picture",
            cure="Give a path, encoded bytes, a PIL image, or a uint8 array [height, width, 3].",
        )
    return decode(*file)


def encoded(source: Picture) -> tuple[bytes, str] | None:
    """The bytes of a path or of encoded bytes, with what to call them in errors; else None.

    Raises:
        InputError: The path cannot be read.
    """
    if isinstance(source, bytes):
        return source, "the picture"
    if not isinstance(source, str | Path):
        return None
    try:
        return Path(source).read_bytes(), f"'{source}'"
    except OSError as error:
        raise InputError(
            f"'{source}' cannot be read: {error.strerror}",
            cure="Check the path and its permissions.",
        ) from error


def check_pixels(array: npt.NDArray[Any]) -> None:
    """Refuse an array that is not uint8 [H, W, 3]."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(
            f"an array of {array.dtype} {list(array.shape)} is not a picture",
            cure="Give uint8 [height, width, 3] with values 0 to 255.",
        )


def decode(data: bytes, name: str) -> Pixels | Image.Image:
    """RGB pixels of an encoded picture; arguments and errors of :func:`open_picture`."""
    if data[:2] == b"\xff\xd8" and (pixels := _decode_jpeg(data)) is not None:
        return pixels
    return _to_rgb(open_picture(data, name), name)


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    try:
        return picture.convert("RGB")
    except _DECODE_ERRORS as error:
        raise InputError(f"{name} is not a readable picture: {error}", cure=_REPLACE) from error


@cache
def _formats() -> tuple[str, ...]:
    """Those of :data:`FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def _simplejpeg() -> Any:
    """The faster decoder, or None when it is not installed."""
    try:
        import simplejpeg
    except ModuleNotFoundError as error:
        if error.name != "simplejpeg":
            raise
        return None
    return simplejpeg


#: (color space, subsampling) → whether simplejpeg gave Pillow's pixels for the first such picture.
_same_as_pillow: dict[tuple[str, str], bool] = {}


def halved_jpeg(data: bytes, name: str, halvings: Halvings) -> Halved | None:
    """Decode a JPEG file at a half, a quarter or an eighth of its size.

    Args:
        data: The file.
        name: What to call it in errors.
        halvings: Given height and width, how often they may be halved.

    Returns:
        The small picture; None when it is no JPEG file or none of those sizes is large enough.

    Raises:
        InputError: As :func:`open_picture`.
    """
    if data[:2] != b"\xff\xd8":
        return None
    library = _simplejpeg()
    if library is not None:
        try:
            return _halved_by_simplejpeg(library, data, halvings)
        except ValueError:
            pass  # Pillow decodes it, or says what is wrong
    with _told(data, name):
        picture = Image.open(BytesIO(data), formats=("JPEG",))
        width, height = picture.size
        times = min(halvings(height, width), _MOST_HALVINGS)
        if times == 0 or picture.format != "JPEG":
            return None
        picture.draft(None, (width >> times, height >> times))
        picture.load()
        return Halved(picture.convert("RGB"), (height, width), times)


def _halved_by_simplejpeg(library: Any, data: bytes, halvings: Halvings) -> Halved | None:
    height, width, *_ = _known_header(library, data)
    times = min(halvings(height, width), _MOST_HALVINGS)
    if times == 0:
        return None
    # it takes the smallest n/8 at which both sides are large enough
    small = (-(-height // 2**times), -(-width // 2**times))
    pixels: Pixels = library.decode_jpeg(
        data, colorspace="RGB", strict=True, min_height=small[0], min_width=small[1]
    )
    return Halved(pixels, (height, width), times)


def _known_header(library: Any, data: bytes) -> tuple[int, int, str, str]:
    """Height, width, color space and subsampling of a JPEG file that simplejpeg may decode.

    Raises:
        ValueError: It is damaged, too large, or in a color space that only Pillow knows.
    """
    header: tuple[int, int, str, str] = library.decode_jpeg_header(data)
    height, width, space, _ = header
    if space not in ("YCbCr", "Gray") or height * width > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f"{height}x{width} in {space}")
    return header


def _decode_jpeg(data: bytes) -> Pixels | None:
    """Pixels by simplejpeg, or None where Pillow has to decode (or to say what is wrong).

    Both wrap libjpeg-turbo, perhaps in two versions; so each color space and subsampling is decoded
    by both once per process and compared bit for bit.
    """
    library = _simplejpeg()
    if library is None:
        return None
    try:
        _, _, space, subsampling = _known_header(library, data)
        if _same_as_pillow.get((space, subsampling)) is False:
            return None
        pixels: Pixels = library.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError:
        return None
    if (space, subsampling) not in _same_as_pillow:
        expected = np.asarray(_to_rgb(open_picture(data, "the picture"), "the picture"))
        _same_as_pillow[space, subsampling] = np.array_equal(pixels, expected)
        return expected
    return pixels
