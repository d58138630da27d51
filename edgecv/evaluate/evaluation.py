"""What an evaluation is: the scores of every picture, and everything that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.data.model import Item
from edgecv.errors import InputError, InvalidMeasurementError
from edgecv.stats import Estimate, class_rates, rate

__all__ = ["Evaluation", "from_scores"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of N pictures over C classes.

    Attributes:
        name: Which model on which engine.
        classes: C names.
        paths: N files, in the order of the rows below.
        labels: int64 [N], the truth.
        groups: [N] strings, the original that each picture was made from.
        scores: float32 [N, C], raw (dequantized) outputs.
        top1: Share of right answers; cluster bootstrap when pictures share groups, else Wilson.
        per_class: C recalls with intervals; None for a class without pictures.
        confusion: int64 [C, C], row = truth, column = answer.
        score_kind: ``"logit"``, ``"probability"``, or ``""`` when nobody says.
        digests: N hex digests of the pictures' bytes.
    """

    name: str
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.str_]
    scores: npt.NDArray[np.float32]
    top1: Estimate
    per_class: tuple[Estimate | None, ...]
    confusion: npt.NDArray[np.int64]
    score_kind: str = ""
    digests: tuple[str, ...] = ()

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """int64 [N], the class with the largest score; of equal ones the first."""
        return np.asarray(self.scores.argmax(axis=1), np.int64)

    @property
    def ties(self) -> int:
        """Pictures of which several classes have the largest score, as 8-bit scores often have."""
        best = self.scores.max(axis=1, keepdims=True)
        return int(((self.scores == best).sum(axis=1) > 1).sum())

    @property
    def errors(self) -> npt.NDArray[np.int64]:
        """Rows with a wrong answer, the surest first (largest top-2 margin)."""
        wrong = np.flatnonzero(self.answers != self.labels).astype(np.int64)
        surest: npt.NDArray[np.int64] = wrong[np.argsort(-self.margins[wrong], kind="stable")]
        return surest

    @property
    def margins(self) -> npt.NDArray[np.float32]:
        """float32 [N], best score minus second best."""
        best = np.partition(self.scores, -2, axis=1)
        return np.asarray(best[:, -1] - best[:, -2], np.float32)


def from_scores(
    name: str,
    items: Sequence[Item],
    classes: Sequence[str],
    scores: npt.NDArray[Any],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    score_kind: str = "",
) -> Evaluation:
    """Evaluate scores that were computed elsewhere (a torch model) on the same pictures.

    Args:
        name: For messages and reports.
        items: N pictures with labels.
        classes: C names, at least two.
        scores: float [N, C].
        confidence: Coverage of the intervals.
        seed: Of the bootstrap.
        score_kind: What the scores are.

    Raises:
        InputError: No pictures, another shape, or a label without an output.
        InvalidMeasurementError: A score is not finite.
    """
    if not items:
        raise InputError(f"{name}: no pictures to evaluate", cure="Choose a split that has some.")
    table = np.ascontiguousarray(scores, np.float32)
    if table.shape != (len(items), len(classes)) or len(classes) < 2:
        raise InputError(
            f"{name}: scores of shape {list(table.shape)} for {len(items)} pictures of"
            f" {len(classes)} classes",
            cure="Evaluate on the classes that the model was trained on.",
        )
    labels = np.array([item.label for item in items], np.int64)
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(
            f"{name}: label {int(labels.max())} of {len(classes)} classes",
            cure="Use Dataset.relabel with the model's labels.",
        )
    odd = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if odd.size:
        raise InvalidMeasurementError(
            f"{name}: the scores of '{items[odd[0]].path}' are not finite ({odd.size} pictures)",
            cure="The file or its engine is at fault; try another backend.",
        )
    groups = np.array([item.group for item in items])
    answers = table.argmax(axis=1)
    right = answers == labels
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    return Evaluation(
        name=name,
        classes=tuple(classes),
        paths=tuple(item.path for item in items),
        labels=labels,
        groups=groups,
        scores=table,
        top1=rate(right, groups, confidence=confidence, seed=seed),
        per_class=class_rates(
            right, labels, len(classes), groups, confidence=confidence, seed=seed
        ),
        confusion=confusion,
        score_kind=score_kind,
        digests=tuple(item.sha256 for item in items),
    )
