"""Monotonic timing with a fixed bound of memory."""

from __future__ import annotations

import time
from typing import Self

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError

__all__ = ["RingBuffer", "Timer"]


class RingBuffer:
    """The newest *capacity* durations, in nanoseconds.

    >>> ring = RingBuffer(2)
    >>> for value in (1, 2, 3):
    ...     ring.append(value)
    >>> ring.values().tolist(), ring.total
    ([2, 3], 3)

    Args:
        capacity: At least 1.

    Raises:
        InputError: *capacity* is below 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InputError(f"capacity {capacity} holds nothing", cure="Use 1 or more.")
        self._values = np.zeros(capacity, np.int64)
        self.total: int = 0

    def append(self, duration_ns: int) -> None:
        """Add one duration; the oldest goes when it is full."""
        self._values[self.total % len(self._values)] = duration_ns
        self.total += 1

    def values(self) -> npt.NDArray[np.int64]:
        """What is held, oldest first; a copy."""
        if self.total <= len(self._values):
            return self._values[: self.total].copy()
        return np.roll(self._values, -(self.total % len(self._values)))


class Timer:
    """Times a block on the monotonic clock.

    >>> with Timer() as timer:
    ...     _ = sum(range(10))
    >>> timer.wall_ns > 0
    True

    Args:
        into: Gets the duration too.

    Attributes:
        wall_ns: Duration of the last block.
    """

    def __init__(self, into: RingBuffer | None = None) -> None:
        self._into = into
        self._began = 0
        self.wall_ns: int = 0

    def __enter__(self) -> Self:
        self._began = time.monotonic_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_ns = time.monotonic_ns() - self._began
        if self._into is not None:
            self._into.append(self.wall_ns)
