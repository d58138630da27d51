"""What a model's scores say about a frame beside the class: ten numbers per frame.

Nothing here knows whether the answer is right. Single numbers do not, either; means over windows of frames
follow accuracy closely enough to estimate it (:mod:`edgecv.drift.estimator`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError

__all__ = ["COLUMNS", "Answer", "Calibrator", "Projection", "log_scores"]

Array = npt.NDArray[np.float64]

#: Names of the numbers, in order.
COLUMNS: Final = (
    "confidence",  # largest probability after temperature scaling
    "calibrated",  # share of right answers among reference pictures of that confidence
    "sure",  # 1 where the confidence exceeds ATC's threshold, else 0
    "logit",  # log odds of the confidence
    "entropy",  # of the probabilities, nats
    "margin",  # largest minus second largest probability
    "nearest",  # log(1 + squared distance to the nearest class mean), see Projection
    "own",  # log(1 + squared distance to the mean of the answered class)
    "precision",  # share of right answers among reference pictures that were given this class
    "strange",  # 1 where "nearest" exceeds its 99 % quantile on reference pictures, else 0
)

_MOST_LOGIT: Final = 12.0


def log_scores(probabilities: npt.NDArray[Any], least: float) -> Array:
    """Natural logarithms, float64, same shape; what is below *least* (a quantized 0) counts as that."""
    return np.asarray(np.log(np.maximum(np.asarray(probabilities, np.float64), least)))


@dataclass(frozen=True)
class Projection:
    """A small space in which the classes of reference pictures lie apart.

    Attributes:
        outputs: The D0 outputs that vary most on the reference pictures, at most 48.
        matrix: float64 [D, D0], D at most 10: centered log scores to coordinates in which pictures of one
            class scatter with covariance 1 (linear discriminant without the search for directions).
        classes: Output indices of the M classes that have a mean.
        means: float64 [M, D].
        limit: 99 % quantile of ``nearest`` on reference pictures.
    """

    outputs: npt.NDArray[np.int64]
    matrix: Array
    classes: npt.NDArray[np.int64]
    means: Array
    limit: float

    def distances(self, logs: Array, answer: int) -> tuple[float, float]:
        """log(1 + squared distance) to the nearest mean and to the answered class's."""
        point = self.matrix @ (logs[self.outputs] - logs.mean())
        squares = np.square(self.means - point).sum(axis=1)
        nearest = math.log1p(float(squares.min()))
        own = np.flatnonzero(self.classes == answer)
        return nearest, math.log1p(float(squares[own[0]])) if own.size else nearest


@dataclass(frozen=True)
class Answer:
    """One frame's scores, measured.

    Attributes:
        index: The class, an output index.
        row: float64 [10], as :data:`COLUMNS` names them.
        probabilities: float64 [C], after temperature scaling.
    """

    index: int
    row: Array
    probabilities: Array


@dataclass(frozen=True)
class Calibrator:
    """From a model's probabilities to an :class:`Answer`; fitted on reference pictures with known classes.

    Attributes:
        least: Probability that a 0 may stand for: half a step of a quantized output.
        temperature: Log probabilities are divided by it (Guo et al. 2017).
        knots: float64 [K, 2], confidence and share of right answers, both ascending (isotonic regression).
        threshold: ATC's: as many reference pictures lie below it as are answered wrong (Garg et al. 2022).
        precision: float64 [C], by answered class, shrunk to the overall share where pictures are few.
        projection: Distances to what was seen.
    """

    least: float
    temperature: float
    knots: Array
    threshold: float
    precision: Array
    projection: Projection

    def answer(self, scores: npt.NDArray[Any]) -> Answer:
        """Measure the scores of one frame.

        Args:
            scores: Probabilities, [C], finite.

        Raises:
            InputError: Another number of classes.
        """
        if scores.shape != self.precision.shape:
            raise InputError(
                f"scores of shape {list(scores.shape)} for {len(self.precision)} classes",
                cure="Give the scores of the model that the drift profile was made for.",
            )
        logs = log_scores(scores, self.least)
        scaled = logs / self.temperature
        best = int(scaled.argmax())
        powers = np.exp(scaled - scaled[best])
        total = float(powers.sum())
        probabilities = powers / total
        confidence = float(probabilities[best])
        rest = (total - 1.0) / total
        second = float(np.partition(probabilities, -2)[-2])
        odds = math.log(confidence / rest) if rest > 0 else _MOST_LOGIT
        # sum p log p = sum p (x - best) - log(total), without a logarithm per class
        entropy = math.log(total) - float(probabilities @ (scaled - scaled[best]))
        nearest, own = self.projection.distances(logs, best)
        row = np.array(
            [
                confidence,
                float(np.interp(confidence, self.knots[:, 0], self.knots[:, 1])),
                float(confidence >= self.threshold),
                min(max(odds, -_MOST_LOGIT), _MOST_LOGIT),
                entropy,
                confidence - second,
                nearest,
                own,
                float(self.precision[best]),
                float(nearest > self.projection.limit),
            ]
        )
        return Answer(best, row, probabilities)
