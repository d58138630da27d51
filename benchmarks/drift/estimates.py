"""Estimated accuracy against the truth, under corruptions that the fit has not seen, on pictures likewise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sources import Scored

from edgecv.drift.answers import Answer
from edgecv.drift.estimator import METHODS
from edgecv.drift.fit import FitOptions, profile_of_tables
from edgecv.drift.profile import DriftProfile
from edgecv.drift.tables import CLEAN, Rows, answer_rows
from edgecv.drift.window import Window, features

Array = np.ndarray[Any, Any]
WINDOW = 200
#: Windows per condition and kind of mix.
COUNT = 20
PAIR = " + "


@dataclass(frozen=True)
class Row:
    """One judged window, accuracies in points.

    Attributes:
        family: Of the corruption.
        mix: ``"as it comes"``, ``"Dirichlet 1"`` or ``"three classes"``.
        truth: Share of right answers.
        point: Estimate.
        low: Of its interval.
        high: Likewise.
        inside: Whether it says anything.
        cbpe: Mean calibrated confidence.
        atc: Share above ATC's threshold.
    """

    family: str
    mix: str
    truth: float
    point: float
    low: float
    high: float
    inside: bool
    cbpe: float
    atc: float


def window_of(rows: Rows, at: Array, classes: int) -> Window:
    """The pictures *at* as a window."""
    window = Window(classes)
    for i in at.tolist():
        answer: Answer = rows.answers[i]
        window.add(answer, rows.quality[i])
    return window


def draw(rows: Rows, mix: str, rng: np.random.Generator) -> Array:
    """Indices of a window's pictures; the kinds of mix are none of those that the fit draws."""
    count = len(rows.answers)
    if mix == "as it comes":
        return rng.choice(count, WINDOW, replace=count < WINDOW)
    classes, place = np.unique(rows.labels, return_inverse=True)
    if mix == "three classes":
        shares = np.zeros(len(classes))
        shares[rng.choice(len(classes), 3, replace=False)] = 1 / 3
    else:
        shares = rng.dirichlet(np.ones(len(classes)))
    weight = (shares / np.bincount(place))[place]
    return rng.choice(count, WINDOW, p=weight / weight.sum())


def judge(profile: DriftProfile, judged: Scored, family: str, seed: int) -> list[Row]:
    """Windows of one family."""
    rng = np.random.default_rng([seed, len(family)])
    keep = np.ones(len(judged.pictures.labels), bool)
    found = []
    for table in judged.tables:
        if table.family != family:
            continue
        rows = answer_rows(table, judged.pictures.labels, profile.calibrator, keep)
        for mix in ("as it comes", "Dirichlet 1", "three classes"):
            for _ in range(COUNT):
                at = draw(rows, mix, rng)
                window = window_of(rows, at, profile.classes)
                estimate = profile.estimator.estimate(features(window, profile.reference), WINDOW)
                found.append(
                    Row(
                        family,
                        mix,
                        100 * float(rows.right[at].mean()),
                        100 * estimate.top1,
                        100 * estimate.low,
                        100 * estimate.high,
                        estimate.inside,
                        100 * estimate.cbpe,
                        100 * window.mean("sure"),
                    )
                )
    return found


def judge_all(
    reference: Scored, judged: Scored, *, groups: tuple[tuple[str, ...], ...] | None = None
) -> tuple[list[Row], list[str]]:
    """Every family with a profile that was fitted without it.

    Args:
        reference: Pictures of the fit.
        judged: Others.
        groups: Families that are left out together; by default each alone.

    Returns:
        Rows, and the method that each profile chose.
    """
    singles = sorted({t.family for t in reference.tables if PAIR not in t.family})
    found, chosen = [], []
    for group in groups or tuple((family,) for family in singles):
        without = tuple(f for f in group if f != CLEAN)
        profile = profile_of_tables(
            reference.pictures,
            reference.tables,
            reference.signatures,
            "benchmark",
            FitOptions(without=without),
        )
        chosen.append(profile.estimator.method)
        for family in group:
            found += judge(profile, judged, family, 5)
    assert set(chosen) <= set(METHODS)
    return found, chosen


def summary(rows: list[Row]) -> dict[str, float]:
    """Errors in points, coverage and widths."""
    truth, point = (np.array([getattr(r, k) for r in rows]) for k in ("truth", "point"))
    cbpe, atc = (np.array([getattr(r, k) for r in rows]) for k in ("cbpe", "atc"))
    low, high = (np.array([getattr(r, k) for r in rows]) for k in ("low", "high"))
    inside = np.array([r.inside for r in rows])
    covered = (truth >= low - 1e-9) & (truth <= high + 1e-9)

    def share(mask: Array) -> float:
        return 100 * float(mask.mean()) if mask.size else float("nan")

    def error(values: Array, mask: Array | None = None) -> float:
        gap = np.abs(values - truth)
        gap = gap if mask is None else gap[mask]
        return float(gap.mean()) if gap.size else float("nan")

    return {
        "windows": len(rows),
        "mae": error(point),
        "bias": float((point - truth).mean()),
        "p90": float(np.quantile(np.abs(point - truth), 0.9)),
        "worst": float(np.abs(point - truth).max()),
        "cbpe": error(cbpe),
        "atc": error(atc),
        "inside": share(inside),
        "mae inside": error(point, inside),
        "cbpe inside": error(cbpe, inside),
        "atc inside": error(atc, inside),
        "coverage inside": share(covered[inside]),
        "median width inside": float(np.median((high - low)[inside])) if inside.any() else np.nan,
        "coverage outside": share(covered[~inside]),
        "truth outside": float(truth[~inside].mean()) if (~inside).any() else np.nan,
    }


def by_mix(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Summaries: all, as it comes, other class mixes, and where the truth is above 60 %."""
    return {
        "as it comes": summary([r for r in rows if r.mix == "as it comes"]),
        "other class mixes": summary([r for r in rows if r.mix != "as it comes"]),
        "all": summary(rows),
        "truth above 60 %": summary([r for r in rows if r.truth > 60]),
    }


def without_noise(rows: list[Row]) -> list[Row]:
    """For the table: everything but the one family that is far from all others."""
    return [replace(r) for r in rows if r.family != "sensor noise"]
