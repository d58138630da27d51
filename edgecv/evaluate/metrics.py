"""What follows from the scores of an evaluation, without running the model again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError
from edgecv.evaluate.evaluation import Evaluation
from edgecv.stats import Estimate, rate
from edgecv.stats.calibration import Calibration, calibration, probabilities

__all__ = ["ClassMetrics", "Metrics", "measure"]


@dataclass(frozen=True)
class ClassMetrics:
    """One class.

    Attributes:
        label: Its name.
        pictures: That show it.
        recall: Of those, the share that was named so; None without pictures.
        precision: Of the pictures that were named so, the share that show it; None without any.
        f1: Harmonic mean of both; None where neither is known.
    """

    label: str
    pictures: int
    recall: Estimate | None
    precision: Estimate | None
    f1: float | None


@dataclass(frozen=True)
class Metrics:
    """Everything about one evaluation.

    Attributes:
        top_k: k → share of pictures whose class is among the k best.
        classes: In the order of the labels.
        macro_f1: Mean over classes that have pictures.
        worst: The class with the smallest recall.
        calibration: Or None where the scores are no probabilities.
        calibration_missing: Why there is none.
    """

    top_k: dict[int, Estimate]
    classes: tuple[ClassMetrics, ...]
    macro_f1: float
    worst: ClassMetrics
    calibration: Calibration | None
    calibration_missing: str

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; rates are fractions."""
        found = self.calibration
        return {
            "top_k": {str(k): estimate.as_json() for k, estimate in self.top_k.items()},
            "classes": [
                {
                    "label": c.label,
                    "pictures": c.pictures,
                    "recall": c.recall.as_json() if c.recall else None,
                    "precision": c.precision.as_json() if c.precision else None,
                    "f1": c.f1,
                }
                for c in self.classes
            ],
            "macro_f1": self.macro_f1,
            "worst_class": self.worst.label,
            "calibration": None
            if found is None
            else {
                "ece": found.ece.as_json(),
                "nll_nats": found.nll.as_json(),
                "brier": found.brier.as_json(),
                "bins": [
                    {
                        "low": b.low,
                        "high": b.high,
                        "pictures": b.pictures,
                        "confidence": b.confidence,
                        "accuracy": b.accuracy,
                    }
                    for b in found.bins
                ],
            },
            "calibration_missing": self.calibration_missing,
        }


def measure(
    evaluation: Evaluation,
    *,
    top_k: tuple[int, ...] = (1, 5),
    confidence: float = 0.95,
    seed: int = 0,
) -> Metrics:
    """Rates per class, top-k, calibration.

    Args:
        evaluation: Scores and truth.
        top_k: Numbers of best classes; more than there are classes are left out.
        confidence: Coverage of the intervals.
        seed: Of the bootstrap.

    Raises:
        InputError: A k below 1.
    """
    if min(top_k, default=1) < 1:
        raise InputError(f"top-{min(top_k)} is no rate", cure="Use 1 or more.")
    labels, answers, groups = evaluation.labels, evaluation.answers, evaluation.groups
    # of equal scores the class with the smaller index comes first, as for the answer itself
    order = np.argsort(-evaluation.scores, axis=1, kind="stable")
    place = np.argmax(order == labels[:, None], axis=1)
    ranks = {
        k: rate(place < k, groups, confidence=confidence, seed=seed)
        for k in sorted(set(top_k))
        if k <= len(evaluation.classes)
    }
    classes = tuple(
        _class(evaluation, number, answers, confidence, seed)
        for number in range(len(evaluation.classes))
    )
    shown = [c for c in classes if c.recall is not None]
    calibrated, missing = None, ""
    try:
        believed = probabilities(evaluation.scores, evaluation.score_kind)
    except InputError as error:
        missing = str(error)
    else:
        calibrated = calibration(believed, labels, groups, confidence=confidence, seed=seed)
    return Metrics(
        ranks,
        classes,
        float(np.mean([c.f1 or 0.0 for c in shown])),
        min(shown, key=lambda c: c.recall.value if c.recall else 1.0),
        calibrated,
        missing,
    )


def _class(
    evaluation: Evaluation,
    number: int,
    answers: npt.NDArray[np.int64],
    confidence: float,
    seed: int,
) -> ClassMetrics:
    mine, named = evaluation.labels == number, answers == number
    recall = evaluation.per_class[number]
    precision = (
        rate(mine[named], evaluation.groups[named], confidence=confidence, seed=seed)
        if named.any()
        else None
    )
    both = [e.value if e is not None else 0.0 for e in (recall, precision)]
    f1 = None
    if recall is not None or precision is not None:
        f1 = 2 * both[0] * both[1] / sum(both) if sum(both) else 0.0
    return ClassMetrics(evaluation.classes[number], int(mine.sum()), recall, precision, f1)
