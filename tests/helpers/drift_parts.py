"""A toy classifier of toy pictures with a drift profile, in seconds and without a model file."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from edgecv.drift import DriftProfile
from edgecv.drift.fit import FitOptions, fit_profile
from edgecv.drift.tables import Pictures

CLASSES = 3
SIZE = 32
_COLORS = np.array([[190, 90, 80], [80, 180, 90], [90, 90, 190]], np.float32)
IDENTITY = "sha256:" + "5" * 64

Array = np.ndarray[Any, Any]


def texture(height: int, width: int, rng: np.random.Generator) -> Array:
    """Gray levels with the spectrum of photographs, amplitude 1 / frequency; mean 0, deviation 1."""
    across, down = np.fft.rfftfreq(width), np.fft.fftfreq(height)
    frequency = np.hypot(down[:, None], across)
    frequency[0, 0] = np.inf
    waves = np.fft.rfft2(rng.normal(0, 1, (height, width))) / frequency
    made = np.fft.irfft2(waves, (height, width))
    return np.asarray(made / made.std())


def picture(label: int, rng: np.random.Generator) -> Array:
    """A textured background with a disc in the color of its class; some discs are hard to tell."""
    colors = np.stack([texture(SIZE, SIZE, rng) for _ in range(3)], axis=-1)
    gray = texture(SIZE, SIZE, rng)[..., None]
    real = 105 + 20 * gray + 5 * colors + rng.normal(0, 2, (SIZE, SIZE, 3))
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = np.hypot(y - rng.integers(10, 22), x - rng.integers(10, 22)) < rng.integers(5, 10)
    strength = rng.uniform(0.02, 0.5)
    real[disc] = (1 - strength) * real[disc] + strength * _COLORS[label]
    # exposure and white balance differ from picture to picture, as they do in every collection
    real = real * rng.uniform(0.7, 1.25) * rng.uniform(0.9, 1.1, 3)
    return np.clip(np.rint(real), 0, 255).astype(np.uint8)


def scores(frame: Array) -> Array:
    """Probabilities by color contrast: right for strong discs, at chance for faint ones."""
    planes = frame.astype(np.float32)
    planes = planes - planes.mean(axis=2, keepdims=True)
    planes = planes - np.median(planes, axis=(0, 1))
    logits = np.sort(planes.reshape(-1, 3), axis=0)[-80:].mean(axis=0) / 4
    powers = np.exp(logits - logits.max())
    return (powers / powers.sum()).astype(np.float32)


def pictures(count: int, seed: int) -> tuple[list[Array], Array]:
    """Pictures and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    return [picture(int(label), rng) for label in labels], labels.astype(np.int64)


@lru_cache(maxsize=1)
def profile() -> DriftProfile:
    """Of the toy classifier."""
    frames, labels = pictures(240, 7)
    return fit_profile(
        Pictures(frames.__getitem__, labels, np.arange(len(labels)), scores, 1e-9),
        IDENTITY,
        FitOptions(per_condition=60, window=100, windows=6),
    )
