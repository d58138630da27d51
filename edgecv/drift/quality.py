"""What a frame looks like, in eleven numbers: brightness, sharpness, noise, color, traces of compression.

Colors are read from a thumbnail of at most 160x120 pixels. Sharpness, noise and blockiness live in single
pixels and would not survive a thumbnail, so they are read from as many pixels at full resolution: the whole
frame when it is small, else four windows that begin at multiples of 8 (the grid of JPEG's blocks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError

__all__ = ["LEAST_SIDE", "QUALITY", "quality"]

#: Names of the statistics, in order.
QUALITY: Final = (
    "brightness",  # mean luma, 0 to 1
    "contrast",  # standard deviation of luma, 0 to 0.5
    "detail",  # log of the mean step between neighboring pixels, in grey levels
    "sharpness",  # log of that step over the step between blocks of 2x2 pixels; gain cancels out
    "noise",  # log of the noise's standard deviation in grey levels
    "blockiness",  # log of the steps across the edges of 8x8 blocks over all other steps
    "red",  # (red - green) / mean
    "blue",  # (blue - green) / mean
    "saturation",  # mean of (largest - smallest channel), 0 to 1
    "highlights",  # share of pixels with luma 250 and more
    "shadows",  # share of pixels with luma 5 and less
)

_ROWS, _COLUMNS = 120, 160
#: Size of each of the four windows at full resolution, multiples of 8.
_TILE: Final = (48, 64)
_BLOCK: Final = 8
#: Smaller frames say nothing.
LEAST_SIDE: Final = _BLOCK
_LUMA: Final = (np.float32(0.299), np.float32(0.587), np.float32(0.114))
#: Keeps logarithms of flat pictures finite; a tenth of a grey level.
_FLAT: Final = 0.1
#: Median of |normal| is 0.6745 standard deviations; the mask's weights have the norm 6.
_NOISE_SCALE: Final = 1 / (0.6745 * 6)

Array = npt.NDArray[np.float64]


def quality(frame: npt.NDArray[Any]) -> Array:
    """Statistics of a frame.

    Args:
        frame: uint8 [H, W, 3] RGB, at least 8x8.

    Returns:
        float64 [11], as :data:`QUALITY` names them; finite for every frame.

    Raises:
        InputError: Another shape or dtype.

    >>> flat = quality(np.full((16, 16, 3), 51, np.uint8))
    >>> float(round(flat[0], 3)), float(flat[QUALITY.index("contrast")])
    (0.2, 0.0)
    """
    if (
        frame.dtype != np.uint8
        or frame.ndim != 3
        or frame.shape[2] != 3
        or min(frame.shape[:2]) < 8
    ):
        raise InputError(
            f"a frame of {frame.dtype} {list(frame.shape)} cannot be measured",
            cure="Give uint8 [height, width, 3], at least 8x8 pixels.",
        )
    numbers = np.array([*_colors(frame), *_details(_windows(frame))])
    return np.asarray(numbers[_ORDER], np.float64)


#: From the order of computation to that of :data:`QUALITY`.
_ORDER: Final = np.array([0, 1, 7, 8, 9, 10, 2, 3, 4, 5, 6])


def _colors(frame: npt.NDArray[np.uint8]) -> tuple[float, ...]:
    """Brightness, contrast, red, blue, saturation, highlights, shadows."""
    height, width = frame.shape[:2]
    small = frame[:: -(-height // _ROWS), :: -(-width // _COLUMNS)]
    planes = [np.ascontiguousarray(small[..., k]).reshape(-1) for k in range(3)]
    # integer sums are several times as fast as numpy's mean of bytes
    red, green, blue = (float(plane.sum(dtype=np.uint32)) / plane.size for plane in planes)
    luma = _luma(planes)
    middle = (red + green + blue) / 3 + 1.0
    largest = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    smallest = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    mean = float(luma.mean())
    return (
        mean / 255,
        math.sqrt(max(float(luma @ luma) / luma.size - mean**2, 0.0)) / 255,
        (red - green) / middle,
        (blue - green) / middle,
        float((largest - smallest).sum(dtype=np.uint32)) / luma.size / 255,
        float(np.count_nonzero(luma >= 250)) / luma.size,
        float(np.count_nonzero(luma <= 5)) / luma.size,
    )


def _luma(planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    red, green, blue = (plane * weight for plane, weight in zip(planes, _LUMA, strict=True))
    red += green
    red += blue
    return np.asarray(red, np.float32)


def _windows(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Luma at full resolution: float32 [windows, rows, columns]."""
    height, width = frame.shape[:2]
    rows, columns = _TILE
    if height < 2 * rows or width < 2 * columns:
        return _luma([frame[None, : 2 * rows, : 2 * columns, k] for k in range(3)])
    places = [
        (
            (part * height // 4 - rows // 2) // _BLOCK * _BLOCK,
            (other * width // 4 - columns // 2) // _BLOCK * _BLOCK,
        )
        for part in (1, 3)
        for other in (1, 3)
    ]
    tiles = np.stack([frame[y : y + rows, x : x + columns] for y, x in places])
    return _luma([tiles[..., k] for k in range(3)])


def _details(luma: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """Detail, sharpness, noise, blockiness of float32 [windows, rows, columns]."""
    across, down = _steps(luma)
    step = (_mean(across) + _mean(down)) / 2
    rows, columns = luma.shape[1] // 2 * 2, luma.shape[2] // 2 * 2
    even = luma[:, :rows:2, :columns] + luma[:, 1:rows:2, :columns]
    half = (even[:, :, ::2] + even[:, :, 1::2]) * np.float32(0.25)
    coarse = sum(map(_mean, _steps(half))) / 2
    # Immerkaer 1996, "Fast Noise Variance Estimation": second differences along both axes cancel edges.
    # The median instead of the mean leaves out what texture remains; a quarter of the places is enough.
    second = luma[:, :, 2::2] - 2 * luma[:, :, 1:-1:2] + luma[:, :, :-2:2]
    cross = np.abs(second[:, 2::2] - 2 * second[:, 1:-1:2] + second[:, :-2:2])
    flat = cross.reshape(-1)
    noise = float(np.partition(flat, flat.size // 2)[flat.size // 2]) * _NOISE_SCALE
    # at least 8 rows and 8 columns; a frame of exactly 8 has no block's edge inside
    edges = [
        _mean(steps) if steps.size else step
        for steps in (across[:, :, _BLOCK - 1 :: _BLOCK], down[:, _BLOCK - 1 :: _BLOCK])
    ]
    return (
        math.log(step + _FLAT),
        math.log((step + _FLAT) / (coarse + _FLAT)),
        math.log(noise + _FLAT),
        math.log((sum(edges) / 2 + _FLAT) / (step + _FLAT)),
    )


def _steps(
    luma: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    across, down = luma[:, :, 1:] - luma[:, :, :-1], luma[:, 1:] - luma[:, :-1]
    return np.abs(across, out=across), np.abs(down, out=down)


def _mean(values: npt.NDArray[np.float32]) -> float:
    return float(values.sum()) / values.size
