"""From a window's numbers to an estimate of accuracy with its interval, or to "cannot tell"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.window import FEATURES
from edgecv.stats.estimate import normal_quantile

__all__ = ["METHODS", "Estimate", "Estimator", "Forest"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: ``cbpe``: mean calibrated confidence; ``atc``: share above a threshold; the others are fitted: ``ridge`` on what
#: the scores say, ``trees`` on that and on picture quality, ``both``: trees on what the ridge leaves; ``guarded``:
#: CBPE where ``both`` agrees with it, else ``both``.
METHODS: Final = ("cbpe", "atc", "ridge", "trees", "both", "guarded")
#: Difference from which on CBPE is not believed at all. Where drift is mild CBPE is the better one (3.4 points
#: against 5.6 on CIFAR-10 where accuracy is above 60 %), where it is severe CBPE is 30 points too high.
_DISBELIEF: Final = 0.15
_CALIBRATED: Final = FEATURES.index("mean calibrated")
_SURE: Final = FEATURES.index("mean sure")


@dataclass(frozen=True)
class Forest:
    """Regression trees as arrays, one after the other; children come after their parent.

    Attributes:
        roots: int64 [trees], index of each tree's first node.
        feature: int64 [nodes], index into FEATURES; -1 for a leaf.
        threshold: float64 [nodes]; values up to it go left.
        left: int64 [nodes]; the right child of a node is ``right``.
        right: int64 [nodes].
        value: float64 [nodes], accuracy, or what is added to the ridge's.
    """

    roots: Integers
    feature: Integers
    threshold: Array
    left: Integers
    right: Integers
    value: Array

    def predict(self, numbers: Array) -> float:
        """Mean over the trees.

        >>> forest = Forest(
        ...     roots=np.array([0]), feature=np.array([0, -1, -1]), threshold=np.array([0.5, 0, 0]),
        ...     left=np.array([1, 0, 0]), right=np.array([2, 0, 0]), value=np.array([0.6, 0.4, 0.8]),
        ... )
        >>> forest.predict(np.array([0.5])), forest.predict(np.array([0.6]))
        (0.4, 0.8)
        """
        nodes = self.roots
        while True:
            inner = self.feature[nodes] >= 0
            if not inner.any():
                return float(self.value[nodes].mean())
            goes_left = numbers[self.feature[nodes]] <= self.threshold[nodes]
            nodes = np.where(inner, np.where(goes_left, self.left[nodes], self.right[nodes]), nodes)


@dataclass(frozen=True)
class Estimate:
    """Accuracy of a window, estimated without labels.

    Attributes:
        top1: In [0, 1].
        low: Lower bound of 95 %.
        high: Upper bound.
        inside: Whether the window is like those that the estimator was judged on, and the interval narrow
            enough to say anything.
        cbpe: Mean calibrated confidence, beside it.
    """

    top1: float
    low: float
    high: float
    inside: bool
    cbpe: float


@dataclass(frozen=True)
class Estimator:
    """How accuracy is estimated, with what was measured of its error.

    Attributes:
        method: One of :data:`METHODS`.
        coefficients: float64 [1 + F] of a ridge regression, constant first; empty for methods without.
        forest: Of methods with trees, else None.
        errors: float64 [K, 3]: estimate (ascending), 2.5 % and 97.5 % quantile of (truth - estimate) near it,
            for windows of *window* frames under corruptions that the fit had not seen.
        low: float64 [F], smallest value of each number among the windows of the fit, with a margin.
        high: float64 [F], largest.
        window: Frames per window of the fit.
        widest: Width of an interval beyond which it says nothing.
    """

    method: str
    coefficients: Array
    forest: Forest | None
    errors: Array
    low: Array
    high: Array
    window: int
    widest: float

    def point(self, numbers: Array) -> float:
        """The estimate alone, in [0, 1]."""
        if self.method == "cbpe":
            value = float(numbers[_CALIBRATED])
        elif self.method == "atc":
            value = float(numbers[_SURE])
        else:
            value = 0.0
            if self.coefficients.size:
                value = float(self.coefficients[0] + self.coefficients[1:] @ numbers)
                value = min(max(value, 0.0), 1.0)
            if self.forest is not None:
                value += self.forest.predict(numbers)
            if self.method == "guarded":
                cbpe = float(numbers[_CALIBRATED])
                trust = max(0.0, 1 - abs(value - cbpe) / _DISBELIEF)
                value += trust * (cbpe - value)
        return min(max(value, 0.0), 1.0)

    def estimate(self, numbers: Array, effective: float, *, shift: float = 0.0) -> Estimate:
        """Estimate with interval.

        The measured error holds for windows of :attr:`window` independent frames; fewer add the variance
        of a rate, more take nothing away (what is wrong with the method does not average out).

        Args:
            numbers: float64 [F], of the window.
            effective: Its effective sample size.
            shift: Added to the estimate: what audited frames showed.
        """
        point = self.point(numbers)
        rows = self.errors
        down, up = (float(np.interp(point, rows[:, 0], rows[:, k])) for k in (1, 2))
        value = min(max(point + shift, 0.0), 1.0)
        extra = max(0.0, 1 / max(effective, 1.0) - 1 / self.window)
        noise = normal_quantile(0.975) ** 2 * max(value * (1 - value), 0.05) * extra
        low = max(0.0, value - math.sqrt(min(down, 0.0) ** 2 + noise) + max(down, 0.0))
        high = min(1.0, value + math.sqrt(max(up, 0.0) ** 2 + noise) + min(up, 0.0))
        low, high = min(low, high), max(low, high)
        known = bool(((numbers >= self.low) & (numbers <= self.high)).all())
        return Estimate(
            # where the method is known to err to one side the interval lies there, and the point in it
            min(max(value, low), high),
            low,
            high,
            known and high - low <= self.widest,
            float(numbers[_CALIBRATED]),
        )
