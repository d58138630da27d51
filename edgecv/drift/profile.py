"""What a monitor knows of the reference pictures: made off the device, stored in the model's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import Calibrator
from edgecv.drift.by_class import ByClass
from edgecv.drift.estimator import Estimator

__all__ = ["VERSION", "DriftProfile", "FieldAudit", "Reference"]

#: Major version decides who may read; minor versions only add keys.
VERSION: Final = "2.0"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Statistics of the reference pictures.

    Attributes:
        pictures: N.
        independent: Originals among them; pictures of one original are one.
        top1: Share of right answers.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        column_means: float64 [10], of :data:`~edgecv.drift.answers.COLUMNS`.
        column_spreads: Standard deviations.
        quality_means: float64 [11], of :data:`~edgecv.drift.quality.QUALITY`.
        quality_spreads: Standard deviations.
        quantiles: Name → values at the levels of ``levels``, for people and plots.
        levels: Ascending, in [0, 1].
        counts: float64 [C], answers per class.
        information: Entropy of the mean answer minus mean entropy, nats.
        variety: Entropy of the answered classes, nats.
        by_class: What pictures of each answered class are like; None in profiles of version 1.
    """

    pictures: int
    independent: int
    top1: float
    low: float
    high: float
    column_means: Array
    column_spreads: Array
    quality_means: Array
    quality_spreads: Array
    quantiles: Mapping[str, tuple[float, ...]]
    levels: tuple[float, ...]
    counts: Array
    information: float
    variety: float
    by_class: ByClass | None = None


@dataclass(frozen=True)
class FieldAudit:
    """What people's labels of field frames showed.

    Attributes:
        frames: Labeled.
        top1: Accuracy in the field, weighted by inverse inclusion probabilities.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        estimated: What the estimator says of the same frames.
        shift: Added to later estimates.
    """

    frames: int
    top1: float
    low: float
    high: float
    estimated: float
    shift: float


@dataclass(frozen=True)
class DriftProfile:
    """Everything a :class:`~edgecv.drift.Monitor` needs beside scores and frames.

    Attributes:
        identity: Digest of the model that it was made for, as :func:`edgecv.artifact.identity` gives it.
        calibrator: From scores to numbers.
        reference: What the numbers are on reference pictures.
        signatures: Cause → float64 [severities, 11]: how the quality statistics move, in standard deviations.
        estimator: From numbers to accuracy.
        held_out: Method → ``{"mae", "bias", "p90", "worst", "mix_mae"}`` in points of accuracy, under corruptions
            that the fit had not seen, on pictures that it had not seen.
        against_float: int8 against the float model on the reference pictures (a paired comparison), or None.
        audit: What labels from the field showed, or None.
    """

    identity: str
    calibrator: Calibrator
    reference: Reference
    signatures: Mapping[str, Array]
    estimator: Estimator
    held_out: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    against_float: Mapping[str, Any] | None = None
    audit: FieldAudit | None = None

    @property
    def classes(self) -> int:
        """Outputs of the model, C."""
        return len(self.calibrator.precision)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; :meth:`from_json` reads it back."""
        from edgecv.drift.profile_json import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DriftProfile:
        """Check every number and build the profile.

        Raises:
            ModelLoadError: Something is missing, wrong, or of a newer major version.
        """
        from edgecv.drift.profile_json import from_json

        return from_json(values)
