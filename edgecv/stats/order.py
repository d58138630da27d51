"""Percentiles with distribution-free intervals from order statistics (David and Nagaraja, 7.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError
from edgecv.stats.estimate import Estimate, as_vector, check_confidence

__all__ = [
    "early_stopping",
    "least_samples",
    "percentile",
    "percentile_ranks",
    "ratio_of_medians",
]


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


def least_samples(fraction: float, *, confidence: float = 0.99) -> int:
    """Samples below which a percentile cannot be stated (MLPerf LoadGen's early stopping).

    One sample above the percentile must be able to occur: the smallest n with
    P(Bin(n, 1 - fraction) <= 1) <= 1 - confidence.

    >>> least_samples(0.9), least_samples(0.95), least_samples(0.99)
    (64, 130, 662)
    """
    if not 0 < fraction < 1:
        raise InputError(f"quantile {fraction!r} is not in (0, 1)", cure="Use 0.99 for p99.")
    missed = 1 - check_confidence(confidence)
    above = 1 - fraction
    n = 2
    while fraction**n + n * above * fraction ** (n - 1) > missed:
        n += 1
    return n


def early_stopping(
    samples: npt.ArrayLike, fraction: float, *, confidence: float = 0.99
) -> float | None:
    """An upper bound of a percentile as MLPerf LoadGen states it, or None when there are too few samples.

    The t-th largest sample, with the largest t for which P(Bin(n, 1 - fraction) <= t) <= 1 - confidence
    (MLPerf Inference, ``loadgen/early_stopping.cc``).

    Args:
        samples: [N] measurements.
        fraction: Quantile in (0, 1).
        confidence: Of the bound.

    >>> early_stopping(range(1, 1001), 0.9), early_stopping(range(63), 0.9)
    (923.0, None)
    """
    ordered = np.sort(as_vector(samples, "samples").astype(np.float64))
    n = len(ordered)
    if n < least_samples(fraction, confidence=confidence):
        return None
    # Bin(n, above) <= t is Bin(n, fraction) >= n - t
    cumulative = _binomial_cdf(n, 1 - fraction)
    allowed = int(np.searchsorted(cumulative, 1 - confidence, side="right")) - 1
    return float(ordered[n - allowed])


def ratio_of_medians(
    numerator: Sequence[npt.ArrayLike],
    denominator: Sequence[npt.ArrayLike],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Median over median with a bootstrap interval; whole blocks are drawn, then samples in them.

    What disturbs a machine lasts longer than one inference, so that samples of one block are alike:
    drawing single samples would pretend to know more than was measured. Bounds are widened for few
    blocks (Hesterberg 2015, "expanded percentiles").

    Args:
        numerator: Blocks of measurements, at least 3.
        denominator: Likewise, in the same unit.
        confidence: Coverage.
        resamples: Bootstrap resamples.
        seed: Of the resampling.

    Returns:
        The ratio; n counts the smaller number of blocks.

    Raises:
        InputError: Fewer than 3 blocks, an empty block, or a median of 0.
    """
    from edgecv.stats.rates import expanded_percentiles

    sides = [
        [as_vector(b, "block").astype(np.float64) for b in s] for s in (numerator, denominator)
    ]
    fewest = min(len(side) for side in sides)
    if fewest < 3 or any(len(block) == 0 for side in sides for block in side):
        raise InputError(
            f"{fewest} blocks do not bound a ratio", cure="Measure at least 3 blocks of each."
        )
    top, bottom = (float(np.median(np.concatenate(side))) for side in sides)
    if bottom <= 0:
        raise InputError(f"the median {bottom!r} divides nothing", cure="Measure again.")
    rng = np.random.default_rng(seed)
    values = [_resampled_median(sides[0], rng) / _resampled_median(sides[1], rng)
              for _ in range(resamples)]  # fmt: skip
    low, high = expanded_percentiles(np.asarray(values), fewest, check_confidence(confidence))
    method = f"block bootstrap, {resamples} resamples"
    return Estimate(top / bottom, low, high, fewest, method, confidence)


def _resampled_median(blocks: list[npt.NDArray[np.float64]], rng: np.random.Generator) -> float:
    drawn = [blocks[k] for k in rng.integers(0, len(blocks), len(blocks))]
    return float(np.median(np.concatenate([b[rng.integers(0, len(b), len(b))] for b in drawn])))
