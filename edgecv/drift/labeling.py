"""From labels of audited frames to accuracy with its interval, and to a correction of the profile."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.drift.audit import INDEX, SCHEMA
from edgecv.drift.numbers import Reader
from edgecv.drift.profile import DriftProfile, FieldAudit
from edgecv.drift.quality import quality
from edgecv.drift.window import Window, features
from edgecv.errors import EdgecvError, InputError, ModelLoadError
from edgecv.stats.estimate import Estimate
from edgecv.stats.rates import wilson

__all__ = ["LABELS", "Audited", "Frame", "read_audit", "recalibrated", "weighted_accuracy"]

LABELS: Final = "labels.json"
#: Label of a frame that shows none of the classes: the model cannot be right.
NONE: Final = "(none)"
#: Labeled frames from which on the estimate is corrected, and those that weigh as much as no correction.
_LEAST, _PRIOR = 30, 100.0


@dataclass(frozen=True)
class Frame:
    """A kept frame.

    Attributes:
        file: Name in the folder.
        answer: The model's class.
        probabilities: float64 [C].
        inclusion: Probability of having been kept.
        stratum: ``"chance"`` or ``"unsure"``.
    """

    file: str
    answer: int
    probabilities: npt.NDArray[np.float64]
    inclusion: float
    stratum: str


@dataclass(frozen=True)
class Audited:
    """A folder of kept frames, with the labels given so far.

    Attributes:
        folder: Where.
        identity: Of the model.
        labels: Names of the classes.
        frames: In the order of the index.
        given: File → name of the class, or ``"(none)"``.
    """

    folder: Path
    identity: str
    labels: tuple[str, ...]
    frames: tuple[Frame, ...]
    given: Mapping[str, str]

    def label(self, file: str, name: str) -> Audited:
        """The same with one more label, which is on disk before this returns."""
        given = {**self.given, file: name}
        write_atomically(self.folder / LABELS, json.dumps(given, indent=1).encode())
        return replace(self, given=given)


def read_audit(folder: Path) -> Audited:
    """Read what :class:`~edgecv.drift.AuditSampler` wrote, and the labels beside it.

    Raises:
        InputError: No such folder, or a damaged index.
    """
    index = _json(folder / INDEX)
    try:
        top = Reader(index)
        if top.text("schema") != SCHEMA:
            raise InputError(
                f"'{folder / INDEX}' is of kind {top.text('schema')!r}", cure=f"Give a {SCHEMA}."
            )
        identity = top.text("identity")
        labels = tuple(str(name) for name in _list(index, "labels"))
        if len(labels) < 2:
            raise InputError(f"'{folder / INDEX}' names no classes", cure="Let a camera fill one.")
        frames = tuple(_frame(Reader(row), len(labels)) for row in _list(index, "frames"))
    except ModelLoadError as error:
        reason = error.what.removeprefix("its drift profile is damaged: ")
        raise InputError(
            f"'{folder / INDEX}' is damaged: {reason}", cure="Let the camera fill a new folder."
        ) from error
    given = _json(folder / LABELS) if (folder / LABELS).exists() else {}
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        raise InputError(f"'{folder / LABELS}' holds no labels", cure="Remove it.")
    names = {frame.file for frame in frames}
    return Audited(folder, identity, labels, frames, {k: v for k, v in given.items() if k in names})


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{path}' cannot be read: {error}",
            cure="Name a folder that an audit has filled (edgecv.drift.AuditSampler).",
        ) from error


def _list(values: Any, key: str) -> list[Any]:
    found = Reader(values).take(key)
    if not isinstance(found, list):
        raise InputError(f"{key} is no list", cure="Let the camera fill a new folder.")
    return found


def _frame(row: Reader, classes: int) -> Frame:
    file = row.text("file")
    if Path(file).name != file or file.startswith("."):
        # a path that leads out of the folder is none of ours
        raise InputError(
            f"the audit names the file {file!r}", cure="Let the camera fill a new one."
        )
    pairs = row.array("probabilities", (None, 2), low=0.0, high=max(classes - 1, 1.001))
    probabilities = np.zeros(classes)
    probabilities[pairs[:, 0].astype(np.int64)] = np.minimum(pairs[:, 1], 1.0)
    return Frame(
        file,
        row.integer("answer", 0, classes - 1),
        probabilities,
        row.number("inclusion", 1e-12, 1.0),
        row.text("stratum"),
    )


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


def accuracy(audited: Audited) -> Estimate:
    """:func:`weighted_accuracy` of the labels given so far."""
    frames = [f for f in audited.frames if f.file in audited.given]
    right = [audited.labels[f.answer] == audited.given[f.file] for f in frames]
    return weighted_accuracy(right, [f.inclusion for f in frames])


def recalibrated(profile: DriftProfile, audited: Audited) -> DriftProfile:
    """The profile with a correction: what labels showed minus what the estimator says of the same frames.

    The correction is shrunk toward none while labels are few.

    Raises:
        InputError: Another model's frames, fewer than 30 labels, or a picture that cannot be read.
    """
    from edgecv.preprocess import load_rgb

    frames = [f for f in audited.frames if f.file in audited.given]
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
    for frame in frames:
        try:
            pixels = load_rgb(audited.folder / frame.file)
        except EdgecvError as error:
            raise InputError(
                error.what, cure="Remove the frame's entry, or label again."
            ) from error
        answer = profile.calibrator.answer(frame.probabilities)
        window.add(answer, quality(pixels), 1 / frame.inclusion)
    found = accuracy(audited)
    estimated = profile.estimator.point(features(window, profile.reference))
    effective = len(frames) / (len(frames) + _PRIOR)
    shift = effective * (found.value - estimated)
    audit = FieldAudit(len(frames), found.value, found.low, found.high, estimated, shift)
    assert math.isfinite(shift)
    return replace(profile, audit=audit)
