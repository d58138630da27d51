"""Prepared pictures, kept between models that want the same pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Preprocess
from edgecv.preprocess import prepare

__all__ = ["PixelCache", "PixelSource"]


class PixelSource(Protocol):
    """Where prepared pixels come from."""

    def get(self, path: Path, preprocess: Preprocess) -> npt.NDArray[np.uint8]:
        """Pixels of a picture: uint8 [h, w, 3] RGB of ``preprocess.size``, not to be written to."""
        ...


class PixelCache:
    """Decoded, resized and cropped pictures within a bound of bytes.

    What does not fit is prepared again each time. Nothing is evicted: evaluations run over the same
    pictures in the same order, where throwing out the oldest would miss every time.

    Args:
        max_bytes: Bound of the pixels held.
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pixels: dict[tuple[Path, Preprocess], npt.NDArray[np.uint8]] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes of the pixels held."""
        return self._bytes

    def get(self, path: Path, preprocess: Preprocess) -> npt.NDArray[np.uint8]:
        """Pixels of a picture: uint8 [h, w, 3] RGB of ``preprocess.size``, not to be written to.

        Raises:
            InputError: The picture cannot be read.
        """
        # channel order, mean and std come later, in the conversion to the input's dtype
        key = (path, replace(preprocess, color="rgb", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
        known = self._pixels.get(key)
        if known is not None:
            return known
        pixels = prepare(path, preprocess)
        if self._bytes + pixels.nbytes <= self._max_bytes:
            # a copy where the pixels are a view of something larger
            kept = pixels if pixels.base is None else pixels.copy()
            kept.flags.writeable = False
            self._pixels[key] = kept
            self._bytes += kept.nbytes
        return pixels
