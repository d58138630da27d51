"""Which part of a picture a model sees, with timm's own rounding of sizes and offsets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgecv.artifact.manifest import Preprocess

__all__ = ["Window", "window"]


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
