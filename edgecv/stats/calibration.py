"""Whether probabilities can be believed: expected calibration error, log loss, Brier score.

Guo, Pleiss, Sun and Weinberger 2017 for the binned error; Brier 1950 for the score over all classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError
from edgecv.stats.estimate import Estimate, group_indices
from edgecv.stats.rates import RESAMPLES

__all__ = ["Bin", "Calibration", "calibration", "probabilities"]

_BINS = 15
_TINY = 1e-12


@dataclass(frozen=True)
class Bin:
    """Pictures whose confidence lies in one interval.

    Attributes:
        low: Of the confidence, exclusive (0 belongs to the first bin).
        high: Inclusive.
        pictures: How many.
        confidence: Their mean.
        accuracy: Share of right answers.
    """

    low: float
    high: float
    pictures: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far confidence is from accuracy; bootstrap intervals over groups.

    Attributes:
        ece: Expected calibration error of the best class, 15 bins of equal width, as a fraction.
        nll: Mean negative log likelihood of the truth, nats.
        brier: Mean squared distance of the probabilities from the truth, over all classes: 0 to 2.
        bins: Those with pictures, by confidence.
    """

    ece: Estimate
    nll: Estimate
    brier: Estimate
    bins: tuple[Bin, ...]


def probabilities(scores: npt.ArrayLike, kind: str) -> npt.NDArray[np.float64]:
    """Scores as probabilities, float64 [N, C].

    Args:
        scores: [N, C].
        kind: ``"logit"`` (softmax is taken) or ``"probability"`` (rows are scaled to the sum 1, which
            quantized ones miss by a little).

    Raises:
        InputError: Another kind, or probabilities that are negative or all 0.

    >>> probabilities([[0.0, 0.0]], "logit").tolist()
    [[0.5, 0.5]]
    """
    table = np.asarray(scores, np.float64)
    if kind == "logit":
        powers = np.exp(table - table.max(axis=1, keepdims=True))
        softmax: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return softmax
    if kind != "probability":
        raise InputError(
            f"scores of kind {kind!r} are no probabilities",
            cure="Seal the kind into the model: edgecv adopt MODEL --score-kind logit.",
        )
    sums = table.sum(axis=1, keepdims=True)
    if (table < 0).any() or (sums <= 0).any():
        raise InputError(
            "the probabilities are negative or all 0", cure="Are these scores perhaps logits?"
        )
    scaled: npt.NDArray[np.float64] = table / sums
    return scaled


def calibration(
    probability: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES // 4,
    seed: int = 0,
) -> Calibration:
    """Calibration of N answers.

    Args:
        probability: [N, C], rows sum to 1.
        labels: int [N], the truth.
        groups: [N] originals that belong together, or None.
        confidence: Coverage of the intervals.
        resamples: Of the bootstrap over groups.
        seed: Of the resampling.

    Raises:
        InputError: Shapes that do not fit.

    >>> calibration([[0.9, 0.1], [0.9, 0.1]], [0, 1]).ece.value
    0.4
    """
    table, truth = np.asarray(probability, np.float64), np.asarray(labels, np.int64)
    if table.ndim != 2 or truth.shape != (len(table),) or not len(table):
        raise InputError(
            f"probabilities {list(table.shape)} for labels {list(truth.shape)}",
            cure="Give [N, C] and [N].",
        )
    best, top = table.argmax(axis=1), table.max(axis=1)
    right = (best == truth).astype(np.float64)
    own = table[np.arange(len(table)), truth]
    losses = -np.log(np.maximum(own, _TINY))
    squares = (table**2).sum(axis=1) - 2 * own + 1
    place = np.clip(np.ceil(top * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gap = right - top
    index = group_indices(groups, len(table))
    if index is None:
        index = np.arange(len(table))
    number = int(index.max()) + 1
    # sums per group: [groups, 2 + bins]
    columns = np.zeros((number, 3 + _BINS))
    for k, values in enumerate((np.ones(len(table)), losses, squares)):
        np.add.at(columns[:, k], index, values)
    np.add.at(columns, (index, 3 + place), gap)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(number, np.full(number, 1 / number), resamples) @ columns

    def measures(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        n = sums[..., 0]
        ece = np.abs(sums[..., 3:]).sum(axis=-1) / n
        return np.stack([ece, sums[..., 1] / n, sums[..., 2] / n], axis=-1)

    value = measures(columns.sum(axis=0))
    low, high = np.quantile(measures(draws), [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    method = f"bootstrap over {number} groups, {resamples} resamples"
    ece, nll, brier = (
        Estimate(float(v), float(a), float(b), len(table), method, confidence)
        for v, a, b in zip(value, low, high, strict=True)
    )
    bins = tuple(
        Bin(
            k / _BINS,
            (k + 1) / _BINS,
            int(here.sum()),
            float(top[here].mean()),
            float(right[here].mean()),
        )
        for k in range(_BINS)
        if (here := place == k).any()
    )
    return Calibration(ece, nll, brier, bins)
