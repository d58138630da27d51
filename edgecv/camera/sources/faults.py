"""What goes wrong in front of a camera, made on purpose: by name, frames and severity.

``dark=200-400`` is frames 200 to 399 at severity 3 of 5; ``dark=200-@5`` from 200 to the end at 5.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from edgecv.errors import InputError
from edgecv.preprocess import Pixels

__all__ = ["FAULTS", "STREAM_FAULTS", "Fault", "damage", "parse_fault"]

_RANGE: Final = re.compile(r"(\d{0,9})(?:(-)(\d{0,9}))?(?:@([1-5]))?")


@dataclass(frozen=True)
class Fault:
    """A fault that is on for some frames.

    Attributes:
        name: Of :data:`FAULTS` or :data:`STREAM_FAULTS`.
        first: First frame.
        end: Frame after the last one, or None for no end.
        severity: 1 to 5.
    """

    name: str
    first: int
    end: int | None
    severity: int

    def covers(self, number: int) -> bool:
        """Whether it is on at a frame.

        >>> parse_fault("dark", "5-7").covers(6), parse_fault("dark", "5-7").covers(7)
        (True, False)
        """
        return self.first <= number and (self.end is None or number < self.end)


def parse_fault(name: str, text: str) -> Fault:
    """Read a range of frames.

    Raises:
        InputError: No range.

    >>> parse_fault("blur", "200-400@5")
    Fault(name='blur', first=200, end=400, severity=5)
    >>> parse_fault("blur", ""), parse_fault("blur", "3-")  # always; from frame 3 on
    (Fault(name='blur', first=0, end=None, severity=3), Fault(name='blur', first=3, end=None, severity=3))
    """
    found = _RANGE.fullmatch(text)
    if found is None or (found[1] == "" and found[2]):
        raise InputError(
            f"{name}={text} is no range of frames",
            cure=f"For example {name}=200-400, {name}=200- without end, {name}=200-400@5 worst of five.",
        )
    first = int(found[1] or 0)
    ends = found[3] if found[2] else str(first + 1) if found[1] else ""
    end = int(ends) if ends else None
    if end is not None and end <= first:
        raise InputError(f"{name}={text} covers no frame", cure=f"For example {name}=200-400.")
    return Fault(name, first, end, int(found[4] or 3))


def _dark(pixels: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    share = (0.7, 0.5, 0.35, 0.22, 0.12)[severity - 1]
    return _levels(pixels * np.float32(share) + rng.normal(0, 3, pixels.shape))


def _noise(pixels: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    return _levels(pixels + rng.normal(0, (10, 20, 35, 55, 80)[severity - 1], pixels.shape))


def _color(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    gain = 1 + np.array((0.12, -0.02, -0.12), np.float32) * severity
    return _levels(pixels * gain)


def _blur(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    radius = (0.6, 1.0, 1.6, 2.4, 3.5)[severity - 1] * pixels.shape[0] / 45
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _jpeg(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=(40, 25, 15, 8, 3)[severity - 1])
    return np.asarray(Image.open(file).convert("RGB"))


def _unknown(pixels: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Something that is no digit: stripes of a random direction and color."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    angle, step = rng.uniform(0, np.pi), 2.0 + severity
    wave = np.sin((rows * np.sin(angle) + columns * np.cos(angle)) / step)[..., None]
    return _levels(128 + 100 * wave * rng.uniform(-1, 1, 3))


def _levels(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> Pixels:
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


_Change = Callable[[Pixels, int, np.random.Generator], Pixels]
#: Faults of the picture.
FAULTS: Final[dict[str, _Change]] = {
    "dark": _dark,
    "blur": _blur,
    "noise": _noise,
    "color": _color,
    "jpeg": _jpeg,
    "unknown": _unknown,
}
#: Faults of the stream: only few classes come, no frame comes, the source is lost, frames are damaged.
STREAM_FAULTS: Final = ("mix", "stall", "lost", "corrupt")


def damage(pixels: Pixels, fault: Fault, rng: np.random.Generator) -> Pixels:
    """The picture with a fault."""
    return FAULTS[fault.name](pixels, fault.severity, rng)
