"""What is true of the answers: against labels, and int8 against float, with bounded memory.

Frames of one scene are alike, so counts are kept per scene and intervals use the effective number of frames
(:mod:`edgecv.stats`). Where the source knows no scenes, frames of the same few seconds count as one.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.camera.frame import Answer
from edgecv.stats import Estimate, tango, wilson
from edgecv.stats.rates import design_effect

__all__ = ["RECENT_GROUPS", "Paired", "Tally", "group_of"]

#: Groups whose spread is kept; older ones keep counting, with the same spread.
_GROUPS: Final = 4096
#: Scenes that "recent" looks back.
RECENT_GROUPS: Final = 100
#: Frames within this time count as one scene where the source does not know.
_SCENE_NS: Final = 5_000_000_000


def group_of(answer: Answer) -> int:
    """The scene of a frame."""
    scene = answer.frame.shot.scene
    return answer.frame.came_ns // _SCENE_NS if scene is None else scene


class Tally:
    """A mean over grouped observations.

    >>> tally = Tally()
    >>> for number in range(40):
    ...     tally.add(number % 4 != 0, group=number // 4)
    >>> estimate = tally.rate()
    >>> estimate.value, estimate.n
    (0.75, 40)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: deque[list[float]] = deque(maxlen=_GROUPS)  # group, sum, size
        self.n: int = 0
        self.plus: int = 0
        self.minus: int = 0

    def add(self, value: int, group: int) -> None:
        """One observation: 1, 0 or -1."""
        with self._lock:
            if not self._groups or self._groups[-1][0] != group:
                self._groups.append([float(group), 0.0, 0.0])
            self._groups[-1][1] += value
            self._groups[-1][2] += 1
            self.n += 1
            self.plus += value > 0
            self.minus += value < 0

    def _effective(self, table: npt.NDArray[np.float64], plus: int, minus: int, n: int) -> float:
        """Independent observations that would know as much."""
        sizes = table[:, 1]
        if sizes.max() == 1:
            return float(n)
        # what one observation per group would know, at least
        floor = sizes.sum() / (sizes**2).sum()
        mean = (plus - minus) / n
        variance = (plus + minus) / n - mean**2
        share = 1 / design_effect(table[:, 0], sizes, variance)
        return float(max(1.0, n * max(floor, share)))

    def rate(self, newest: int | None = None) -> Estimate | None:
        """Share of successes; None without observations.

        Args:
            newest: Of the newest groups only.
        """
        with self._lock:
            if not self.n:
                return None
            table = np.array(self._groups, np.float64)[-(newest or 0) :, 1:]
            plus, n = self.plus, self.n
            if newest is not None:
                plus, n = round(table[:, 0].sum()), round(table[:, 1].sum())
            value, effective = plus / n, self._effective(table, plus, 0, n)
            shape = wilson(value * effective, effective)
            method = f"wilson, effective n {effective:.0f}"
            return Estimate(value, shape.low, shape.high, n, method)

    def difference(self) -> Estimate | None:
        """Gains less losses; None without observations."""
        with self._lock:
            if not self.n:
                return None
            table = np.array(self._groups, np.float64)[:, 1:]
            n = self._effective(table, self.plus, self.minus, self.n)
            share = n / self.n
            shape = tango(self.plus * share, self.minus * share, n)
            value = (self.plus - self.minus) / self.n
            return Estimate(value, shape.low, shape.high, self.n, f"tango, effective n {n:.0f}")


class Paired:
    """The int8 file against the float file beside it, on the same frames."""

    def __init__(self) -> None:
        self._same, self._change = Tally(), Tally()

    def add(self, answer: Answer) -> None:
        """One frame that both answered."""
        group, shot = group_of(answer), answer.frame.shot
        self._same.add(answer.reference == answer.classification.top.label, group)
        if shot.label is not None:
            self._change.add(int(bool(answer.right)) - int(answer.reference == shot.label), group)

    def to_json(self) -> dict[str, Any] | None:
        """Agreement, and the difference in top-1 with its interval.

        Without labels ``delta`` is None, and the interval is what the disagreement leaves possible:
        accuracy cannot have changed by more than the share of frames whose class changed.
        """
        same = self._same.rate()
        if same is None:
            return None
        change = self._change.difference()
        bound = 1 - same.low
        return {
            "agreement": same.value,
            "delta": None if change is None else change.value,
            "interval": [-bound, bound] if change is None else [change.low, change.high],
            "n": same.n,
        }
