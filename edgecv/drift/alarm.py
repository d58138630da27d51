"""A sequential alarm on the means of steps, with a stated mean time between false alarms.

Page's CUSUM needs to know what is usual. Nobody knows that of a stream, and a baseline of a few windows,
taken for the truth, makes false alarms many times as frequent as stated (Jensen et al. 2006, "Effects of
Parameter Estimation on Control Chart Properties"). So the chart is self-starting (Hawkins 1987): each window
is judged by all windows before it, with the uncertainty of that comparison, and then joins them.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError

__all__ = ["CALM", "Change", "Latch", "SequentialAlarm", "block_variance", "cusum_threshold"]

Array = npt.NDArray[np.float64]

#: Half of the shift that the chart is most sensitive to, in standard deviations of a window's mean.
ALLOWANCE: Final = 0.5
#: One wild step alone is no alarm, nor are a few: means of twenty frames have heavier tails than a normal score.
_CLIP: Final = 3.0
#: Steps that the scatter inside steps counts for, beside the scatter between them.
_PRIOR: Final = 10.0
#: Steps after which older ones fade, so that months of usual change do not look like one.
_MEMORY: Final = 500.0
#: Steps that wait to join the baseline while a chart is half way to an alarm.
_WAITING: Final = 10
#: Log likelihood ratio at which what raised an alarm is taken to be over, and the least size of it, in standard
#: deviations of a step.
_OVER: Final = 8.0
_LEAST_SIZE: Final = 0.7
#: Standard errors that the size is taken smaller by than it looks.
_CAUTION: Final = 1.5
#: Steps whose scores are remembered.
_LATEST: Final = 32
#: Windows, or steps, without a finding that switch a latch off.
CALM: Final = 3


def cusum_threshold(mean_windows: float, charts: int) -> float:
    """Height at which one of *charts* CUSUMs alarms falsely every *mean_windows* windows.

    Siegmund 1985, *Sequential Analysis*, 2.6: a one-sided chart of a standard normal with allowance k and
    height h runs (exp(2 k b) - 2 k b - 1) / (2 k**2) windows, b = h + 1.166.

    Args:
        mean_windows: At least 10.
        charts: One-sided charts; their rates add up.

    Raises:
        InputError: Fewer than 10 windows.

    >>> round(cusum_threshold(465, 2), 1)  # known: 465 windows for a two-sided chart with h = 5
    5.0
    """
    if not mean_windows >= 10:
        raise InputError(
            f"a false alarm every {mean_windows!r} windows is no rate", cure="Use 1000."
        )
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        exponent = 2 * ALLOWANCE * (middle + 1.166)
        run = (math.exp(exponent) - exponent - 1) / (2 * ALLOWANCE**2)
        low, high = (middle, high) if run < mean_windows * charts else (low, middle)
    return high


def block_variance(samples: Array, time: float, rng: np.random.Generator) -> Array:
    """Variance of the mean of correlated samples: moving-block bootstrap (Künsch 1989).

    Args:
        samples: float64 [N, M] in order.
        time: Their autocorrelation time, in samples.
        rng: Of the resampling.

    Returns:
        float64 [M].
    """
    n = len(samples)
    length = min(max(1, math.ceil(4 * time)), max(1, n // 4))
    sums = np.concatenate([np.zeros((1, samples.shape[1])), np.cumsum(samples, axis=0)])
    blocks = sums[length:] - sums[:-length]
    count = max(1, n // length)
    drawn = blocks[rng.integers(0, len(blocks), (200, count))].sum(axis=1) / (count * length)
    # blocks of L samples miss the correlation across their edges: about time / L of the variance
    return np.asarray(drawn.var(axis=0, ddof=1) * count * length / n)


@dataclass(frozen=True)
class Change:
    """Judgement of one step.

    Attributes:
        scores: float64 [M], distance from the baseline in standard deviations; 0 for the first step.
        raised: Whether an alarm began with this step.
        active: Whether one is on.
        signals: Indices of the signals that are beyond their threshold.
        age: While an alarm is on, steps since its chart left zero, this one included: when the change began, as
            far as a CUSUM can tell (Page 1954). Else 0.
    """

    scores: Array
    raised: bool
    active: bool
    signals: tuple[int, ...]
    age: int


class _Return:
    """Whether a signal that moved is as before: the opposite CUSUM, whose two hypotheses are known by now.

    Within some standard deviations of what is usual lies a small lasting change, too, at every single step. So
    "usual again" is weighed against "still where the alarm found it": Page's test, log likelihood ratios of
    normals with mean 0 and with the mean since the change.

    Args:
        scores: Of the steps since the change.
    """

    def __init__(self, scores: list[float]) -> None:
        self._sum, self._count, self._for_usual = sum(scores), len(scores), 0.0

    def add(self, score: float) -> bool:
        """Take a step; whether it is over."""
        self._sum, self._count = self._sum + score, self._count + 1
        # a chart raises an alarm where chance helps it: weighed against the true size the test would be quick to
        # end, weighed against less it is only slow
        size = max(_LEAST_SIZE, self._sum / self._count - _CAUTION / math.sqrt(self._count))
        self._for_usual = max(0.0, self._for_usual + size * (size / 2 - score))
        return self._for_usual > _OVER


class SequentialAlarm:
    """CUSUM charts, two-sided on M signals and one-sided on further scores, with hysteresis.

    Args:
        signals: M.
        extra: Further scores that are standard normal (or less) where nothing changed.
        mean_windows: Stated mean number of steps between false alarms.
    """

    def __init__(self, signals: int, extra: int, mean_windows: float) -> None:
        self.threshold: float = cusum_threshold(mean_windows, 2 * signals + extra)
        # one-sided charts: upward on everything, downward on the signals
        self._charts = np.zeros(2 * signals + extra)
        self._ages = np.zeros(2 * signals + extra, np.int64)
        self._signals = signals
        self._latest: deque[Array] = deque(maxlen=_LATEST)
        self._returns: dict[int, _Return] = {}
        self._age = 0
        self._seen = 0.0
        self.mean: Array = np.zeros(signals)
        self._between = np.zeros(signals)
        self._within = np.zeros(signals)
        self._pending: list[tuple[Array, Array]] = []

    @property
    def active(self) -> bool:
        """Whether an alarm is on: some signal that raised it is not as before yet."""
        return bool(self._returns)

    @property
    def windows(self) -> float:
        """Steps in the baseline."""
        return self._seen

    def add(self, means: Array, variances: Array, extra: Array) -> Change:
        """Judge a step.

        Args:
            means: float64 [M].
            variances: float64 [M], of those means, by what is known inside the step.
            extra: float64, the further scores.
        """
        scores = self._scores(means, variances)
        everything = np.concatenate([scores, np.clip(extra, -_CLIP, _CLIP)])
        self._latest.append(everything)
        one_sided = np.concatenate([everything, -scores])
        self._charts = np.maximum(0.0, self._charts + one_sided - ALLOWANCE)
        self._ages = np.where(self._charts > 0, self._ages + 1, 0)
        over = np.flatnonzero(self._charts > self.threshold)
        raised = bool(over.size) and not self.active
        signals = tuple(sorted({int(i) % len(everything) for i in over}))
        if raised:
            self._age = int(self._ages[over].max())
            self._returns = {chart: _Return(self._size_of(chart)) for chart in over.tolist()}
        elif self.active:
            self._age += 1
            self._end_what_is_over(one_sided)
            # what led to the alarm was no part of what is usual
            self._pending.clear()
        else:
            self._pending.append((means, variances))
            waiting = self._charts.max() > self.threshold / 2
            while self._pending and (not waiting or len(self._pending) > _WAITING):
                self._learn(*self._pending.pop(0))
        return Change(scores, raised, self.active, signals, self._age)

    def forget(self) -> None:
        """Take what comes now for usual."""
        self._seen, self._age = 0.0, 0
        self._pending.clear()
        self._latest.clear()
        self._returns.clear()
        self._ages[:] = 0
        for array in (self._charts, self.mean, self._between, self._within):
            array[:] = 0.0

    def _scores(self, means: Array, variances: Array) -> Array:
        if self._seen == 0:
            return np.zeros(len(means))
        freedom = _PRIOR + self._seen - 1
        within = (self._within + variances) / (self._seen + 1)
        variance = (_PRIOR * within + self._between) / freedom
        spread = np.sqrt(np.maximum(variance, 1e-12) * (1 + 1 / self._seen))
        t = (means - self.mean) / spread
        # Wallace 1959: Student's t to a normal score
        z = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(t**2 / freedom))
        return np.asarray(np.clip(np.sign(t) * z, -_CLIP, _CLIP))

    def together(self, steps: int) -> Array:
        """Scores of the signals over the latest *steps* (32 at most) as one standard normal score: float64 [M]."""
        newest = list(self._latest)[-max(steps, 1) :]
        return np.asarray(np.sum(newest, axis=0) / math.sqrt(len(newest)))[: self._signals]

    def _size_of(self, chart: int) -> list[float]:
        """Scores of the steps since a chart left zero, upward where the chart looks downward."""
        width = len(self._latest[-1])
        sign, at = (1.0, chart) if chart < width else (-1.0, chart - width)
        return [sign * float(one[at]) for one in list(self._latest)[-int(self._ages[chart]) :]]

    def _end_what_is_over(self, one_sided: Array) -> None:
        """End the alarm when all signals that raised it are usual again.

        Those that followed do not hold it: what else is still changed raises one of its own.
        """
        for chart, back in list(self._returns.items()):
            if back.add(float(one_sided[chart])):
                del self._returns[chart]
        if not self._returns:
            self._age = 0
            # the charts begin at 0
            self._charts[:] = 0.0
            self._ages[:] = 0

    def _learn(self, means: Array, variances: Array) -> None:
        if self._seen >= _MEMORY:
            fade = (_MEMORY - 1) / self._seen
            self._seen *= fade
            self._between *= fade
            self._within *= fade
        self._seen += 1
        step = means - self.mean
        self.mean = self.mean + step / self._seen
        self._between = self._between + step * (means - self.mean)
        self._within = self._within + variances


class Latch:
    """On after some findings in a row, off after some windows without one.

    Args:
        on: Findings that switch it on.
        off: Windows without a finding that switch it off.

    >>> latch = Latch(on=2, off=1)
    >>> [latch.add(found) for found in (True, True, True, False)], latch.active
    ([False, True, False, False], False)
    """

    def __init__(self, on: int = 2, off: int = CALM) -> None:
        self._on, self._off = on, off
        self._run = 0
        self.active: bool = False

    def add(self, found: bool) -> bool:
        """Take a window; whether it switched the latch on."""
        against = found != self.active
        self._run = self._run + 1 if against else 0
        if self._run < (self._off if self.active else self._on):
            return False
        self._run, self.active = 0, not self.active
        return self.active
