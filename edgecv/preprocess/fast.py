"""The quick modes: OpenCV halves what the crop needs, then the rest is resampled.

Halving twice as wide pixels by their mean is the part of a resize that costs most, and OpenCV does it
with vector instructions. Every place stays exact: source pixels are never moved to whole ones, since
a crop that is off by one source pixel costs more than any cheaper filter (a mean of 4.9 levels and more
at 1280x720 to 224).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from edgecv.artifact.manifest import Preprocess
from edgecv.preprocess.geometry import Window
from edgecv.preprocess.modes import opencv
from edgecv.preprocess.read import Pixels

__all__ = ["FILTERS", "halvings", "resample"]

#: Pillow's filter and how far it reaches, in pixels of the result (when shrinking).
FILTERS: Final = {
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
    "bilinear": (Image.Resampling.BILINEAR, 1.0),
}
#: How many pixels per pixel of the result halving has to leave. Right after it (1.0) Pillow's filter is
#: so narrow that the mean over two pixels shows: 2.5 levels, where 1.25 left give 1.7 and 1.5 give 1.2.
_KEEP: Final = {"fast": 1.25, "fastest": 1.0}


class _Axis(NamedTuple):
    """One axis of the crop.

    Attributes:
        first: First stored pixel that is read, the filter's reach included.
        last: Behind the last one.
        halvings: How often they are halved.
        begin: Begin of the crop in halved pixels, counted from *first*.
        step: Halved pixels per pixel of the result.
    """

    first: int
    last: int
    halvings: int
    begin: float
    step: float


def halvings(factors: tuple[float, float], preprocess: Preprocess, mode: str) -> tuple[int, int]:
    """How often *mode* halves a picture, down and across.

    Args:
        factors: Pixels of the picture per pixel of the resized picture, down and across.
        preprocess: What the model wants.
        mode: ``"fast"`` or ``"fastest"``.

    >>> [halvings((f, f), Preprocess((9, 9)), "fast")[0] for f in (0.5, 2.4, 2.5, 2.8, 5.0)]
    [0, 0, 1, 1, 2]
    >>> halvings((2.0, 4.0), Preprocess((9, 9), "stretch"), "fastest")
    (1, 2)
    """
    if preprocess.resize != "stretch":
        # they differ by the rounding of sizes only
        factors = (min(factors), min(factors))
    down, across = (max(0, math.floor(math.log2(f / _KEEP[mode]))) for f in factors)
    return down, across


def resample(
    pixels: Pixels | Image.Image,
    part: Window,
    preprocess: Preprocess,
    mode: str,
    factors: tuple[float, float],
) -> Pixels:
    """The crop that *part* describes.

    Args:
        pixels: uint8 [H, W, 3] RGB or a PIL image of mode RGB; perhaps decoded at a smaller size.
        part: Of the picture in its own size.
        preprocess: Its size and interpolation.
        mode: ``"fast"`` or ``"fastest"``.
        factors: Pixels of *pixels* per pixel of the resized picture, down and across.

    Returns:
        uint8 [h, w, 3] of ``preprocess.size``.
    """
    stored = pixels.shape[:2] if isinstance(pixels, np.ndarray) else pixels.size[::-1]
    method, reach = FILTERS[preprocess.interpolation]
    y, x = (
        _axis(length, factor, times, offset, size, reach)
        for length, factor, times, offset, size in zip(
            stored,
            factors,
            halvings(factors, preprocess, mode),
            (part.top, part.left),
            preprocess.size,
            strict=True,
        )
    )
    if isinstance(pixels, np.ndarray):
        needed = _rows_of_pixels(pixels[y.first : y.last, x.first : x.last])
    else:
        needed = np.asarray(pixels.crop((x.first, y.first, x.last, y.last)))
    small = _halve(needed, y.halvings, x.halvings)
    rows, columns = preprocess.size
    if mode == "fast":
        height, width = small.shape[:2]
        box = (
            x.begin,
            y.begin,
            min(x.begin + columns * x.step, float(width)),
            min(y.begin + rows * y.step, float(height)),
        )
        return np.asarray(Image.fromarray(small).resize((columns, rows), method, box=box))
    cv2 = opencv()
    # from the center of a pixel of the result to a place among the centers of halved pixels
    matrix = np.array(
        [
            [x.step, 0.0, x.begin + x.step / 2 - 0.5],
            [0.0, y.step, y.begin + y.step / 2 - 0.5],
        ]
    )
    result: Pixels = cv2.warpAffine(
        small,
        matrix,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return result


def _axis(stored: int, factor: float, times: int, offset: int, size: int, reach: float) -> _Axis:
    width = 2**times
    step = factor / width
    begin, end = offset * step, (offset + size) * step
    margin = reach * max(step, 1.0) + 1.0
    first = max(0, math.floor(begin - margin))
    last = min(-(-stored // width), math.ceil(end + margin))
    return _Axis(first * width, min(last * width, stored), times, begin - first, step)


def _halve(pixels: Pixels, rows: int, columns: int) -> Pixels:
    """Means over 2**rows x 2**columns pixels; where they do not come out even, the edge is repeated."""
    cv2 = opencv()
    while rows or columns:
        height, width = pixels.shape[:2]
        below, right = height % 2 if rows else 0, width % 2 if columns else 0
        if below or right:
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        size = (
            (width + right) // 2 if columns else width,
            (height + below) // 2 if rows else height,
        )
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        rows, columns = max(rows - 1, 0), max(columns - 1, 0)
    return pixels


def _rows_of_pixels(pixels: Pixels) -> Pixels:
    """In the order of memory that OpenCV reads: whole pixels side by side, rows at any distance."""
    across, channel = pixels.strides[1:]
    plain = channel == 1 and across == 3 and pixels.strides[0] >= 3 * pixels.shape[1]
    return pixels if plain else np.ascontiguousarray(pixels)
