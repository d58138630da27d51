"""Two evaluations of the same pictures, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError
from edgecv.evaluate.evaluation import Evaluation
from edgecv.stats import PairedRecord, compare_predictions

__all__ = ["NearTies", "PairedComparison", "compare", "near_tie_check"]


@dataclass(frozen=True, eq=False)
class PairedComparison:
    """What changes when *b* replaces *a* on the same pictures.

    Attributes:
        a: Name of the reference.
        b: Name of the candidate.
        record: Difference of top-1 with interval, McNemar, flips, agreement with interval.
        disagreements: Rows where the answers differ.
        margins: float32, the reference's top-2 margin at each of them, in score units.
        max_difference: Largest absolute difference of any score.
        mean_difference: Mean absolute difference over all scores.
        rms_difference: Root of the mean squared difference over all scores.
        kl: Mean Kullback-Leibler divergence of softmax(b) from softmax(a), nats; meaningful for
            logits.
        sqnr_db: Signal (a) to noise (a - b) ratio of all scores, decibels; ``inf`` when equal.
    """

    a: str
    b: str
    record: PairedRecord
    disagreements: npt.NDArray[np.int64]
    margins: npt.NDArray[np.float32]
    max_difference: float
    mean_difference: float
    rms_difference: float
    kl: float
    sqnr_db: float


def compare(
    a: Evaluation, b: Evaluation, *, confidence: float = 0.95, seed: int = 0
) -> PairedComparison:
    """Compare the candidate *b* with the reference *a*.

    Raises:
        InputError: They were not evaluated on the same pictures in the same order.
    """
    if a.paths != b.paths or not np.array_equal(a.labels, b.labels):
        raise InputError(
            f"{a.name} and {b.name} were evaluated on different pictures"
            f" ({len(a.paths)} and {len(b.paths)})",
            cure="Evaluate both on the same split.",
        )
    if a.classes != b.classes:
        raise InputError(
            f"{a.name} and {b.name} have different classes", cure="Give both files the same labels."
        )
    first, second = a.answers, b.answers
    changed = np.flatnonzero(first != second).astype(np.int64)
    reference, noise = a.scores.astype(np.float64), a.scores.astype(np.float64) - b.scores
    return PairedComparison(
        a=a.name,
        b=b.name,
        record=compare_predictions(
            a.labels, first, second, a.groups, confidence=confidence, seed=seed
        ),
        disagreements=changed,
        margins=a.margins[changed],
        max_difference=float(np.abs(noise).max()),
        mean_difference=float(np.abs(noise).mean()),
        rms_difference=float(np.sqrt(np.square(noise).mean())),
        kl=_divergence(a.scores, b.scores),
        sqnr_db=_sqnr(reference, noise),
    )


def _divergence(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    log_a, log_b = _log_softmax(a), _log_softmax(b)
    # rounding may leave a hair below 0 where both are equal
    return max(0.0, float((np.exp(log_a) * (log_a - log_b)).sum(axis=1).mean()))


def _log_softmax(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _sqnr(signal: npt.NDArray[np.float64], noise: npt.NDArray[np.float64]) -> float:
    power, error = float((signal**2).sum()), float((noise**2).sum())
    if error == 0:
        return float("inf")
    return 10 * float(np.log10(power / error)) if power else float("-inf")


@dataclass(frozen=True)
class NearTies:
    """Whether every disagreement was close.

    Attributes:
        bound: Twice the difference that is allowed, in score units.
        disagreements: Pictures with another answer.
        near: Those whose top-2 margin lies within the bound.
        far: Rows of the others.
    """

    bound: float
    disagreements: int
    near: int
    far: tuple[int, ...]

    @property
    def passed(self) -> bool:
        """No disagreement lies outside the bound."""
        return not self.far


def near_tie_check(comparison: PairedComparison, *, limit: float | None = None) -> NearTies:
    """Require the reference's top-2 margin of every disagreement to be at most twice a difference.

    If no score differs by more than d, an answer can change only where the margin is at most 2 d.
    With the largest difference *measured on these very pictures* as d the check therefore holds by
    construction; it decides something with a *limit* that was set before, e.g. 4 output steps.

    Args:
        comparison: Reference against candidate.
        limit: Largest difference allowed, in score units; by default the largest measured.

    Raises:
        InputError: *limit* is negative.
    """
    if limit is not None and limit < 0:
        raise InputError(f"limit {limit!r} is negative", cure="Give it in score units.")
    bound = 2 * (comparison.max_difference if limit is None else limit)
    # scores are float32: allow one rounding of the difference
    within = comparison.margins <= bound * (1 + 1e-6)
    return NearTies(
        bound=bound,
        disagreements=len(comparison.disagreements),
        near=int(within.sum()),
        far=tuple(int(row) for row in comparison.disagreements[~within]),
    )
