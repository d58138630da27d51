"""Reference pictures under every corruption, measured once; windows are drawn from these tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import Answer, Calibrator
from edgecv.drift.corruptions import (
    FAMILIES,
    SEVERITIES,
    Family,
    pairs,
    signature_pictures,
)
from edgecv.drift.quality import QUALITY, quality
from edgecv.drift.window import Window
from edgecv.errors import InputError, InvalidMeasurementError

__all__ = ["CLEAN", "Pictures", "Rows", "Table", "answer_rows", "draw_windows", "measure_tables"]

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

CLEAN: Final = "clean"
_SIGNATURE_PICTURES: Final = 60
#: Conditions with two corruptions at once, each of half as many pictures: the more kinds of condition, the better
#: the next one is estimated.
_PAIRS: Final = 60
#: Concentration of the class mixes that windows are drawn with; 0.4 leaves two or three of ten classes.
_CONCENTRATION: Final = 0.4


@dataclass(frozen=True)
class Pictures:
    """Labeled reference pictures, and how the model scores one.

    Attributes:
        load: Number of a picture → uint8 [H, W, 3] RGB.
        labels: int64 [N], output indices.
        groups: [N], the original of each picture.
        score: Frame → probabilities, float32 [C].
        least: As :attr:`~edgecv.drift.answers.Calibrator.least`.
    """

    load: Callable[[int], Pixels]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[Any]
    score: Callable[[Pixels], npt.NDArray[Any]]
    least: float


@dataclass(frozen=True)
class Table:
    """Pictures under one condition.

    Attributes:
        family: Name of the corruption, or :data:`CLEAN`.
        severity: Index into SEVERITIES; 0 when clean.
        pictures: int64 [P], which.
        scores: float32 [P, C].
        quality: float64 [P, 11].
    """

    family: str
    severity: int
    pictures: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    quality: Array


@dataclass(frozen=True)
class Rows:
    """A table seen through a calibrator.

    Attributes:
        family: As in the table.
        severity: As in the table.
        pictures: int64 [P].
        labels: int64 [P].
        right: float64 [P], 1 where the answer is right.
        answers: P of them.
        quality: float64 [P, 11].
    """

    family: str
    severity: int
    pictures: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    right: Array
    answers: tuple[Answer, ...]
    quality: Array


def measure_tables(
    pictures: Pictures,
    *,
    per_condition: int,
    seed: int,
    families: Sequence[Family] = FAMILIES,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Table], dict[str, Array]]:
    """Score every picture clean, and a share of them under every corruption.

    Returns:
        Tables, clean first, and the signatures: cause → float64 [rows, 11], how the quality statistics move in
        standard deviations of the clean pictures.
    """
    rng = np.random.default_rng([seed, 1])
    count = len(pictures.labels)
    conditions = [(f, s) for f in families for s in range(len(SEVERITIES))]
    conditions += pairs(families, _PAIRS, rng)
    single = len(families) * len(SEVERITIES)
    sizes = [
        per_condition if k < single else -(-per_condition // 2) for k in range(len(conditions))
    ]
    chosen = [rng.permutation(count)[:size] for size in sizes]
    wanted: list[list[int]] = [[] for _ in range(count)]
    for k, members in enumerate(chosen):
        for i in members.tolist():
            wanted[i].append(k)
    shown = set(rng.permutation(count)[:_SIGNATURE_PICTURES].tolist())
    clean_scores, clean_quality = [], []
    found: list[list[tuple[int, npt.NDArray[Any], Array]]] = [[] for _ in conditions]
    moved: list[dict[str, list[Array]]] = []
    for i in range(count):
        frame = pictures.load(i)
        base = quality(frame)
        clean_scores.append(_finite(pictures.score(frame), i))
        clean_quality.append(base)
        for k in wanted[i]:
            family, severity = conditions[k]
            other = family.make(frame, SEVERITIES[severity], np.random.default_rng([seed, i, k]))
            found[k].append((i, _finite(pictures.score(other), i), quality(other)))
        if i in shown:
            own = np.random.default_rng([seed, i])
            moved.append(
                {c: [quality(p) - base for p in made] for c, made in _merged(frame, own).items()}
            )
        if progress and ((i + 1) % 20 == 0 or i + 1 == count):
            progress(i + 1, count)
    tables = [_table(CLEAN, 0, np.arange(count), clean_scores, clean_quality)]
    for (family, severity), rows in zip(conditions, found, strict=True):
        places, scores, qualities = zip(*rows, strict=True)
        tables.append(_table(family.name, severity, np.array(places), scores, qualities))
    spreads = np.maximum(tables[0].quality.std(axis=0), 0.01)
    signatures = {
        cause: np.mean([np.stack(one[cause]) for one in moved], axis=0) / spreads
        for cause in moved[0]
    }
    return tables, signatures


def _merged(frame: Pixels, rng: np.random.Generator) -> dict[str, list[Pixels]]:
    """Two corruptions with one cause are two ways in which it shows."""
    merged: dict[str, list[Pixels]] = {}
    for cause, made in signature_pictures(frame, rng):
        merged.setdefault(cause, []).extend(made)
    return merged


def _finite(scores: npt.NDArray[Any], picture: int) -> npt.NDArray[Any]:
    if not np.isfinite(scores).all():
        raise InvalidMeasurementError(
            f"the scores of reference picture {picture} are not finite",
            cure="The file or its engine is at fault; try another backend.",
        )
    return scores


def _table(
    name: str, severity: int, pictures: npt.NDArray[np.int64], scores: Any, qualities: Any
) -> Table:
    return Table(
        name,
        severity,
        pictures.astype(np.int64),
        np.stack(scores).astype(np.float32),
        np.stack(qualities).reshape(-1, len(QUALITY)),
    )


def answer_rows(
    table: Table, labels: npt.NDArray[np.int64], calibrator: Calibrator, keep: npt.NDArray[np.bool_]
) -> Rows:
    """The pictures of a table for which ``keep[picture]`` holds, through a calibrator."""
    at = np.flatnonzero(keep[table.pictures])
    truth = labels[table.pictures[at]]
    answers = tuple(calibrator.answer(scores) for scores in table.scores[at])
    right = np.array([a.index for a in answers]) == truth
    return Rows(
        table.family,
        table.severity,
        table.pictures[at],
        truth,
        right.astype(np.float64),
        answers,
        table.quality[at],
    )


def draw_windows(
    rows: Rows, count: int, size: int, rng: np.random.Generator, *, mixed: bool
) -> list[tuple[Window, float]]:
    """Windows of a condition with their true accuracy.

    Args:
        rows: Pictures.
        count: Windows.
        size: Frames in each.
        rng: Of the drawing.
        mixed: Draw class shares from a Dirichlet distribution first; else pictures as they come.

    Raises:
        InputError: No pictures.
    """
    if not rows.answers:
        raise InputError("no pictures to draw windows from", cure="Give more reference pictures.")
    table = np.stack([a.row for a in rows.answers])
    probabilities = np.stack([a.probabilities for a in rows.answers])
    index = np.array([a.index for a in rows.answers])
    classes = np.unique(rows.labels)
    windows = []
    for _ in range(count):
        if mixed:
            shares = rng.dirichlet(np.full(len(classes), _CONCENTRATION))
            weight = shares[np.searchsorted(classes, rows.labels)]
            weight /= np.bincount(rows.labels)[rows.labels]
            weight = weight + 1e-12
            at = rng.choice(len(index), size, p=weight / weight.sum())
        else:
            at = rng.choice(len(index), size, replace=size > len(index))
        window = Window(probabilities.shape[1])
        window.weight, window.frames = float(size), size
        window.rows, window.squares = table[at].sum(axis=0), np.square(table[at]).sum(axis=0)
        window.quality = rows.quality[at].sum(axis=0)
        window.quality_squares = np.square(rows.quality[at]).sum(axis=0)
        window.counts = np.bincount(index[at], minlength=probabilities.shape[1]).astype(float)
        window.probabilities = probabilities[at].sum(axis=0)
        windows.append((window, float(rows.right[at].mean())))
    return windows
