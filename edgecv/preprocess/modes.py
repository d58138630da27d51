"""The three ways to resize, and how far each is from timm's evaluation transform."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Final, NamedTuple

from edgecv.errors import InputError, MissingExtraError

__all__ = ["DEVIATION", "MODES", "Deviation", "check_mode", "opencv"]

MODES: Final = ("exact", "fast", "fastest")


class Deviation(NamedTuple):
    """Measured difference from timm's evaluation transform, in grey levels (0 to 255).

    Attributes:
        mean: Over the pixels of all pictures, each shrunk by all factors.
        largest: Of any pixel.
        jpeg_mean: As *mean*, for JPEG files, which the quick modes decode at a smaller size.
        jpeg_largest: Likewise.
        by_factor: (factor, mean, largest) of pictures that shrink by one factor, in their pixels per
            pixel of the resized one.
    """

    mean: float
    largest: int
    jpeg_mean: float
    jpeg_largest: int
    by_factor: tuple[tuple[float, float, int], ...]


#: Measured by ``benchmarks/deviation.py`` on 66 pictures (four photographs of about 512x340, twelve frames
#: of a 640x360 video, fifty ImageNet photographs of 224x224), each shrunk by seven factors, against timm
#: 1.0.31's transform; Pillow 13.0.0, OpenCV 5.0.0, simplejpeg 1.9.0 on x86-64. OpenCV 4.11 is within 2 %.
#: A slow test measures them again.
DEVIATION: Final = {
    "exact": Deviation(
        mean=0.0,
        largest=1,
        jpeg_mean=0.0,
        jpeg_largest=1,
        by_factor=(
            (1.5, 0.0, 1),
            (2.0, 0.0, 1),
            (2.8, 0.0, 1),
            (3.5, 0.0, 1),
            (4.2, 0.0, 1),
            (6.0, 0.0, 1),
            (8.4, 0.0, 0),
        ),
    ),
    "fast": Deviation(
        mean=0.668,
        largest=27,
        jpeg_mean=0.695,
        jpeg_largest=43,
        by_factor=(
            (1.5, 0.0, 1),
            (2.0, 0.0, 1),
            (2.8, 1.158, 27),
            (3.5, 0.774, 19),
            (4.2, 0.556, 11),
            (6.0, 1.391, 27),
            (8.4, 0.798, 12),
        ),
    ),
    "fastest": Deviation(
        mean=2.608,
        largest=68,
        jpeg_mean=2.664,
        jpeg_largest=73,
        by_factor=(
            (1.5, 1.408, 62),
            (2.0, 1.533, 48),
            (2.8, 2.169, 60),
            (3.5, 2.445, 60),
            (4.2, 3.601, 66),
            (6.0, 2.699, 64),
            (8.4, 4.405, 68),
        ),
    ),
}


def check_mode(mode: str) -> None:
    """Refuse a mode that is unknown, or that this environment cannot do.

    Args:
        mode: One of :data:`MODES`.

    Raises:
        InputError: *mode* is unknown.
        MissingExtraError: It needs OpenCV, which is not installed.

    >>> check_mode("exact")
    """
    if mode not in MODES:
        raise InputError(
            f"the resize mode {mode!r} is unknown", cure=f"Use {', '.join(map(repr, MODES))}."
        )
    if mode != "exact":
        opencv()


@cache
def opencv() -> ModuleType:
    """OpenCV, imported when it is first needed.

    Raises:
        MissingExtraError: It is not installed; one that is installed and broken keeps its traceback.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        raise MissingExtraError.of("opencv-python-headless", "opencv") from error
    module: ModuleType = cv2
    return module
