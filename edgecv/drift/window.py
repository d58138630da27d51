"""Sums over a window of frames, and the numbers that an estimate of accuracy is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import COLUMNS, Answer
from edgecv.drift.quality import QUALITY

if TYPE_CHECKING:
    from edgecv.drift.profile import Reference

__all__ = ["FEATURES", "VERSION_1", "Window", "entropy", "features"]

Array = npt.NDArray[np.float64]

_SPREAD: Final = ("confidence", "logit", "entropy", "margin", "nearest", "own")
#: What an estimator reads of a window, in order. Numbers that depend on the model's scale are in standard
#: deviations of the reference pictures.
FEATURES: Final = (
    *(f"mean {name}" for name in COLUMNS),
    *(f"spread {name}" for name in _SPREAD),
    "information",  # entropy of the mean answer minus mean entropy, over the reference's; COT's idea in one number
    "variety",  # entropy of the answered classes over the reference's
    *(f"shift {name}" for name in QUALITY),
    # since version 2: how the class mix moved, and the scores' numbers beside what these classes lead one to expect
    "mix distance",  # total variation distance of the answered classes from the reference's
    "mix largest",  # share of the class that is answered most
    "mix concentration",  # chance that two answers are equal
    "mix doubt",  # total variation distance of the answered classes from the mean answer
    *(f"beyond {name}" for name in COLUMNS[:8]),
)
#: Numbers of the list that profiles of version 1 know.
VERSION_1: Final = FEATURES.index("mix distance")
_SCALED: Final = np.array([COLUMNS.index(n) for n in ("logit", "nearest", "own")])
_SPREAD_AT: Final = np.array([COLUMNS.index(n) for n in _SPREAD])
_NEVER_ZERO: Final = 1e-6


class Window:
    """Weighted sums over frames; a fixed size however many frames.

    Args:
        classes: C.
    """

    def __init__(self, classes: int) -> None:
        self.weight: float = 0.0
        self.frames: int = 0
        self.rows: Array = np.zeros(len(COLUMNS))
        self.squares: Array = np.zeros(len(COLUMNS))
        self.quality: Array = np.zeros(len(QUALITY))
        self.quality_squares: Array = np.zeros(len(QUALITY))
        self.counts: Array = np.zeros(classes)
        self.probabilities: Array = np.zeros(classes)

    def add(self, answer: Answer, quality: Array, weight: float = 1.0) -> None:
        """Take a frame; *weight* undoes an uneven sampling."""
        self.weight += weight
        self.frames += 1
        self.rows += weight * answer.row
        self.squares += weight * np.square(answer.row)
        self.quality += weight * quality
        self.quality_squares += weight * np.square(quality)
        self.counts[answer.index] += weight
        self.probabilities += weight * answer.probabilities

    def merge(self, other: Window) -> None:
        """Take all frames of another window."""
        self.weight += other.weight
        self.frames += other.frames
        for name in ("rows", "squares", "quality", "quality_squares", "counts", "probabilities"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def mean(self, column: str) -> float:
        """Mean of one of :data:`~edgecv.drift.answers.COLUMNS`."""
        return float(self.rows[COLUMNS.index(column)] / self.weight)


def entropy(weights: Array) -> float:
    """Of shares proportional to *weights*, nats."""
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log(shares)).sum())


def features(window: Window, reference: Reference) -> Array:
    """What an estimator reads of a window: float64, as :data:`FEATURES` names it; always finite."""
    means = window.rows / window.weight
    spread = np.sqrt(np.maximum(window.squares / window.weight - means**2, 0.0))
    scale = np.maximum(reference.column_spreads, _NEVER_ZERO)
    relative = means.copy()
    relative[_SCALED] = (means[_SCALED] - reference.column_means[_SCALED]) / scale[_SCALED]
    information = entropy(window.probabilities) - means[COLUMNS.index("entropy")]
    shift = (window.quality / window.weight - reference.quality_means) / np.maximum(
        reference.quality_spreads, _NEVER_ZERO
    )
    return np.concatenate(
        [
            relative,
            (spread / scale)[_SPREAD_AT],
            [
                information / max(reference.information, _NEVER_ZERO),
                entropy(window.counts) / max(reference.variety, _NEVER_ZERO),
            ],
            # beyond a few deviations it matters little how many
            np.sign(shift) * np.log1p(np.abs(shift)),
            _mix(window, reference),
            _beyond(window, (means - reference.column_means) / scale, reference),
        ]
    )


def _mix(window: Window, reference: Reference) -> Array:
    shares = window.counts / window.weight
    other = reference.counts / reference.counts.sum()
    return np.array(
        [
            np.abs(shares - other).sum() / 2,
            shares.max(),
            np.square(shares).sum(),
            np.abs(shares - window.probabilities / window.weight).sum() / 2,
        ]
    )


def _beyond(window: Window, moved: Array, reference: Reference) -> Array:
    if reference.by_class is not None:
        moved = moved - reference.by_class.expected_columns(window.counts)
    return moved[:8]
