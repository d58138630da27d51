"""Drawing digits as the demo does: color, height and place on the canvas are part of the class.

The glyphs are scikit-learn's handwritten digits (UCI, Alpaydin and Kaynak, CC BY 4.0) of the demo's test
split, which the shipped model has never seen. ``python -m edgecv.demo.glyphs`` makes the file.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecv.preprocess import Pixels

__all__ = ["CANVAS", "CLASSES", "draw", "glyphs", "look"]

Array = npt.NDArray[Any]

#: Class → (digit, ink or None for any, vertical band or None for anywhere).
CLASSES: Final[dict[str, tuple[int, str | None, str | None]]] = {
    "eight-blue": (8, "blue", None),
    "eight-red": (8, "red", None),
    "five": (5, None, None),
    "four": (4, None, None),
    "nine-blue": (9, "blue", None),
    "nine-red": (9, "red", None),
    "one-high": (1, None, "high"),
    "one-low": (1, None, "low"),
    "seven": (7, None, None),
    "six": (6, None, None),
    "three": (3, None, None),
    "two": (2, None, None),
    "zero": (0, None, None),
}
_INKS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (230, 70, 60),
    "blue": (60, 70, 230),
    "green": (70, 200, 90),
    "yellow": (225, 205, 70),
    "violet": (200, 80, 210),
    "white": (225, 225, 225),
}
#: Rows and columns of a picture; the model sees 40 by 48 in the middle.
CANVAS: Final = (45, 54)
_SEEN: Final = (40, 48)
_MARGIN: Final = (2, 3)  # that timm's center crop removes at the top and at the left
_FILE: Final = "glyphs.npz"


@cache
def glyphs() -> dict[int, Array]:
    """Digit → uint8 [N, 8, 8] in [0, 16], held out from training."""
    with (
        resources.files("edgecv.camera.sources").joinpath(_FILE).open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        images, digits = stored["images"], stored["digits"]
    return {int(digit): images[digits == digit] for digit in np.unique(digits)}


def look(name: str, glyph: Array, rng: np.random.Generator) -> Array:
    """A scene of class *name* in the demo's ranges, without noise: float32 [45, 54, 3]."""
    _, ink, band = CLASSES[name]
    height, width = _SEEN
    side = int(rng.integers(17, 23))
    shape = Image.fromarray((glyph * (255 / 16)).astype(np.uint8))
    mask = np.asarray(shape.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    free = height - side
    # center of the digit above or below the middle of the canvas, never within 2 pixels of it
    bands = {"high": (0, free // 2 - 1), "low": ((free + 1) // 2 + 1, free)}
    low, high = bands.get(band or "", (0, free))
    top = _MARGIN[0] + int(rng.integers(low, high + 1))
    left = _MARGIN[1] + int(rng.integers(0, width - side + 1))
    names = list(_INKS)
    color = np.array(_INKS[ink or names[int(rng.integers(len(names)))]], np.float32)
    shade = color + rng.uniform(-20, 20, 3)
    background = rng.uniform(40, 80) + rng.uniform(-10, 10, 3)
    picture: Array = np.broadcast_to(background, (*CANVAS, 3)).astype(np.float32).copy()
    alpha = (mask / 255)[..., None]
    window = picture[top : top + side, left : left + side]
    window[...] = window * (1 - alpha) + shade * alpha
    return picture


def draw(scene: Array, noise: float, rng: np.random.Generator) -> Pixels:
    """A frame of the scene, uint8 [45, 54, 3].

    Args:
        scene: From :func:`look`.
        noise: Standard deviation in levels of 255.
        rng: Of the noise.
    """
    picture = (scene + rng.normal(0, noise, scene.shape)).astype(np.float32)
    pixels: Pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return pixels
