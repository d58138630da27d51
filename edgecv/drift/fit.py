"""Making a drift profile from labeled reference pictures; workstation side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import COLUMNS
from edgecv.drift.by_class import fit_by_class
from edgecv.drift.calibrating import fit_calibrator
from edgecv.drift.judging import Judged, choose, error_table, fit_estimator, judge
from edgecv.drift.profile import DriftProfile, Reference
from edgecv.drift.quality import QUALITY
from edgecv.drift.tables import CLEAN, Pictures, Rows, Table, answer_rows, measure_tables
from edgecv.drift.window import entropy
from edgecv.errors import InputError
from edgecv.stats import rate

__all__ = ["LEAST_PICTURES", "FitOptions", "fit_profile", "profile_of_tables", "reference_of"]

Array = npt.NDArray[np.float64]

#: Fewer say too little about accuracy to estimate it, let alone its estimate's error.
LEAST_PICTURES: Final = 100
_LEVELS: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class FitOptions:
    """How a profile is made.

    Attributes:
        per_condition: Pictures scored under each of 42 corruptions; half as many under each of 60 pairs of them.
        window: Frames per synthetic window.
        windows: Windows per corruption and kind of class mix.
        widest: Width of an interval beyond which the estimate says nothing.
        method: ``"auto"`` for the one with the least held-out error, or one of METHODS.
        without: Families left out of the fit, to judge the profile on them.
        seed: Of everything random.
    """

    per_condition: int = 300
    window: int = 200
    windows: int = 8
    widest: float = 0.3
    method: str = "auto"
    without: tuple[str, ...] = ()
    seed: int = 0


def fit_profile(
    pictures: Pictures,
    identity: str,
    options: FitOptions | None = None,
    *,
    against_float: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DriftProfile:
    """Score the pictures clean and corrupted, and fit everything.

    Args:
        pictures: At least 100, of at least two classes.
        identity: Digest of the model.
        options: Sizes.
        against_float: Report of int8 against float to carry along.
        progress: Called with (done, total) now and then.

    Raises:
        InputError: Too few pictures, originals or classes.
        InvalidMeasurementError: A score is not finite.
        MissingExtraError: scikit-learn is not installed.
    """
    options = options or FitOptions()
    originals = len(np.unique(pictures.groups))
    if min(len(pictures.labels), 2 * originals) < LEAST_PICTURES:
        raise InputError(
            f"{len(pictures.labels)} reference pictures of {originals} originals are too few",
            cure=f"Give at least {LEAST_PICTURES} of {LEAST_PICTURES // 2} originals, better 1000.",
        )
    if len(np.unique(pictures.labels)) < 2:
        raise InputError("the reference pictures show one class", cure="Give all classes.")
    tables, signatures = measure_tables(
        pictures, per_condition=options.per_condition, seed=options.seed, progress=progress
    )
    return profile_of_tables(
        pictures, tables, signatures, identity, options, against_float=against_float
    )


def profile_of_tables(
    pictures: Pictures,
    tables: list[Table],
    signatures: Mapping[str, Array],
    identity: str,
    options: FitOptions,
    *,
    against_float: Mapping[str, Any] | None = None,
) -> DriftProfile:
    """The second half of :func:`fit_profile`: from measured pictures to a profile."""
    tables = [t for t in tables if not set(t.family.split(" + ")) & set(options.without)]
    labels, groups = pictures.labels, pictures.groups
    everything = np.ones(len(labels), bool)
    calibrator = fit_calibrator(tables[0].scores, labels, pictures.least)
    rows = [answer_rows(table, labels, calibrator, everything) for table in tables]
    reference = reference_of(rows[0], groups, len(calibrator.precision))
    judged = _cross(tables, labels, groups, pictures.least, options)
    method = choose(judged) if options.method == "auto" else options.method
    estimator = fit_estimator(
        rows,
        reference,
        method,
        errors=error_table(judged[method]),
        window=options.window,
        windows=options.windows,
        widest=options.widest,
        seed=options.seed,
    )
    return DriftProfile(
        identity=identity,
        calibrator=calibrator,
        reference=reference,
        signatures=signatures,
        estimator=estimator,
        held_out={name: one.summary() for name, one in judged.items()},
        against_float=against_float,
    )


def reference_of(rows: Rows, groups: npt.NDArray[Any], classes: int) -> Reference:
    """Statistics of the clean pictures."""
    assert rows.family == CLEAN
    table = np.stack([answer.row for answer in rows.answers])
    mean = np.mean([answer.probabilities for answer in rows.answers], axis=0)
    index = np.array([answer.index for answer in rows.answers], np.int64)
    counts = np.bincount(index, minlength=classes).astype(np.float64)
    top1 = rate(rows.right, groups[rows.pictures])
    named = {name: table[:, COLUMNS.index(name)] for name in ("confidence", "entropy", "margin")}
    named |= {name: rows.quality[:, k] for k, name in enumerate(QUALITY)}
    return Reference(
        pictures=len(rows.answers),
        independent=len(np.unique(groups[rows.pictures])),
        top1=top1.value,
        low=top1.low,
        high=top1.high,
        column_means=table.mean(axis=0),
        column_spreads=table.std(axis=0),
        quality_means=rows.quality.mean(axis=0),
        quality_spreads=rows.quality.std(axis=0),
        quantiles={n: tuple(np.quantile(v, _LEVELS).tolist()) for n, v in named.items()},
        levels=_LEVELS,
        counts=counts,
        information=entropy(mean) - float(table[:, COLUMNS.index("entropy")].mean()),
        variety=entropy(counts),
        by_class=fit_by_class(index, table, rows.quality),
    )


def _cross(
    tables: list[Table],
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[Any],
    least: float,
    options: FitOptions,
) -> dict[str, Judged]:
    """Errors of every method on pictures and families that its fit had not seen: two halves, both ways."""
    rng = np.random.default_rng([options.seed, 2])
    names = np.unique(groups)
    first = np.isin(groups, rng.permutation(names)[: len(names) // 2])
    found: dict[str, Judged] = {}
    for half in (first, ~first):
        calibrator = fit_calibrator(tables[0].scores[half], labels[half], least)
        own = [answer_rows(table, labels, calibrator, half) for table in tables]
        other = [answer_rows(table, labels, calibrator, ~half) for table in tables]
        reference = reference_of(own[0], groups, len(calibrator.precision))
        judge(own, other, reference, found, options.window, options.windows, options.seed)
    return found
