"""Neighboring frames are alike: how alike, and how far apart samples must lie to count as new.

Measured on a stream without any drift (scenes held for 30 frames): a Kolmogorov-Smirnov test of 200 frames
against the reference rejects always, thinned to every 30th frame 17 % of the time instead of 1 %. So samples
are thinned until little correlation is left, and the rest enters the effective number of samples.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Thinner", "class_autocorrelation_time", "integrated_time", "time_of_parts"]

Array = npt.NDArray[np.float64]

#: Sokal 1997, "Monte Carlo Methods in Statistical Mechanics", 3: sum up to the first lag >= 6 times the sum.
_WINDOW: Final = 6.0
#: Samples from which on a correlation time is believed, and how many times itself they must be.
LEAST: Final = 128
_LONG_ENOUGH: Final = 10.0
_SCATTER: Final = 6.0
#: Parts of a record among which a step cannot be in the middle.
_PARTS: Final = 3


def _correlations(signal: Array) -> Array:
    """Autocorrelation at lags 0, 1, ...; zeros behind lag 0 for a constant signal."""
    centered = signal - signal.mean()
    size = 1 << (2 * len(centered) - 1).bit_length()
    power = np.abs(np.fft.rfft(centered, size)) ** 2
    products = np.fft.irfft(power, size)[: len(centered)]
    if products[0] <= 1e-12 * max(1.0, float(np.square(signal).sum())):
        return np.eye(1, len(signal)).reshape(-1)
    return np.asarray(products / products[0], np.float64)


def _class_correlations(classes: npt.NDArray[np.int64]) -> Array:
    """Likewise for answers: how much more often than by chance two at a lag are equal."""
    names, index = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        return np.eye(1, len(classes)).reshape(-1)
    shares = np.bincount(index) / len(classes)
    chance = float(np.square(shares).sum())
    size = 1 << (2 * len(classes) - 1).bit_length()
    same = np.zeros(len(classes))
    # rarer classes add next to nothing, and a thousand of them would cost a thousand transforms
    for k in np.argsort(-shares, kind="stable")[:32]:
        power = np.abs(np.fft.rfft(index == k, size)) ** 2
        same += np.fft.irfft(power, size)[: len(classes)]
    pairs = np.arange(len(classes), 0, -1)
    # tapered like those of a signal: pairs at long lags are few
    found = (same / pairs - chance) / (1 - chance) * pairs / len(classes)
    found[0] = 1.0
    return np.asarray(found)


def _sum(correlations: Array, count: int) -> float:
    """1 + 2 * sum of the correlations, at least 1, of an estimate from *count* samples.

    The sum ends where correlations drown in their own noise, 1 / sqrt(count), or at the lag that Sokal
    recommends: beyond, only noise would be added.
    """
    total, floor = 1.0, 1 / math.sqrt(count)
    for lag in range(1, len(correlations)):
        if correlations[lag] <= floor or lag >= _WINDOW * total:
            break
        total += 2 * float(correlations[lag])
    return total


def integrated_time(signal: npt.ArrayLike) -> float:
    """Samples of a signal that are worth one independent sample (integrated autocorrelation time).

    Args:
        signal: [N] values in order, finite.

    Returns:
        At least 1; 1 for an independent or a constant signal.

    >>> integrated_time([0.0] * 50)
    1.0
    """
    values = np.asarray(signal, np.float64)
    return _sum(_correlations(values), len(values))


def class_autocorrelation_time(classes: npt.ArrayLike) -> float:
    """The same for answers.

    Args:
        classes: int [N] in order.

    >>> class_autocorrelation_time([3] * 50)
    1.0
    """
    values = np.asarray(classes, np.int64)
    return _sum(_class_correlations(values), len(values))


def time_of_parts(signals: Array, classes: npt.NDArray[np.int64], length: int) -> float:
    """Largest correlation time of several signals, from parts of the record with a mean of their own.

    A fault that begins is a step, and a step looks like an endless correlation. It lies in one part only, so
    of every correlation the middle one over the parts is taken.

    Args:
        signals: float64 [N, M].
        classes: int64 [N].
        length: Of a part; what is left over at the beginning is not used.
    """
    ends = range(len(signals), length - 1, -length)
    columns = [
        [_correlations(column) for column in signals[end - length : end].T]
        + [_class_correlations(classes[end - length : end])]
        for end in ends
    ]
    middle = np.median(np.array(columns), axis=0)
    return max(_sum(row, length * len(ends)) for row in middle)


class Thinner:
    """Decides which frames are sampled, by time, and says what the samples are worth.

    It starts with every frame. While samples are correlated (time above :attr:`most`) the distance
    between them grows; where they are independent it shrinks a little. A change of the distance begins
    the learning anew.

    Args:
        longest_s: Largest distance. What changes more slowly (daylight) is no correlation that thinning could
            remove; it only makes samples worth less.
        keep: Samples remembered.
        most: Correlation time, in samples, above which the distance grows.
        least: Below which it shrinks.

    Attributes:
        stride_s: Distance of samples in seconds; 0 is every frame.
        time: Correlation time of the samples, in samples; ``inf`` while it is not known.
    """

    def __init__(
        self, *, longest_s: float = 30.0, keep: int = 512, most: float = 1.8, least: float = 1.1
    ) -> None:
        self.longest_s: float = longest_s
        self.most: float = most
        self.least: float = least
        self.stride_s: float = 0.0
        self.time: float = math.inf
        self._signals: deque[Array] = deque(maxlen=keep)
        self._classes: deque[int] = deque(maxlen=keep)
        self._gaps: deque[float] = deque(maxlen=64)
        self._last: float | None = None
        self._since = 0

    @property
    def learning(self) -> bool:
        """Whether the correlation time is not known yet."""
        return math.isinf(self.time)

    def wants(self, at_s: float) -> bool:
        """Whether a frame of this time is to be sampled; a clock that was set back begins anew."""
        last = self._last
        # half of a usual gap of tolerance would be finer; a hair is enough against rounding
        return last is None or at_s < last or at_s - last >= self.stride_s * (1 - 1e-9)

    def add(self, signals: Array, answer: int, at_s: float) -> bool:
        """Take a sample.

        Args:
            signals: float64 [M], what must be uncorrelated.
            answer: The class.
            at_s: Its time.

        Returns:
            Whether the distance of samples changed, so that older samples are worth something else.
        """
        if self._last is not None and at_s > self._last:
            self._gaps.append(at_s - self._last)
        self._last = at_s
        self._signals.append(signals)
        self._classes.append(answer)
        self._since += 1
        # a look at the record costs as much as some ten samples
        if len(self._signals) < LEAST or self._since < (LEAST // 2 if self.learning else LEAST):
            return False
        self._since = 0
        return self._judge()

    def _judge(self) -> bool:
        time = time_of_parts(np.stack(self._signals), np.array(self._classes), LEAST)
        if not self._gaps:
            # all frames at one instant (pictures without a clock): nothing to thin by
            self.time = time
            return False
        gap = float(np.median(self._gaps))
        count = len(self._signals)
        if not self.learning and count < _PARTS * LEAST:
            # a fault that begins now would be taken for correlation; what was known will do meanwhile
            return False
        # an estimate from few samples scatters by several times 1 / sqrt(samples)
        scatter = 1 + _SCATTER / math.sqrt(count)
        if time > self.most * scatter and self.stride_s < self.longest_s:
            # the new samples shall be worth about 1 / 1.3 of independent ones
            self._restart(min(gap * min(time / 1.3, 8.0), self.longest_s), time)
            return True
        if time < self.least and self.stride_s > 0 and count == self._signals.maxlen:
            self._restart(self.stride_s * 0.7, time)
            return True
        if not self.learning or count >= min(_LONG_ENOUGH * time, self._signals.maxlen or 0):
            self.time = time
        return False

    def _restart(self, stride_s: float, time: float) -> None:
        grown = stride_s / self.stride_s if self.stride_s > 0 else 0.0
        self.stride_s, self._since = stride_s, 0
        if not self.learning:
            # it was known once: what is expected of the new distance will do until it is known again
            self.time = max(1.0, time / max(grown, 1.0)) if grown else math.inf
        self._signals.clear()
        self._classes.clear()
        self._gaps.clear()
