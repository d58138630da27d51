"""A number with its interval, and the checks every statistic makes of its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError

__all__ = [
    "Estimate",
    "as_vector",
    "check_confidence",
    "group_indices",
    "normal_quantile",
    "student_quantile",
]


@dataclass(frozen=True)
class Estimate:
    """A number with a two-sided interval.

    Attributes:
        value: The point estimate; rates and differences of rates are fractions.
        low: Lower bound; ``-inf`` where the sample is too small to bound it.
        high: Upper bound; ``inf`` where the sample is too small to bound it.
        n: Observations behind it (pictures, samples).
        method: How the interval was made, e.g. ``"wilson"``.
        confidence: Coverage that the interval is built for, in (0, 1).

    >>> Estimate(0.9, 0.85, 0.94, n=100, method="wilson").as_json()["high"]
    0.94
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    confidence: float = 0.95

    def as_json(self) -> dict[str, float | int | str | None]:
        """JSON-ready dict; an unbounded side is ``None`` (JSON has no infinity)."""
        return {
            "value": self.value,
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
            "n": self.n,
            "method": self.method,
            "confidence": self.confidence,
        }


def check_confidence(confidence: float) -> float:
    """Return *confidence*, or raise InputError unless it lies in (0, 1)."""
    if not 0 < confidence < 1:
        raise InputError(
            f"confidence {confidence!r} is not in (0, 1)", cure="Use for example 0.95."
        )
    return confidence


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution.

    >>> round(normal_quantile(0.975), 4)
    1.96
    """
    return NormalDist().inv_cdf(probability)


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t (Abramowitz and Stegun 26.7.5); within 4 % from 2 degrees on.

    >>> round(student_quantile(0.975, 9), 3)
    2.262
    """
    z, v = normal_quantile(probability), freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def as_vector(values: npt.ArrayLike, name: str, length: int | None = None) -> npt.NDArray[Any]:
    """*values* as a 1-D array that is not empty.

    Raises:
        InputError: Not one-dimensional, empty, or not of *length*.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}", cure="Pass one value per picture.")
    if not array.size:
        raise InputError(f"{name} is empty (n = 0)", cure="A statistic needs at least one picture.")
    if length is not None and array.size != length:
        raise InputError(
            f"{name} has {array.size} values for {length} pictures",
            cure="Pass one value per picture.",
        )
    return array


def group_indices(groups: npt.ArrayLike | None, length: int) -> npt.NDArray[np.intp] | None:
    """Group number of every picture, or None when each picture is a group of its own."""
    if groups is None:
        return None
    names, index = np.unique(as_vector(groups, "groups", length), return_inverse=True)
    return None if len(names) == length else index.reshape(-1).astype(np.intp)
