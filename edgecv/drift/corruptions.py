"""What happens to pictures between a data set and a camera, at three severities; workstation side.

Sizes grow with the picture: a lens out of focus blurs a share of the view, not a number of pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

__all__ = ["FAMILIES", "SEVERITIES", "Family", "pairs", "signature_pictures", "tinted"]

Pixels = npt.NDArray[np.uint8]
Make = Callable[[Pixels, float, np.random.Generator], Pixels]

#: Strengths in [0, 1].
SEVERITIES: Final = (0.3, 0.6, 1.0)


@dataclass(frozen=True)
class Family:
    """One kind of corruption.

    Attributes:
        name: For messages.
        cause: What a user is told, or "" where picture statistics cannot see it.
        make: Picture, strength in [0, 1] and randomness to picture.
    """

    name: str
    cause: str
    make: Make


def _clip(values: npt.NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _side(picture: Pixels) -> float:
    """Growth of sizes: 1 at 32 pixels, about 4 at 224."""
    return float((min(picture.shape[:2]) / 32) ** 0.7)


def _noise(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    # photons: the variance grows with brightness; the amplifier adds the same everywhere
    real = picture.astype(np.float32)
    deviation = strength * (18 + 2.2 * np.sqrt(real))
    return _clip(real + deviation * rng.standard_normal(picture.shape, np.float32))


def _defocus(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    image = Image.fromarray(picture)
    radius = 1.8 * strength * _side(picture)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))


def _motion(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    length = max(2, round(1 + 6 * strength * _side(picture)))
    axis = int(rng.integers(2))
    pad = [(0, 0)] * 3
    pad[axis] = (length // 2, length - 1 - length // 2)
    wide = np.pad(picture.astype(np.float32), pad, mode="edge")
    sums = np.concatenate([np.zeros_like(wide.take([0], axis)), np.cumsum(wide, axis)], axis)
    size = picture.shape[axis]
    ends = sums.take(range(length, length + size), axis)
    return _clip((ends - sums.take(range(size), axis)) / length)


def _dark(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    # an amplifier at its end: less light, and the noise of reading stays
    real = picture.astype(np.float32) * (1 - 0.88 * strength)
    return _clip(real + 1.5 * strength * rng.standard_normal(picture.shape, np.float32))


def _bright(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    return _clip(picture.astype(np.float32) * (1 + 1.6 * strength) + 40 * strength)


def _fog(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    keep = 1 - 0.85 * strength
    return _clip(picture.astype(np.float32) * keep + 165 * (1 - keep))


def _jpeg(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    return _stored(picture, round(60 - 54 * strength))


def _stored(picture: Pixels, quality: int) -> Pixels:
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored))


def _pixelate(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    height, width = picture.shape[:2]
    factor = 1 + 1.6 * strength * _side(picture)
    small = (max(4, round(width / factor)), max(4, round(height / factor)))
    image = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))


def _tilt(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    angle = (12 + 33 * strength) * (1 if rng.random() < 0.5 else -1)
    image = Image.fromarray(picture)
    turned = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=(110, 110, 110))
    return np.asarray(turned)


def _cast(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    # a lamp has one color: every severity its own, the same for all pictures
    return tinted(picture, 20 / 3 * strength, strength)


def tinted(picture: Pixels, hue: float, strength: float) -> Pixels:
    """A white balance that is off: gains per channel around the circle of hues."""
    turns = hue + np.array([0.0, 2 * math.pi / 3, 4 * math.pi / 3])
    gains = 1 + 0.55 * strength * np.cos(turns)
    return _clip(picture.astype(np.float32) * gains.astype(np.float32))


def _pale(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    real = picture.astype(np.float32)
    gray = (real @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    return _clip(gray + (real - gray) * (1 - strength))


def _dirt(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cover = np.zeros((height, width), np.float32)
    for _ in range(1 + round(4 * strength)):
        size = min(height, width) * rng.uniform(0.12, 0.25)
        away = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width))
        cover = np.maximum(cover, np.clip(1.5 - away / size, 0, 1))
    cover = cover[..., None] * np.float32(0.5 + 0.5 * strength)
    blurred = _defocus(picture, 1.0, rng).astype(np.float32)
    return _clip(picture * (1 - cover) + (0.5 * blurred + 45) * cover)


def _impulse(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    # pixels that a bad cable or a bad sensor lost: black or white
    hit = rng.random(picture.shape[:2]) < 0.12 * strength
    made = picture.copy()
    made[hit] = np.where(rng.random(int(hit.sum())) < 0.5, 0, 255)[:, None]
    return made


def _banding(picture: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    # lamps on the mains under a rolling shutter
    rows = np.arange(picture.shape[0]) * (2 * math.pi * rng.uniform(1, 4) / picture.shape[0])
    gain = 1 + 0.6 * strength * np.sin(rows + rng.uniform(0, 2 * math.pi))
    return _clip(picture.astype(np.float32) * gain.astype(np.float32)[:, None, None])


FAMILIES: Final = (
    Family("sensor noise", "noise", _noise),
    Family("impulse noise", "noise", _impulse),
    Family("banding", "", _banding),
    Family("defocus", "blur", _defocus),
    Family("motion", "blur", _motion),
    Family("dark", "dark", _dark),
    Family("bright", "bright", _bright),
    Family("fog", "low contrast", _fog),
    Family("jpeg", "compression", _jpeg),
    Family("pixelation", "low resolution", _pixelate),
    Family("tilt", "", _tilt),
    Family("color cast", "color cast", _cast),
    Family("pale", "pale colors", _pale),
    Family("dirt", "dirty lens", _dirt),
)


def pairs(
    families: Sequence[Family], count: int, rng: np.random.Generator
) -> list[tuple[Family, int]]:
    """Two corruptions at once, with a severity: what happens in the field has rarely one cause."""

    def both(one: Family, two: Family) -> Make:
        return lambda picture, strength, own: two.make(
            one.make(picture, strength, own), strength, own
        )

    made = []
    for _ in range(count if len(families) > 1 else 0):
        a, b = (families[i] for i in rng.choice(len(families), 2, replace=False))
        severity = int(rng.integers(len(SEVERITIES) - 1))
        made.append((Family(f"{a.name} + {b.name}", "", both(a, b)), severity))
    return made


def signature_pictures(picture: Pixels, rng: np.random.Generator) -> list[tuple[str, list[Pixels]]]:
    """Cause and the picture under it, mild to severe; a color cast in six hues."""
    made: list[tuple[str, list[Pixels]]] = []
    for family in FAMILIES:
        if family.name == "color cast":
            hues = [k * math.pi / 3 for k in range(6)]
            made.append((family.cause, [tinted(picture, h, s) for h in hues for s in (0.3, 0.8)]))
        elif family.cause:
            strengths = (0.15, *SEVERITIES)
            made.append((family.cause, [family.make(picture, s, rng) for s in strengths]))
        if family.name == "jpeg":
            # too mild to cost accuracy, and another camera's everyday
            made.append((family.cause, [_stored(picture, quality) for quality in (90, 80, 70)]))
    return made
