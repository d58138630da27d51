"""What pictures of each answered class are like, so that a window is compared with what its own classes lead one
to expect. By the answer, not by the truth: the field knows no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import COLUMNS
from edgecv.drift.quality import QUALITY

__all__ = ["LEAST_SPREAD", "MOST_CLASSES", "ByClass", "fit_by_class"]

Array = npt.NDArray[np.float64]

#: Classes that are kept at most, those answered most often: a profile stays some ten kilobytes.
MOST_CLASSES: Final = 100
#: Pictures that a class must have been answered for.
_LEAST: Final = 3
#: A picture statistic that does not vary at all counts as one that varies by one percent of a unit.
LEAST_SPREAD: Final = 0.01
_NEVER_ZERO: Final = 1e-9


@dataclass(frozen=True)
class ByClass:
    """Means per answered class on the reference pictures, minus the overall mean.

    Attributes:
        classes: int64 [M], output indices, ascending; other classes are as the overall mean is.
        columns: float64 [M, 10], of :data:`~edgecv.drift.answers.COLUMNS`, in standard deviations of the reference.
        quality: float64 [M, 11], of :data:`~edgecv.drift.quality.QUALITY`, likewise.
    """

    classes: npt.NDArray[np.int64]
    columns: Array
    quality: Array

    def expected_columns(self, counts: Array) -> Array:
        """Mean of the scores' numbers that these answers lead one to expect, minus the overall one: float64 [10]."""
        return self._share(counts) @ self.columns

    def expected_quality(self, counts: Array) -> Array:
        """The same of the quality statistics: float64 [11].

        >>> dark = np.eye(11)[:1] * -2.0
        >>> one = ByClass(np.array([1]), np.zeros((1, 10)), dark)
        >>> float(one.expected_quality(np.array([30.0, 10.0]))[0])
        -0.5
        """
        return self._share(counts) @ self.quality

    def scatter(self, counts: Array, reference_counts: Array) -> float:
        """Variance of that expectation, as a share of the variance of one picture."""
        share = self._share(counts)
        return float(np.square(share) @ (1 / np.maximum(reference_counts[self.classes], 1.0)))

    def _share(self, counts: Array) -> Array:
        return np.asarray(counts[self.classes] / max(float(counts.sum()), _NEVER_ZERO))


def fit_by_class(index: npt.NDArray[np.int64], table: Array, quality: Array) -> ByClass | None:
    """Class means, shrunk toward the overall mean the more, the less sure they are.

    Each statistic has its own shrinkage (empirical Bayes): variance between classes over that plus the variance
    of a class's mean. One that does not depend on the class gets zeros.

    Args:
        index: int64 [N], answered classes.
        table: float64 [N, 10], the scores' numbers.
        quality: float64 [N, 11].

    Returns:
        None where fewer than two classes were answered often enough.
    """
    count = np.bincount(index)
    kept = np.argsort(-count, kind="stable")[:MOST_CLASSES]
    kept = np.sort(kept[count[kept] >= _LEAST])
    if len(kept) < 2:
        return None
    columns, qualities = (
        _shrunk(values, index, kept, count[kept], floor)
        for values, floor in ((table, 1e-6), (quality, LEAST_SPREAD))
    )
    assert columns.shape[1] == len(COLUMNS)
    assert qualities.shape[1] == len(QUALITY)
    return ByClass(kept.astype(np.int64), columns, qualities)


def _shrunk(
    values: Array,
    index: npt.NDArray[np.int64],
    kept: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
    floor: float,
) -> Array:
    overall, spread = values.mean(axis=0), np.maximum(values.std(axis=0), floor)
    means = np.stack([values[index == k].mean(axis=0) for k in kept])
    rest = [np.square(values[index == k] - m).sum(axis=0) for k, m in zip(kept, means, strict=True)]
    within = np.sum(rest, axis=0) / max(int(count.sum()) - len(kept), 1)
    offsets = means - overall
    noise = within / count[:, None]
    between = np.maximum((np.square(offsets) - noise).mean(axis=0), 0.0)
    return np.asarray(offsets * between / (between + noise + _NEVER_ZERO**2) / spread)
