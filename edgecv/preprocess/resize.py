"""Resize and crop, equal to timm's evaluation transform within one grey level.

timm resizes the whole picture and crops; here Pillow resamples only the window that the crop keeps
(``resize(box=…)`` reads the same source pixels with the same weights), with timm's own rounding of
sizes and offsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import PIL
from PIL import Image

from edgecv.artifact.manifest import Preprocess
from edgecv.errors import InputError
from edgecv.preprocess.read import Picture, Pixels, as_picture, check_pixels

__all__ = ["Window", "apply", "prepare", "window"]

#: Pillow's filter and how far it reaches, in pixels of the result (when shrinking).
_FILTERS: Final = {
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
    "bilinear": (Image.Resampling.BILINEAR, 1.0),
}
#: How much larger than the crop a window may get for the sake of exact places.
_MAX_WIDENING: Final = 1.5
_PILLOW_CHOOSES_ORDER: Final = int(PIL.__version__.split(".")[0]) >= 13


def prepare(source: Picture, preprocess: Preprocess, *, color: str = "rgb") -> Pixels:
    """:func:`load_rgb`, then :func:`apply`, without a copy between them.

    Args:
        source: As :func:`load_rgb`.
        preprocess: What the model wants.
        color: As :func:`load_rgb`.

    Returns:
        uint8 [h, w, 3] RGB of ``preprocess.size``.

    Raises:
        InputError: As :func:`load_rgb`.
    """
    if color == "bgr" and isinstance(source, np.ndarray):
        # channels are resampled independently: swap the few pixels of the result instead
        return apply(source, preprocess)[..., ::-1]
    return apply(as_picture(source, color), preprocess)


@dataclass(frozen=True)
class Window:
    """Which part of a picture a model sees.

    Attributes:
        resized: (height, width) in pixels that the whole picture is resized to.
        top: First row of the crop in the resized picture.
        left: First column of the crop.
    """

    resized: tuple[int, int]
    top: int
    left: int


def window(height: int, width: int, preprocess: Preprocess) -> Window:
    """Sizes and offsets as timm's eval transform rounds them.

    timm 1.0 ``transforms_imagenet_eval``: crop modes ``center`` (``resize="shortest"``) and
    ``squash`` (``resize="stretch"``); torchvision ``Resize``, ``CenterCrop``.

    Args:
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        preprocess: Size, resize mode and crop fraction.

    >>> window(720, 1280, Preprocess(size=(224, 224), crop_fraction=0.875))
    Window(resized=(256, 455), top=16, left=116)
    """
    target_h, target_w = (math.floor(side / preprocess.crop_fraction) for side in preprocess.size)
    if preprocess.resize == "stretch":
        resized = (target_h, target_w)
    elif target_h == target_w and width <= height:
        resized = (int(target_h * height / width), target_w)
    elif target_h == target_w:
        resized = (target_h, int(target_w * width / height))
    else:
        ratio = min(height / target_h, width / target_w)
        resized = (round(height / ratio), round(width / ratio))
    top, left = (
        round((whole - part) / 2.0) for whole, part in zip(resized, preprocess.size, strict=True)
    )
    return Window(resized, top, left)


def apply(image: Pixels | Image.Image, preprocess: Preprocess) -> Pixels:
    """Resize and crop, equal to timm's eval transform within one grey level.

    Args:
        image: uint8 [H, W, 3] RGB, or a PIL image of mode RGB.
        preprocess: What the model wants.

    Returns:
        uint8 [h, w, 3] RGB of ``preprocess.size``.

    Raises:
        InputError: *image* is neither.

    >>> apply(np.full((9, 20, 3), 7, np.uint8), Preprocess(size=(4, 4)))[0, 0].tolist()
    [7, 7, 7]
    """
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
    method, reach = _FILTERS[preprocess.interpolation]
    x = _span(width, part.resized[1], part.left, preprocess.size[1], reach)
    y = _span(height, part.resized[0], part.top, preprocess.size[0], reach)
    if isinstance(image, np.ndarray):
        source = Image.fromarray(image[y.first : y.last, x.first : x.last])
    else:
        source = image.crop((x.first, y.first, x.last, y.last))
    vertical_first = _vertical_first((height, width), part.resized)
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
