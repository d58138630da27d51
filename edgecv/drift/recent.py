"""The newest part of a stream: steps of a few samples, summed, and how much the means of steps scatter."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv.drift.alarm import block_variance
from edgecv.drift.window import Window

__all__ = ["Recent", "Scatter", "Step"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """Some samples in a row, summed.

    Attributes:
        window: Their sums.
        effective: What they are worth, in independent frames.
        start_s: Time of the first.
    """

    window: Window
    effective: float
    start_s: float


class Recent:
    """The newest steps: as few as are worth a window, or those since something changed.

    Args:
        classes: C.
        size: Of a window, in independent frames.
    """

    def __init__(self, classes: int, size: float) -> None:
        self._classes, self._size = classes, size
        self._steps: deque[Step] = deque()

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step) -> None:
        """Take a step; what is older than a window goes."""
        self._steps.append(step)
        total = sum(one.effective for one in self._steps)
        while total - self._steps[0].effective >= self._size:
            total -= self._steps.popleft().effective

    def keep(self, count: int) -> None:
        """Forget all but the newest *count*: what lies before a change is no part of what is."""
        while len(self._steps) > max(count, 1):
            self._steps.popleft()

    @property
    def start_s(self) -> float:
        """Time of the first sample."""
        return self._steps[0].start_s

    def merged(self) -> tuple[Window, float]:
        """Everything as one window, and what it is worth."""
        window, effective = Window(self._classes), 0.0
        for one in self._steps:
            window.merge(one.window)
            effective += one.effective
        return window, effective


class Scatter:
    """Variance of a step's mean.

    A step is too short to tell: its scatter is that of a longer record, for so many samples. The record is
    looked at now and then, since a bootstrap costs as much as some ten samples.

    Args:
        size: Of a window, in independent frames; the record holds twice as many samples.
        rng: Of the resampling.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng
        self._record: deque[Array] = deque(maxlen=2 * size)
        self._new = 0
        self._of_one: Array = np.zeros(0)

    def add(self, samples: Array, time: float) -> Array:
        """Take a step's samples.

        Args:
            samples: float64 [N, M] in order.
            time: Their autocorrelation time, in samples.

        Returns:
            float64 [M], variance of their mean.
        """
        self._record.extend(samples)
        self._new += len(samples)
        if self._new >= min(self._size, len(self._record) / 2):
            record = np.stack(self._record)
            self._of_one = block_variance(record, time, self._rng) * len(record)
            self._new = 0
        return self._of_one / len(samples)
