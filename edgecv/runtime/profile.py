"""Where the time of one answer goes: per stage, and per layer where the engine says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgecv.errors import EdgecvError, InputError
from edgecv.results import Classification, Profile
from edgecv.spec.types import TensorSpec
from edgecv_runtimes.base import Array, Backend, ProfilesLayers

__all__ = ["noise", "profile"]

_PICTURE = (480, 640, 3)
_NO_LAYERS = "{} gives no times per layer to Python"


def noise(inputs: tuple[TensorSpec, ...], seed: int = 0) -> dict[str, Array]:
    """Arrays that fit: integers over the whole range of their dtype, floats in [0, 1)."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec in inputs:
        kind = np.dtype(spec.dtype)
        if kind.kind in "iu":
            span = np.iinfo(kind)
            feeds[spec.name] = rng.integers(span.min, span.max, spec.shape, kind, endpoint=True)
        else:
            feeds[spec.name] = rng.random(spec.shape, np.float32).astype(kind)
    return feeds


def profile(
    backend: Backend,
    inputs: tuple[TensorSpec, ...],
    classify: Callable[[Any], Classification] | None,
    infer: Callable[[Mapping[str, Array]], Any],
    *,
    image: Any,
    runs: int,
    clock: Callable[[], int],
) -> Profile:
    """Measure; see :meth:`edgecv.Runtime.profile`.

    Raises:
        InputError: *runs* is below 1.
    """
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
        raise InputError(f"runs={runs!r} is not a positive integer", cure="Use 1 or more.")
    feeds = noise(inputs)
    times = []
    for _ in range(runs):
        began = clock()
        infer(feeds)
        times.append(clock() - began)
    layers, note = None, _NO_LAYERS.format(backend.name)
    if isinstance(backend, ProfilesLayers):
        try:
            layers, note = backend.profile_layers(feeds, runs), ""
        except EdgecvError as error:
            note = str(error)
    stages = (
        _stages(classify, _picture() if image is None else image, runs) if classify else (None,) * 2
    )
    return Profile(runs, stages[0], float(np.median(times)) / 1e6, stages[1], layers, note)


def _stages(
    classify: Callable[[Any], Classification], image: Any, runs: int
) -> tuple[float, float]:
    """Medians of preprocessing and postprocessing, in milliseconds."""
    timings = [classify(image).timings for _ in range(runs)]
    return (
        float(np.median([t.preprocess_ns for t in timings])) / 1e6,
        float(np.median([t.postprocess_ns for t in timings])) / 1e6,
    )


def _picture() -> Array:
    """A frame of a small camera: 640 by 480 noise."""
    picture: Array = np.random.default_rng(0).integers(0, 256, _PICTURE, np.uint8)
    return picture
