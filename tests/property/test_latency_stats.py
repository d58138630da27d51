"""Statistics of latencies against MLPerf's rules, exact binomials and simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.stats import early_stopping, least_samples, ratio_of_medians


@pytest.mark.parametrize(("fraction", "least"), [(0.9, 64), (0.95, 130), (0.99, 662)])
def test_early_stopping_is_mlperfs(fraction: float, least: int) -> None:
    """MLPerf Inference rules: 64, 130 and 662 queries for p90, p95 and p99."""
    assert least_samples(fraction) == least
    assert early_stopping(range(least - 1), fraction) is None
    assert early_stopping(range(least), fraction) == least - 1


@pytest.mark.parametrize(("fraction", "rank"), [(0.9, 78), (0.95, 34), (0.99, 2)])
def test_early_stopping_of_a_thousand(fraction: float, rank: int) -> None:
    """The t-th largest of 1,000; t from the binomial distribution."""
    assert early_stopping(range(1000), fraction) == 1000 - rank

    def at_most(count: int) -> Fraction:
        """P(Bin(1000, 1 - fraction) <= count), exactly."""
        p = 1 - Fraction(str(fraction))
        return sum(
            (math.comb(1000, k) * p**k * (1 - p) ** (1000 - k) for k in range(count + 1)),
            Fraction(0),
        )

    assert at_most(rank) <= Fraction(1, 100) < at_most(rank + 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5))
def test_ratio_of_medians_scales(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.lognormal(0, 0.2, 20) for _ in range(6)]
    base = ratio_of_medians(blocks, blocks, resamples=200)
    assert base.value == 1
    assert base.low <= 1 <= base.high
    scaled = ratio_of_medians([b * factor for b in blocks], blocks, resamples=200)
    assert scaled.value == pytest.approx(factor)
    assert scaled.low == pytest.approx(base.low * factor)


def test_ratio_of_medians_covers() -> None:
    """Samples of a block are alike: the interval must hold the true ratio about as often as it says."""
    rng = np.random.default_rng(5)

    def side(middle: float) -> list[np.ndarray]:
        return [middle * rng.lognormal(0, 0.05) * rng.lognormal(0, 0.1, 40) for _ in range(8)]

    held = 0
    for seed in range(200):
        found = ratio_of_medians(side(2.0), side(1.0), resamples=300, seed=seed)
        held += found.low <= 2.0 <= found.high
    assert held / 200 >= 0.90


@pytest.mark.parametrize("blocks", [[], [[1.0]], [[1.0], [2.0], []], [[0.0], [0.0], [0.0]]])
def test_ratio_of_what_cannot_be_divided(blocks: list[list[float]]) -> None:
    with pytest.raises(InputError):
        ratio_of_medians(blocks, blocks)
