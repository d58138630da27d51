"""Resize and crop, equal to timm's evaluation transform within one grey level.

timm resizes the whole picture and crops; here Pillow resamples only the window that the crop keeps
(``resize(box=…)`` reads the same source pixels with the same weights), with timm's own rounding of
sizes and offsets. The quick modes are in :mod:`edgecv.preprocess.fast`.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import PIL
from PIL import Image

from edgecv.artifact.manifest import Preprocess
from edgecv.errors import InputError
from edgecv.preprocess.fast import FILTERS, halvings, resample
from edgecv.preprocess.geometry import Window, window
from edgecv.preprocess.modes import check_mode
from edgecv.preprocess.read import (
    Picture,
    Pixels,
    as_picture,
    check_pixels,
    decode,
    encoded,
    halved_jpeg,
)

__all__ = ["apply", "prepare"]

#: How much larger than the crop a window may get for the sake of exact places.
_MAX_WIDENING: Final = 1.5
_PILLOW_CHOOSES_ORDER: Final = int(PIL.__version__.split(".")[0]) >= 13


def prepare(
    source: Picture, preprocess: Preprocess, *, color: str = "rgb", mode: str = "exact"
) -> Pixels:
    """:func:`load_rgb`, then :func:`apply`, without a copy between them.

    The quick modes decode a JPEG file at a half, a quarter or an eighth of its size, where that is
    still large enough.

    Args:
        source: As :func:`load_rgb`.
        preprocess: What the model wants.
        color: As :func:`load_rgb`.
        mode: As :func:`apply`.

    Returns:
        uint8 [h, w, 3] RGB of ``preprocess.size``.

    Raises:
        InputError: As :func:`load_rgb`, or *mode* is unknown.
        MissingExtraError: *mode* needs OpenCV, which is not installed.
    """
    check_mode(mode)
    if color == "bgr" and isinstance(source, np.ndarray):
        # channels are resampled independently: swap the few pixels of the result instead
        return apply(source, preprocess, mode=mode)[..., ::-1]
    file = encoded(source) if color == "rgb" and mode != "exact" else None
    if file is None:
        return apply(as_picture(source, color), preprocess, mode=mode)
    data, name = file

    def enough(height: int, width: int) -> int:
        if preprocess.interpolation == "nearest":
            return 0
        factors = _factors(height, width, window(height, width, preprocess))
        return min(halvings(factors, preprocess, mode))

    halved = halved_jpeg(data, name, enough)
    if halved is None:
        return apply(decode(data, name), preprocess, mode=mode)
    part = window(*halved.size, preprocess)
    down, across = _factors(*halved.size, part)
    scale = 2**halved.times
    return resample(halved.pixels, part, preprocess, mode, (down / scale, across / scale))


def apply(image: Pixels | Image.Image, preprocess: Preprocess, *, mode: str = "exact") -> Pixels:
    """Resize and crop as timm's eval transform does.

    Args:
        image: uint8 [H, W, 3] RGB, or a PIL image of mode RGB.
        preprocess: What the model wants. Where its interpolation is ``"nearest"``, every mode is exact.
        mode: ``"exact"`` equals timm's transform within one grey level. ``"fast"`` halves with OpenCV
            first where a picture shrinks by 2.5 or more; ``"fastest"`` does from 2 on, and interpolates
            linearly. :data:`DEVIATION` has how far they are from timm's.

    Returns:
        uint8 [h, w, 3] RGB of ``preprocess.size``.

    Raises:
        InputError: *image* is neither, or *mode* is unknown.
        MissingExtraError: *mode* needs OpenCV, which is not installed.

    >>> apply(np.full((9, 20, 3), 7, np.uint8), Preprocess(size=(4, 4)))[0, 0].tolist()
    [7, 7, 7]
    """
    check_mode(mode)
    if isinstance(image, np.ndarray):
        check_pixels(image)
        height, width = image.shape[:2]
    elif isinstance(image, Image.Image) and image.mode == "RGB":
        width, height = image.size
    else:
        raise InputError(
            f"{type(image).__name__} is not an RGB picture", cure="Decode it with load_rgb first."
        )
    part = window(height, width, preprocess)
    if preprocess.interpolation == "nearest":
        # no window: which neighbor is nearest depends on the rounding of the whole picture
        picture = _image(image).resize(part.resized[::-1], Image.Resampling.NEAREST)
        rows, columns = preprocess.size
        box = (part.left, part.top, part.left + columns, part.top + rows)
        return np.asarray(picture.crop(box))
    if mode != "exact":
        factors = _factors(height, width, part)
        if mode == "fastest" or any(halvings(factors, preprocess, mode)):
            return resample(image, part, preprocess, mode, factors)
    return _exact(image, (height, width), part, preprocess)


def _factors(height: int, width: int, part: Window) -> tuple[float, float]:
    """Pixels of the picture per pixel of the resized picture, down and across."""
    return height / part.resized[0], width / part.resized[1]


def _exact(
    image: Pixels | Image.Image, whole: tuple[int, int], part: Window, preprocess: Preprocess
) -> Pixels:
    method, reach = FILTERS[preprocess.interpolation]
    height, width = whole
    x = _span(width, part.resized[1], part.left, preprocess.size[1], reach)
    y = _span(height, part.resized[0], part.top, preprocess.size[0], reach)
    source = _cut(image, y, x)
    vertical_first = _vertical_first(whole, part.resized)
    for vertical in (vertical_first, not vertical_first):
        # one axis at a time, so that the order is that of the whole picture's resize
        size = (source.width, y.size) if vertical else (x.size, source.height)
        box_f = (
            (0.0, y.begin, float(source.width), y.end)
            if vertical
            else (x.begin, 0.0, x.end, float(source.height))
        )
        source = source.resize(size, method, box=box_f)
    pixels: Pixels = np.asarray(source)
    return pixels[y.skip : y.skip + preprocess.size[0], x.skip : x.skip + preprocess.size[1]]


class _Span(NamedTuple):
    """One axis of the window.

    Attributes:
        first: First source pixel that is read, the filter's reach included.
        last: Behind the last one.
        begin: Begin of the window in source pixels, counted from *first*.
        end: Its end.
        size: Pixels of the window in the result.
        skip: How many of them lie before the crop.
    """

    first: int
    last: int
    begin: float
    end: float
    size: int
    skip: int


def _span(source: int, resized: int, offset: int, size: int, reach: float) -> _Span:
    """The window that one axis of the crop needs.

    Pillow takes the window as 32-bit floats. A place that is rounded shifts every weight a little,
    which flips pixels that lie between two levels (many do, where weights are 1/2). So the window is
    widened to places without rounding where that is cheap: source / resized = p / q in lowest terms,
    and every multiple of q's odd part is a binary fraction of source pixels.
    """
    odd = resized // math.gcd(source, resized)
    while odd % 2 == 0:
        odd //= 2
    start, stop = offset - offset % odd, min(resized, -(-(offset + size) // odd) * odd)
    if stop - start > _MAX_WIDENING * size:
        start, stop = offset, offset + size
    step = source / resized
    begin, end = start * source / resized, min(stop * source / resized, float(source))
    margin = reach * max(step, 1.0) + 1.0
    first, last = max(0, math.floor(begin - margin)), min(source, math.ceil(end + margin))
    return _Span(first, last, begin - first, end - first, stop - start, offset - start)


def _cut(image: Pixels | Image.Image, y: _Span, x: _Span) -> Image.Image:
    """The pixels of a window."""
    if isinstance(image, Image.Image):
        return image.crop((x.first, y.first, x.last, y.last))
    if not image.flags.c_contiguous:
        return Image.fromarray(image[y.first : y.last, x.first : x.last])
    # Image.fromarray would first copy the window, whose rows have gaps between them
    height, width, row = y.last - y.first, x.last - x.first, image.shape[1] * 3
    data = image[y.first : y.last].reshape(-1)[3 * x.first : (height - 1) * row + 3 * x.last]
    return Image.frombuffer("RGB", (width, height), data, "raw", "RGB", row, 1)


def _vertical_first(source: tuple[int, int], resized: tuple[int, int]) -> bool:
    """Whether Pillow resizes the height of a whole picture before its width.

    The order matters where bicubic overshoots beyond 0 or 255 and is clipped in between. Until Pillow
    12 the width always came first; since 13 (its pull request 9549) the height does where that makes
    the picture much smaller. Sizes are (height, width).
    """
    lost_rows, lost_columns = source[0] - resized[0], source[1] - resized[1]
    return _PILLOW_CHOOSES_ORDER and lost_rows > 0 and lost_rows > 2 * lost_columns


def _image(image: Pixels | Image.Image) -> Image.Image:
    return Image.fromarray(image) if isinstance(image, np.ndarray) else image
