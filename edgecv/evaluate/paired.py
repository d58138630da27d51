"""Two models on the same pictures, in depth: flips by name, classes with Holm's correction, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv.errors import InputError
from edgecv.evaluate.compare import PairedComparison, compare
from edgecv.evaluate.evaluation import Evaluation
from edgecv.stats import mcnemar
from edgecv.stats.calibration import Calibration, calibration, probabilities
from edgecv.stats.holm import holm

__all__ = ["ClassChange", "Flip", "PairedDetail", "detail"]


@dataclass(frozen=True)
class Flip:
    """A picture whose answer changed.

    Attributes:
        path: Of the picture, as it was evaluated.
        truth: Its class.
        before: Answer of the reference.
        after: Answer of the candidate.
        margin: Of the reference between its two best scores: how sure it was.
        kind: ``"to wrong"``, ``"to right"`` or ``"wrong to wrong"``.
    """

    path: str
    truth: str
    before: str
    after: str
    margin: float
    kind: str


@dataclass(frozen=True)
class ClassChange:
    """What the candidate changes in one class.

    Attributes:
        label: Its name.
        pictures: That show it.
        to_wrong: Right before, wrong after.
        to_right: Wrong before, right after.
        p: Exact McNemar.
        p_holm: Corrected for the number of classes (Holm 1979); below 0.05 is a finding.
    """

    label: str
    pictures: int
    to_wrong: int
    to_right: int
    p: float
    p_holm: float

    @property
    def change(self) -> float:
        """Of the recall, as a fraction."""
        return (self.to_right - self.to_wrong) / self.pictures


@dataclass(frozen=True)
class PairedDetail:
    """Everything about a pair.

    Attributes:
        pair: Difference, agreement, McNemar, KL, SQNR.
        flips: Those to wrong first, the surest first.
        classes: By corrected p-value.
        max_probability_change: Largest change of a probability over all pictures and classes; None
            where the scores are none.
        calibration: Of reference and candidate, or None.
    """

    pair: PairedComparison
    flips: tuple[Flip, ...]
    classes: tuple[ClassChange, ...]
    max_probability_change: float | None
    calibration: tuple[Calibration, Calibration] | None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; rates are fractions."""
        record = self.pair.record
        return {
            "reference": self.pair.a,
            "candidate": self.pair.b,
            "pictures": record.n,
            "originals": record.groups,
            "difference": record.difference.as_json(),
            "agreement": record.agreement.as_json(),
            "mcnemar_p": record.mcnemar_p,
            "to_wrong": record.to_wrong,
            "to_right": record.to_right,
            "wrong_to_other_wrong": record.wrong_to_other_wrong,
            "kl_nats": self.pair.kl,
            "sqnr_db": self.pair.sqnr_db if np.isfinite(self.pair.sqnr_db) else None,
            "largest_score_difference": self.pair.max_difference,
            "max_probability_change": self.max_probability_change,
            "ece": None
            if self.calibration is None
            else [one.ece.as_json() for one in self.calibration],
            "classes": [vars(c) | {"change": c.change} for c in self.classes],
            "flips": [vars(flip) for flip in self.flips],
        }


def detail(a: Evaluation, b: Evaluation, *, seed: int = 0) -> PairedDetail:
    """Compare the candidate *b* with the reference *a*.

    Raises:
        InputError: They were not evaluated on the same pictures and classes.
    """
    pair = compare(a, b, seed=seed)
    flips = sorted(
        (_flip(a, b, int(row)) for row in pair.disagreements),
        key=lambda flip: (
            ("to wrong", "to right", "wrong to wrong").index(flip.kind),
            -flip.margin,
        ),
    )
    change, both = None, None
    try:
        first, second = (probabilities(e.scores, e.score_kind) for e in (a, b))
    except InputError:
        pass  # scores of unknown kind: what needs probabilities stays None
    else:
        change = float(np.abs(first - second).max())
        both = (
            calibration(first, a.labels, a.groups, seed=seed),
            calibration(second, b.labels, b.groups, seed=seed),
        )
    return PairedDetail(pair, tuple(flips), _classes(a, b), change, both)


def _flip(a: Evaluation, b: Evaluation, row: int) -> Flip:
    truth, before, after = int(a.labels[row]), int(a.answers[row]), int(b.answers[row])
    kind = "to wrong" if before == truth else "to right" if after == truth else "wrong to wrong"
    names = a.classes
    margin = float(a.margins[row])
    return Flip(str(a.paths[row]), names[truth], names[before], names[after], margin, kind)


def _classes(a: Evaluation, b: Evaluation) -> tuple[ClassChange, ...]:
    right_a, right_b = a.answers == a.labels, b.answers == b.labels
    rows = []
    for number, label in enumerate(a.classes):
        here = a.labels == number
        if here.any():
            lost = int((right_a & ~right_b & here).sum())
            won = int((~right_a & right_b & here).sum())
            rows.append((label, int(here.sum()), lost, won, mcnemar(lost, won)))
    corrected = holm([row[-1] for row in rows])
    found = [ClassChange(*row, p) for row, p in zip(rows, corrected, strict=True)]
    return tuple(sorted(found, key=lambda c: (c.p_holm, c.p, c.change, c.label)))
