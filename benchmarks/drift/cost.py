"""CPU time per frame of the monitor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgecv.drift import Monitor
from edgecv.drift.profile import DriftProfile


def _median_ms(call: Callable[[], Any], calls: int) -> float:
    """Median of 61 short blocks, CPU milliseconds per call: a shared machine is slow for some of them."""
    blocks = []
    for _ in range(61):
        began = time.process_time_ns()
        for _ in range(calls):
            call()
        blocks.append((time.process_time_ns() - began) / calls / 1e6)
    return float(np.median(blocks))


def costs(profile: DriftProfile) -> dict[str, float]:
    """Milliseconds per frame that is sampled, by its size, and per frame that is not."""
    rng = np.random.default_rng(0)
    monitor = Monitor(profile)
    probabilities = rng.dirichlet(np.ones(profile.classes)).astype(np.float32)
    found = {}
    for height, width in ((224, 224), (480, 640), (1080, 1920)):
        frame = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        found[f"sampled {width}x{height} ms"] = _median_ms(
            lambda frame=frame: monitor.measure(probabilities, frame),  # type: ignore[misc]
            20,
        )
    clock = iter(range(10**9))
    # all the frames of a stream: measured, kept, judged at the end of windows
    frame = rng.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    found["sampled 640x480, windows included ms"] = _median_ms(
        lambda: monitor.observe(probabilities, frame, float(next(clock))), 200
    )
    monitor._thinner.stride_s = 1e12
    found["not sampled ms"] = _median_ms(
        lambda: monitor.observe(probabilities, frame, float(next(clock))), 2000
    )
    return found
