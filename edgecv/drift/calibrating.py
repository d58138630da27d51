"""Fitting what turns scores into numbers: temperature, isotonic map, ATC's threshold, class means."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import Calibrator, Projection, log_scores
from edgecv.stats.calibration import probabilities

__all__ = ["fit_calibrator", "fit_temperature", "isotonic"]

Array = npt.NDArray[np.float64]

_MOST_OUTPUTS, _MOST_DIMENSIONS, _MOST_CLASSES = 48, 10, 100
#: Pictures in each class's own precision that weigh as much as the overall one.
_PRIOR: Final = 5.0


def fit_calibrator(
    scores: npt.NDArray[Any], labels: npt.NDArray[np.int64], least: float
) -> Calibrator:
    """Fit on pictures with known classes.

    Args:
        scores: Probabilities, [N, C].
        labels: int64 [N].
        least: As :attr:`Calibrator.least`.
    """
    logs = log_scores(scores, least)
    answers = logs.argmax(axis=1)
    right = (answers == labels).astype(np.float64)
    temperature = fit_temperature(logs, labels)
    confidence = probabilities(logs / temperature, "logit").max(axis=1)
    count = np.bincount(answers, minlength=logs.shape[1])
    hits = np.bincount(answers, right, logs.shape[1])
    return Calibrator(
        least=least,
        temperature=temperature,
        knots=isotonic(confidence, right),
        threshold=float(np.quantile(confidence, 1 - right.mean(), method="higher")),
        precision=(hits + _PRIOR * right.mean()) / (count + _PRIOR),
        projection=_fit_projection(logs, labels),
    )


def fit_temperature(logs: Array, labels: npt.NDArray[np.int64]) -> float:
    """Temperature with the least negative log likelihood (Guo et al. 2017), in [0.05, 20]."""
    own = np.arange(len(logs))

    def loss(log_temperature: float) -> float:
        scaled = logs / math.exp(log_temperature)
        top = scaled.max(axis=1)
        total = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
        return float((total - scaled[own, labels]).mean())

    low, high = math.log(0.05), math.log(20.0)
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return math.exp((low + high) / 2)


def isotonic(
    confidence: Array, right: Array, weights: Array | None = None, *, least: int = 20
) -> Array:
    """Share of right answers as a function of confidence that never falls: knots float64 [K, 2].

    Neighbors are first put together into cells of at least *least* (but no more than 40 cells): a single
    wrong picture among the surest would otherwise be a step of its own. Then adjacent violators are pooled.

    >>> isotonic(np.array([0.2, 0.4, 0.9, 0.95]), np.array([0.0, 1, 0, 1]), least=1).tolist()
    [[0.2, 0.0], [0.65, 0.5], [0.95, 1.0]]
    """
    order = np.argsort(confidence, kind="stable")
    weight = np.ones(len(order)) if weights is None else weights[order]
    size = max(least, math.ceil(len(order) / 40))
    starts = np.arange(0, max(len(order) - size, 0) + 1, size)
    mass = np.add.reduceat(weight, starts)
    centers = np.add.reduceat(weight * confidence[order], starts) / mass
    shares = np.add.reduceat(weight * right[order], starts) / mass
    blocks: list[tuple[float, float, float]] = []
    for block in zip(mass.tolist(), centers.tolist(), shares.tolist(), strict=True):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][2] >= blocks[-1][2]:
            (w1, c1, s1), (w2, c2, s2) = blocks[-2:]
            w = w1 + w2
            blocks[-2:] = [(w, (w1 * c1 + w2 * c2) / w, (w1 * s1 + w2 * s2) / w)]
    return np.array([[c, s] for _, c, s in blocks])


def _fit_projection(logs: Array, labels: npt.NDArray[np.int64]) -> Projection:
    """Class means in a space where pictures of one class scatter alike in every direction."""
    centered = logs - logs.mean(axis=1, keepdims=True)
    outputs = np.sort(np.argsort(-centered.var(axis=0))[:_MOST_OUTPUTS])
    table = centered[:, outputs]
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    common = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CLASSES])
    common = common[counts[common] >= 3] if (counts >= 3).any() else common
    means = np.stack([table[index == k].mean(axis=0) for k in common])
    place = np.full(len(classes), -1)
    place[common] = np.arange(len(common))
    used = place[index] >= 0
    rest = table[used] - means[place[index[used]]]
    within = rest.T @ rest / max(len(rest) - len(common), 1)
    # few pictures: shrink toward a ball, or the inverse is noise
    share = min(0.5, 2 * len(outputs) / len(rest))
    ball = np.eye(len(outputs)) * (np.trace(within) / len(outputs) + 1e-9)
    values, vectors = np.linalg.eigh((1 - share) * within + share * ball)
    whiten = (vectors / np.sqrt(values)).T
    # the directions in which class means differ most, in the whitened space
    left, _, _ = np.linalg.svd(whiten @ (means - means.mean(axis=0)).T, full_matrices=False)
    matrix = left[:, : min(_MOST_DIMENSIONS, len(common), len(outputs))].T @ whiten
    points, anchors = table @ matrix.T, means @ matrix.T
    nearest = np.log1p(np.square(points[:, None] - anchors).sum(axis=2).min(axis=1))
    return Projection(
        outputs.astype(np.int64),
        matrix,
        classes[common].astype(np.int64),
        anchors,
        float(np.quantile(nearest, 0.99)),
    )
