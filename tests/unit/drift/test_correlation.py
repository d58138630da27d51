"""Correlation times that are known, and samples that are thinned until little is left."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgecv.drift.correlation import (
    Thinner,
    class_autocorrelation_time,
    integrated_time,
    time_of_parts,
)

Array = np.ndarray[Any, Any]


def autoregressive(count: int, memory: float, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, math.sqrt(1 - memory**2), count)
    values = np.empty(count)
    last = rng.normal()
    for i, step in enumerate(steps):
        last = memory * last + step
        values[i] = last
    return values


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8, 0.9])
def test_the_time_of_an_autoregressive_signal(memory: float) -> None:
    found = np.mean([integrated_time(autoregressive(4000, memory, seed)) for seed in range(10)])
    assert found == pytest.approx((1 + memory) / (1 - memory), rel=0.15, abs=0.1)


def test_scenes_that_hold_keep_their_class() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(rng.integers(0, 8, 4000), rng.geometric(1 / 5, 4000))[:8000]
    # geometric holds of mean 5: correlation (4/5) ** lag
    assert class_autocorrelation_time(classes) == pytest.approx((1 + 0.8) / (1 - 0.8), rel=0.2)
    assert class_autocorrelation_time(rng.permutation(classes)) < 1.15


def test_a_step_is_no_correlation() -> None:
    rng = np.random.default_rng(1)
    signal = rng.normal(0, 1, 512)
    signal[440:] += 8
    classes = rng.integers(0, 5, 512)
    assert integrated_time(signal) > 20
    assert time_of_parts(signal[:, None], classes, 128) < 2


def scene_stream(thinner: Thinner, frames: int, hold: float, seed: int) -> list[int]:
    """Feed scenes that hold for *hold* frames at 10 frames per second; the frames that were sampled."""
    rng = np.random.default_rng(seed)
    taken: list[int] = []
    signals, answer, left = np.zeros(3), 0, 0
    for frame in range(frames):
        if left == 0:
            signals, answer = rng.normal(0, 1, 3), int(rng.integers(6))
            left = int(rng.geometric(1 / hold))
        left -= 1
        if thinner.wants(frame / 10):
            taken.append(frame)
            thinner.add(signals, answer, frame / 10)
    return taken


def test_held_scenes_are_thinned_to_about_their_length() -> None:
    thinner = Thinner()
    taken = scene_stream(thinner, 60_000, 30, 2)
    assert not thinner.learning
    # scenes of 30 frames have a correlation time of 59 frames
    assert 2.5 <= thinner.stride_s <= 14
    assert 1 <= thinner.time <= 2.8
    assert len(taken) < 5000


def test_independent_frames_are_all_sampled() -> None:
    thinner = Thinner()
    assert len(scene_stream(thinner, 2000, 1, 3)) == 2000
    assert thinner.stride_s == 0
    assert thinner.time < 1.5


def test_the_stride_is_bounded() -> None:
    thinner = Thinner(longest_s=5.0)
    # a slow wave, as daylight is: no thinning helps
    for second in range(4000):
        if thinner.wants(float(second)):
            thinner.add(np.array([math.sin(second / 3000), 0.0]), second // 900, float(second))
    assert thinner.stride_s == 5.0


def test_a_clock_set_back_does_not_stop_the_sampling() -> None:
    thinner = Thinner()
    scene_stream(thinner, 20_000, 30, 4)
    assert thinner.stride_s > 0
    assert thinner.wants(0.0)
