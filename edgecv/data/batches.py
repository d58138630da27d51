"""Pictures of a folder as the arrays that calibration wants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Preprocess
from edgecv.data.decode import in_threads
from edgecv.data.scan import find_pictures
from edgecv.preprocess import apply, load_rgb

__all__ = ["batches_digest", "picture_batches"]

_BATCH = 32


def picture_batches(
    folder: str | Path, preprocess: Preprocess, *, count: int = 256
) -> list[npt.NDArray[np.float32]]:
    """At most *count* pictures below *folder*, evenly spread over their sorted names.

    Args:
        folder: Of any structure.
        preprocess: From picture to pixels; mean and std are not applied.
        count: How many.

    Returns:
        Batches float32 [N, 3, H, W], RGB in [0, 1].

    Raises:
        InputError: There is no picture, or one cannot be read.
    """
    found = find_pictures(folder)
    spread = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)

    def one(path: Path) -> npt.NDArray[Any]:
        pixels = apply(load_rgb(path), preprocess).transpose(2, 0, 1)
        return pixels.astype(np.float32) / np.float32(255)

    pixels = list(in_threads(one, [found[i] for i in spread]))
    return [np.stack(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH)]


def batches_digest(batches: Iterable[npt.NDArray[Any]]) -> str:
    """``sha256:…`` of the pixels that a calibration saw, in order."""
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(batch.tobytes())
    return f"sha256:{digest.hexdigest()}"
