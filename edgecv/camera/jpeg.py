"""Frames as JPEG, for whoever looks."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

from edgecv.preprocess import Pixels

__all__ = ["encode"]

#: Smaller frames are enlarged by a whole factor, larger ones reduced.
_LEAST: Final = 240
_MOST: Final = 960


def encode(pixels: Pixels, quality: int = 80) -> bytes:
    """A JPEG file of RGB pixels, of a size that a person can look at.

    >>> import numpy as np
    >>> Image.open(io.BytesIO(encode(np.zeros((45, 54, 3), np.uint8)))).size
    (324, 270)
    """
    picture = Image.fromarray(pixels)
    longest, shortest = max(picture.size), min(picture.size)
    if shortest < _LEAST and longest * -(-_LEAST // shortest) <= 2 * _MOST:
        factor = -(-_LEAST // shortest)
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    elif longest > _MOST:
        picture = picture.reduce(-(-longest // _MOST))
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=quality)
    return file.getvalue()
