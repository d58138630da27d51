"""From labels of audited frames to accuracy with its interval, and to a correction of the profile."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.drift.audit_index import Row, Stratum, read_index
from edgecv.drift.periods import Mark, parts, with_mark
from edgecv.drift.profile import DriftProfile, FieldAudit
from edgecv.drift.quality import quality
from edgecv.drift.window import Window, features
from edgecv.errors import EdgecvError, InputError, ModelLoadError
from edgecv.stats.estimate import Estimate
from edgecv.stats.rates import wilson

__all__ = [
    "LABELS",
    "NONE",
    "Audited",
    "Frame",
    "accuracy",
    "read_audit",
    "recalibrated",
    "unlabeled_share",
    "weighted_accuracy",
]

LABELS: Final = "labels.json"
#: Of that file. One without it is a plain object of file → name, as earlier versions wrote it.
_SCHEMA: Final = "edgecv.labels/1.0"
#: Label of a frame that shows none of the classes: the model cannot be right.
NONE: Final = "(none)"
#: Labeled frames from which on the estimate is corrected, and those that weigh as much as no correction.
_LEAST, _PRIOR = 30, 100.0
_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Frame:
    """A kept frame.

    Attributes:
        file: Name in the folder.
        answer: The model's class.
        probabilities: float64 [C]. What an index does not tell (it has the 50 largest) is spread evenly.
        inclusion: Probability of having been kept.
        stratum: ``"chance"`` or ``"unsure"``.
    """

    file: str
    answer: int
    probabilities: npt.NDArray[np.float64]
    inclusion: float
    stratum: str

    @property
    def number(self) -> int:
        """Of the picture: it never changes and is never given again."""
        return int(Path(self.file).stem)


@dataclass(frozen=True)
class Audited:
    """A folder of kept frames, with the labels given so far.

    Attributes:
        folder: Where.
        identity: Of the model.
        labels: Names of the classes.
        frames: In the order of the index.
        given: File → name of the class, or ``"(none)"``.
        offered: Stratum → frames that were offered.
        lost: Stratum → how many of these no kept frame stands for, since the drawing had to begin anew.
        number: Of the newest picture.
        marks: How far the stream was when labels were given; see :mod:`edgecv.drift.periods`.
    """

    folder: Path
    identity: str
    labels: tuple[str, ...]
    frames: tuple[Frame, ...]
    given: Mapping[str, str]
    offered: Mapping[str, int]
    lost: Mapping[str, int] = field(default_factory=dict)
    number: int = 0
    marks: tuple[Mark, ...] = ()

    @property
    def waiting(self) -> tuple[Frame, ...]:
        """Frames without a label, in an order that has nothing to do with time or confidence.

        Whoever stops early has then labeled a random part of all. The order stays the same from call to call.
        """
        without = (frame for frame in self.frames if frame.file not in self.given)
        return tuple(sorted(without, key=lambda f: hashlib.sha256(f.file.encode()).digest()))

    @property
    def labeled(self) -> tuple[Frame, ...]:
        """Frames with a label."""
        return tuple(frame for frame in self.frames if frame.file in self.given)

    def label(self, file: str, name: str | None) -> Audited:
        """The same with one more label, which is on disk before this returns.

        Args:
            file: Of a frame.
            name: A class, ``"(none)"``, or None to take the frame's label away.

        Raises:
            InputError: What is on disk meanwhile are no labels.
            OSError: The folder cannot be written; the labels are as they were.
        """
        # somebody else may have labeled meanwhile, at another screen
        before, marks = _read_labels(self.folder)
        kept = {k: v for k, v in {**before, file: name}.items() if v is not None}
        if name is not None:
            marks = with_mark(marks, Mark(self.number, self.offered))
        document = {
            "schema": _SCHEMA,
            "marks": [mark.as_json() for mark in marks],
            "labels": kept,
        }
        write_atomically(self.folder / LABELS, json.dumps(document, indent=1).encode())
        names = {frame.file for frame in self.frames}
        return replace(self, given={k: v for k, v in kept.items() if k in names}, marks=marks)


def read_audit(folder: Path) -> Audited:
    """Read what :class:`~edgecv.drift.AuditSampler` wrote, and the labels beside it.

    Raises:
        InputError: No such folder, or a damaged index.
    """
    index = read_index(folder)
    frames = tuple(_frame(row, index.strata[row.stratum], len(index.labels)) for row in index.rows)
    names = {frame.file for frame in frames}
    labels, marks = _read_labels(folder)
    return Audited(
        folder,
        index.identity,
        index.labels,
        frames,
        {file: name for file, name in labels.items() if file in names},
        {name: stratum.offered + stratum.lost for name, stratum in index.strata.items()},
        {name: stratum.lost for name, stratum in index.strata.items()},
        index.number,
        marks,
    )


def _read_labels(folder: Path) -> tuple[dict[str, str], tuple[Mark, ...]]:
    path = folder / LABELS
    marks: tuple[Mark, ...] = ()
    try:
        if not path.exists():
            return {}, ()
        given = json.loads(path.read_bytes()) if path.stat().st_size < _MOST_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{path}' cannot be read: {error}", cure="Remove it.") from error
    if isinstance(given, dict) and given.get("schema") == _SCHEMA:
        try:
            marks = Mark.from_json(given.get("marks"))
        except ModelLoadError as error:
            reason = error.what.removeprefix("its drift profile is damaged: ")
            raise InputError(f"'{path}' is damaged: {reason}", cure="Remove it.") from error
        given = given.get("labels")
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        raise InputError(f"'{path}' holds no labels", cure="Remove it.")
    return given, marks


def _frame(row: Row, stratum: Stratum, classes: int) -> Frame:
    told = dict(row.scores)
    missing = classes - len(told)
    # the others share what is left, and none of them is above the smallest that is told
    left = max(0.0, 1 - sum(told.values())) / max(1, missing)
    probabilities = np.full(classes, min(left, min(told.values(), default=1.0)))
    probabilities[list(told)] = list(told.values())
    return Frame(row.file, row.answer, probabilities, stratum.chance, row.stratum)


def weighted_accuracy(right: npt.ArrayLike, inclusion: npt.ArrayLike) -> Estimate:
    """Accuracy of the stream from labels of frames that had unequal chances.

    The ratio estimator of Hájek (weights 1 / inclusion) with Wilson's interval for the effective number of
    labels (Kish: square of the sum of weights over the sum of their squares).

    Args:
        right: bool [N].
        inclusion: float [N], in (0, 1].

    Raises:
        InputError: Nothing is labeled, or shapes differ.

    >>> estimate = weighted_accuracy([True, False], [0.1, 0.3])
    >>> round(estimate.value, 2), estimate.n
    (0.75, 2)
    """
    hits = np.asarray(right, np.float64)
    weights = 1 / np.asarray(inclusion, np.float64)
    if not hits.size or hits.shape != weights.shape:
        raise InputError("no labels", cure="Label some frames first: edgecv drift label FOLDER")
    share = float((weights * hits).sum() / weights.sum())
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    interval = wilson(share * effective, effective)
    return replace(interval, n=len(hits), method="Hajek, Wilson with the effective sample size")


def _chances(audited: Audited) -> tuple[dict[int, float], float]:
    """Number of each labeled frame → chance of having been kept *and* labeled; and the share without any label.

    Of the frames of a stratum some may wait for a label still, and those that came after the last labels all do.
    Without that factor the stratum or the period with more labels would count for more than its share of the stream.
    """
    chances: dict[int, float] = {}
    total = unlabeled = 0
    for name, offered in audited.offered.items():
        frames = {f.number: f.file in audited.given for f in audited.frames if f.stratum == name}
        bounds = [(mark.number, mark.offered.get(name, 0)) for mark in audited.marks]
        for part in parts(frames, bounds, offered, audited.lost.get(name, 0)):
            total += part.offered
            unlabeled += 0 if part.labeled else part.offered
            chances |= dict.fromkeys(part.labeled, len(part.labeled) / part.offered)
    return chances, unlabeled / total if total else 0.0


def unlabeled_share(audited: Audited) -> float:
    """Share of the stream, 0 to 1, that no label stands for: strata and periods of which no frame is labeled."""
    return _chances(audited)[1]


def accuracy(audited: Audited) -> Estimate:
    """:func:`weighted_accuracy` of the labels given so far.

    Where the camera went on after labels had been given, each period counts by the frames offered in it. While a
    stratum (see :class:`Frame`) or a period of it has no label at all, the interval leaves room for whatever it
    may hold; the value is that of the rest.

    Raises:
        InputError: Nothing is labeled.
    """
    frames = audited.labeled
    chances, unlabeled = _chances(audited)
    right = [audited.labels[f.answer] == audited.given[f.file] for f in frames]
    found = weighted_accuracy(right, [chances[f.number] for f in frames])
    seen = 1 - unlabeled
    return replace(found, low=seen * found.low, high=seen * found.high + unlabeled)


def recalibrated(profile: DriftProfile, audited: Audited) -> DriftProfile:
    """The profile with a correction: what labels showed minus what the estimator says of the same frames.

    The correction is shrunk toward none while labels are few.

    Raises:
        InputError: Another model's frames, fewer than 30 labels, or a picture that cannot be read.
    """
    from edgecv.preprocess import load_rgb

    frames = audited.labeled
    if audited.identity != profile.identity:
        raise InputError(
            f"'{audited.folder}' holds frames of another model ({audited.identity[:19]}…)",
            cure="Name the model that ran when they were kept.",
        )
    if len(frames) < _LEAST:
        raise InputError(
            f"{len(frames)} labels are too few to correct an estimate",
            cure=f"Label at least {_LEAST}: edgecv drift label {audited.folder}",
        )
    window = Window(profile.classes)
    chances, _ = _chances(audited)
    for frame in frames:
        try:
            pixels = load_rgb(audited.folder / frame.file)
        except EdgecvError as error:
            raise InputError(
                error.what, cure="Remove the frame's entry, or label again."
            ) from error
        answer = profile.calibrator.answer(frame.probabilities)
        window.add(answer, quality(pixels), 1 / chances[frame.number])
    found = accuracy(audited)
    estimated = profile.estimator.point(features(window, profile.reference))
    effective = len(frames) / (len(frames) + _PRIOR)
    shift = effective * (found.value - estimated)
    audit = FieldAudit(len(frames), found.value, found.low, found.high, estimated, shift)
    assert math.isfinite(shift)
    return replace(profile, audit=audit)
