"""From evaluations to the parts of a report."""

from __future__ import annotations

from edgecv.evaluate import Evaluation, PairedComparison, near_tie_check
from edgecv.report.model import Agreement, ClassRow, Confusion

__all__ = ["agreement", "class_rows", "confusion"]


def agreement(
    comparison: PairedComparison, *, output_step: float | None = None, limit: float | None = None
) -> Agreement:
    """How closely the candidate of *comparison* reproduces its reference.

    Args:
        comparison: The torch model (a) against an artifact (b).
        output_step: Scale of the artifact's int8 output, or None.
        limit: Largest score difference allowed, for the near-tie count; by default the largest
            measured (see :func:`~edgecv.evaluate.near_tie_check`).
    """
    ties = near_tie_check(comparison, limit=limit)
    return Agreement(
        rate=comparison.record.agreement,
        disagreements=ties.disagreements,
        near_ties=ties.near,
        largest_difference=comparison.max_difference,
        output_step=output_step,
    )


def class_rows(whole: Evaluation, small: Evaluation) -> tuple[ClassRow, ...]:
    """Recall of every class, float beside int8."""
    return tuple(
        ClassRow(label, a, b)
        for label, a, b in zip(whole.classes, whole.per_class, small.per_class, strict=True)
    )


def confusion(evaluation: Evaluation) -> Confusion:
    """Confusion matrix of an evaluation, named after it."""
    counts = tuple(tuple(int(n) for n in row) for row in evaluation.confusion)
    return Confusion(evaluation.name, counts)
