"""Percentiles with distribution-free intervals from order statistics (David and Nagaraja, 7.1)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError
from edgecv.stats.estimate import Estimate, as_vector, check_confidence

__all__ = ["percentile", "percentile_ranks"]


def percentile_ranks(n: int, fraction: float, *, confidence: float = 0.95) -> tuple[int, int]:
    """Ranks of the sorted samples that bound a quantile, whatever the distribution.

    Args:
        n: Samples, at least 1.
        fraction: Quantile in (0, 1), e.g. 0.99.
        confidence: Coverage, in (0, 1); half of the rest on each side.

    Returns:
        1-based ranks (lower, upper); 0 and n + 1 mean that so few samples do not bound that side.

    Raises:
        InputError: n < 1 or a fraction outside (0, 1).

    >>> percentile_ranks(1000, 0.5), percentile_ranks(1000, 0.99), percentile_ranks(200, 0.99)
    ((469, 532), (983, 997), (195, 201))
    """
    if n < 1:
        raise InputError(f"a percentile of n = {n} samples", cure="It needs at least one.")
    if not 0 < fraction < 1:
        raise InputError(f"quantile {fraction!r} is not in (0, 1)", cure="Use 0.99 for p99.")
    tail = (1 - check_confidence(confidence)) / 2
    cumulative = _binomial_cdf(n, fraction)
    lower = int(np.searchsorted(cumulative, tail, side="right"))
    upper = int(np.searchsorted(cumulative, 1 - tail, side="left")) + 1
    return lower, min(upper, n + 1)


def _binomial_cdf(n: int, p: float) -> npt.NDArray[np.float64]:
    """P(Bin(n, p) <= k) for k = 0..n, by log factorials."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    log_mass = logs[n] - logs[k] - logs[n - k] + k * math.log(p) + (n - k) * math.log1p(-p)
    cumulative: npt.NDArray[np.float64] = np.minimum(np.cumsum(np.exp(log_mass)), 1.0)
    return cumulative


def percentile(samples: npt.ArrayLike, fraction: float, *, confidence: float = 0.95) -> Estimate:
    """A quantile by nearest rank (a value that was measured) with its interval.

    Args:
        samples: [N] measurements in any unit; they are assumed independent.
        fraction: Quantile in (0, 1).
        confidence: Coverage, in (0, 1).

    Returns:
        In the samples' unit; ``low`` or ``high`` is infinite where N is too small to bound it.

    Raises:
        InputError: Empty, or a sample is not finite.

    >>> estimate = percentile(range(1, 101), 0.9)
    >>> estimate.value, estimate.low, estimate.high
    (90.0, 84.0, 96.0)
    """
    ordered = np.sort(as_vector(samples, "samples").astype(np.float64))
    if not np.isfinite(ordered).all():
        raise InputError("a sample is not finite", cure="Drop it or measure again.")
    n = len(ordered)
    lower, upper = percentile_ranks(n, fraction, confidence=confidence)
    return Estimate(
        # the quotient can exceed a whole number by rounding only: 0.07 * 100 = 7.000000000000001
        value=float(ordered[max(math.ceil(fraction * n - 1e-9), 1) - 1]),
        low=float(ordered[lower - 1]) if lower else -math.inf,
        high=float(ordered[upper - 1]) if upper <= n else math.inf,
        n=n,
        method="order statistics",
        confidence=confidence,
    )
