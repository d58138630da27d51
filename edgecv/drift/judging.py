"""How wrong estimates of accuracy are, measured; and the choice that follows from it. Workstation side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.estimator import METHODS, Estimator
from edgecv.drift.profile import Reference
from edgecv.drift.regression import fit_forest, fit_ridge
from edgecv.drift.tables import CLEAN, Rows, draw_windows
from edgecv.drift.window import features

__all__ = ["Judged", "choose", "error_table", "fit_estimator", "judge"]

Array = npt.NDArray[np.float64]

_KNOTS: Final = 9
#: Share of the judged windows, and least number, that the errors near an estimate are taken from.
_NEAR, _LEAST_NEAR = 0.2, 40
_TAIL: Final = 0.025
#: Share of the width that is added to either side: fifteen families are few to know the next one by (without it
#: the intervals of unseen families with another class mix hold 88 % instead of 95 % on CIFAR-10).
_STRETCH: Final = 0.075
_PAIR: Final = " + "
#: Room beyond the windows of the fit before one counts as outside, as a share of their range. With a tenth, intervals
#: inside were 25 points wide on the pictures that everything was tuned by; without any, clean streams of digits were
#: outside, because 200 frames of their own show more variety than 200 that are drawn from a table.
_MARGIN: Final = 0.05


@dataclass
class Judged:
    """Estimates of one method beside the truth, on what its fit had not seen.

    Attributes:
        points: Estimates.
        truth: Accuracies of the same windows.
        mixed: Whether each window had another class mix.
    """

    points: list[float] = field(default_factory=list)
    truth: list[float] = field(default_factory=list)
    mixed: list[bool] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Errors in points of accuracy: mean absolute, bias, 90 % quantile, worst; by class mix."""
        error = 100 * (np.array(self.points) - np.array(self.truth))
        mixed = np.array(self.mixed)
        size = np.abs(error)
        return {
            "mae": round(float(size[~mixed].mean()), 2),
            "mix_mae": round(float(size[mixed].mean()), 2),
            "bias": round(float(error.mean()), 2),
            "p90": round(float(np.quantile(size, 0.9)), 2),
            "worst": round(float(size.max()), 2),
            "windows": float(len(error)),
        }


def choose(judged: dict[str, Judged]) -> str:
    """The method with the least mean absolute error over both kinds of class mix."""

    def error(name: str) -> float:
        row = judged[name].summary()
        return row["mae"] + row["mix_mae"]

    return min(judged, key=error)


def _windows(
    rows: list[Rows], reference: Reference, size: int, count: int, seed: int
) -> tuple[Array, Array, list[str], list[bool]]:
    """Numbers [N, F], truth [N], family and kind of mix of the windows of all conditions."""
    rng = np.random.default_rng([seed, 3])
    numbers, truth, families, mixes = [], [], [], []
    for one in rows:
        # as many clean windows as there are of one family
        times = 3 if one.family == CLEAN else 1
        for mixed in (False, True):
            for window, share in draw_windows(one, times * count, size, rng, mixed=mixed):
                numbers.append(features(window, reference))
                truth.append(share)
                families.append(one.family)
                mixes.append(mixed)
    return np.stack(numbers), np.array(truth), families, mixes


def judge(
    own: list[Rows],
    other: list[Rows],
    reference: Reference,
    found: dict[str, Judged],
    size: int,
    count: int,
    seed: int,
) -> None:
    """Fit on *own* pictures without one family, judge on *other* pictures under it; all families in turn.

    Args:
        own: Conditions of the pictures of the fit.
        other: The same conditions of other pictures.
        reference: Of the pictures of the fit.
        found: Method → what is added to.
        size: Frames per window.
        count: Windows per condition and kind of mix.
        seed: Of the drawing.
    """
    numbers, truth, families, _ = _windows(own, reference, size, count, seed)
    unseen, answer, their_families, mixes = _windows(other, reference, size, count, seed + 1)
    theirs = np.array(their_families)
    for family in sorted(set(families)):
        if _PAIR in family:
            continue
        # clean windows always belong to the fit: they are what is known
        fit = np.array([family not in name.split(_PAIR) or name == CLEAN for name in families])
        at = np.flatnonzero(theirs == family)
        tools = _tools(numbers[fit], truth[fit], seed)
        points = {
            name: np.array([tools[name].point(row) for row in unseen[at]]) for name in METHODS
        }
        for name in METHODS:
            kept = found.setdefault(name, Judged())
            kept.points += points[name].tolist()
            kept.truth += answer[at].tolist()
            kept.mixed += [mixes[i] for i in at.tolist()]


def _tools(numbers: Array, truth: Array, seed: int) -> dict[str, Estimator]:
    """Every method, fitted; without errors and ranges."""
    none = np.zeros(0)
    bare = Estimator("cbpe", none, None, np.zeros((1, 3)), none, none, 1, 2.0)
    ridge = fit_ridge(numbers, truth)
    line = np.clip(ridge[0] + numbers @ ridge[1:], 0, 1)
    trees = fit_forest(numbers, truth, seed=seed)
    rest = fit_forest(numbers, truth - line, seed=seed)
    return {
        "cbpe": bare,
        "atc": replace(bare, method="atc"),
        "ridge": replace(bare, method="ridge", coefficients=ridge),
        "trees": replace(bare, method="trees", forest=trees),
        "both": replace(bare, method="both", coefficients=ridge, forest=rest),
        "guarded": replace(bare, method="guarded", coefficients=ridge, forest=rest),
    }


def error_table(judged: Judged) -> Array:
    """How far the truth lies from estimates of about the same height: float64 [K, 3], see Estimator."""
    points, truth = np.array(judged.points), np.array(judged.truth)
    near = max(_LEAST_NEAR, round(_NEAR * len(points)))
    rows = []
    for knot in np.unique(np.quantile(points, np.linspace(0, 1, _KNOTS))):
        closest = np.argsort(np.abs(points - knot), kind="stable")[:near]
        low, high = np.quantile(truth[closest] - points[closest], [_TAIL, 1 - _TAIL])
        rows.append([knot, low - _STRETCH * (high - low), high + _STRETCH * (high - low)])
    return np.array(rows)


def fit_estimator(
    rows: list[Rows],
    reference: Reference,
    method: str,
    *,
    errors: Array,
    window: int,
    windows: int,
    widest: float,
    seed: int,
) -> Estimator:
    """The estimator that a profile carries, fitted on all pictures and families."""
    numbers, truth, _, _ = _windows(rows, reference, window, windows, seed)
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    room = _MARGIN * (high - low) + 1e-6
    return replace(
        _tools(numbers, truth, seed)[method],
        errors=errors,
        low=low - room,
        high=high + room,
        window=window,
        widest=widest,
    )
