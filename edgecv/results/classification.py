"""The answer for one picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Classification", "Prediction", "Probabilities", "Timings"]


@dataclass(frozen=True)
class Prediction:
    """One class with its score.

    Attributes:
        index: Output index, from 0.
        label: Its name.
        score: In the unit that :attr:`Classification.score_kind` names.
    """

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Timings:
    """Wall time of one call by stage, in nanoseconds.

    >>> Timings(1_000_000, 2_000_000, 500_000).total_ms
    3.5
    """

    preprocess_ns: int
    infer_ns: int
    postprocess_ns: int

    @property
    def total_ms(self) -> float:
        """All stages together, in milliseconds."""
        return (self.preprocess_ns + self.infer_ns + self.postprocess_ns) / 1e6


class _Scores(np.ndarray[Any, np.dtype[np.float32]]):
    """float32 [classes] with the two methods of a tensor that other libraries call."""

    def cpu(self) -> _Scores:
        """The same: it lies in the memory of the CPU."""
        return self

    def numpy(self) -> npt.NDArray[np.float32]:
        """As a plain array."""
        return self.view(np.ndarray)


class Probabilities:
    """The scores of all classes, under the names that Ultralytics made common.

    ``supervision.Classifications.from_ultralytics(answer)`` reads an answer through them.

    Args:
        scores: float32 [classes].

    Attributes:
        data: float32 [classes].

    >>> probs = Probabilities(np.float32([0.25, 0.75]))
    >>> probs.top1, probs.top1conf, probs.top5
    (1, 0.75, [1, 0])
    """

    def __init__(self, scores: npt.NDArray[np.float32]) -> None:
        self.data: npt.NDArray[np.float32] = scores.view(_Scores)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def top1(self) -> int:
        """Index of the best class."""
        return int(self.data.argmax())

    @property
    def top1conf(self) -> float:
        """Its score."""
        return float(self.data.max())

    @property
    def top5(self) -> list[int]:
        """Indices of the five best classes, best first."""
        return [int(i) for i in np.argsort(-self.data, kind="stable")[:5]]


@dataclass(frozen=True)
class Classification:
    """Answer for one picture.

    Attributes:
        predictions: Best first.
        score_kind: ``"probability"``, or ``"score"`` where nobody says what a stranger's model gives.
        timings: Of this call; in a batch, its share.
        probs: The scores of all classes.
    """

    predictions: tuple[Prediction, ...]
    score_kind: str
    timings: Timings
    probs: Probabilities = field(
        default_factory=lambda: Probabilities(np.zeros(0, np.float32)), compare=False, repr=False
    )

    @property
    def top(self) -> Prediction:
        """The best prediction."""
        return self.predictions[0]
