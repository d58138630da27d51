"""Intervals and tests against brute force, simulation and their own invariants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgecv.stats import (
    PairedRecord,
    class_rates,
    compare_predictions,
    mcnemar,
    non_inferiority,
    paired_difference,
    pairs_needed,
    percentile,
    percentile_ranks,
    rate,
    tango,
    wilson,
)

counts = st.integers(0, 60)


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_rate_and_mirrors(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    one, other = wilson(k, n), wilson(n - k, n)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert one.low < one.high
    assert math.isclose(one.low, 1 - other.high, abs_tol=1e-12)


@given(st.integers(1, 300), st.data())
def test_wilson_bounds_solve_the_score_equation(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    estimate = wilson(k, n, confidence=0.9)
    z = 1.6448536269514722
    for bound in (estimate.low, estimate.high):
        if 0 < bound < 1:
            # (p - bound)^2 = z^2 bound (1 - bound) / n
            left, right = (k / n - bound) ** 2, z * z * bound * (1 - bound) / n
            assert math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-12)


@given(counts, counts, st.integers(1, 200))
def test_tango_holds_the_difference_and_mirrors(gained: int, lost: int, both: int) -> None:
    n = gained + lost + both
    one, other = tango(gained, lost, n), tango(lost, gained, n)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert one.low < one.high
    assert math.isclose(one.low, -other.high, abs_tol=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 15), st.integers(0, 15), st.integers(1, 60))
def test_tango_bounds_are_where_the_constrained_likelihood_says(
    gained: int, lost: int, both: int
) -> None:
    """The statistic at a bound is z, with the nuisance rate found by brute force."""
    n = gained + lost + both
    estimate = tango(gained, lost, n)
    for bound in (estimate.low, estimate.high):
        losing = _most_likely_losing_rate(gained, lost, n, bound)
        variance = n * (2 * losing + bound - bound * bound)
        statistic = (gained - lost - n * bound) / math.sqrt(variance)
        assert abs(abs(statistic) - 1.959963985) < 0.01


def _most_likely_losing_rate(gained: int, lost: int, n: int, difference: float) -> float:
    """Rate of pairs lost that maximizes the trinomial likelihood under a fixed difference."""
    grid = np.linspace(max(0.0, -difference), (1 - difference) / 2, 200_001)[1:-1]
    same = np.maximum(1 - 2 * grid - difference, 1e-300)
    likelihood = (
        gained * np.log(np.maximum(grid + difference, 1e-300))
        + lost * np.log(grid)
        + (n - gained - lost) * np.log(same)
    )
    return float(grid[int(np.argmax(likelihood))])


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_sum(a: int, b: int) -> None:
    n = a + b
    both_sides = sum(math.comb(n, k) for k in range(n + 1) if min(k, n - k) <= min(a, b))
    assert math.isclose(mcnemar(a, b), both_sides / 2**n, rel_tol=1e-12)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_mcnemar_of_very_many_pairs_is_a_number() -> None:
    assert 0 < mcnemar(20_000, 20_500) < 0.05
    assert mcnemar(3_000, 9_000) == 0.0  # below the smallest float, not an overflow


@settings(max_examples=40)
@given(st.integers(1, 400), st.floats(0.01, 0.99), st.sampled_from([0.9, 0.95, 0.99]))
def test_ranks_reach_the_coverage_and_no_tighter_pair_of_tails_does(
    n: int, fraction: float, confidence: float
) -> None:
    lower, upper = percentile_ranks(n, fraction, confidence=confidence)
    mass = [math.comb(n, k) * fraction**k * (1 - fraction) ** (n - k) for k in range(n + 1)]
    tail = (1 - confidence) / 2
    assert 0 <= lower <= upper <= n + 1
    assert sum(mass[:lower]) <= tail + 1e-9  # P(Bin < lower)
    assert sum(mass[upper:]) <= tail + 1e-9  # P(Bin >= upper)
    if lower < n:
        assert sum(mass[: lower + 1]) > tail - 1e-9
    if upper > 1 and upper <= n:
        assert sum(mass[upper - 1 :]) > tail - 1e-9


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_a_percentile_is_a_sample_inside_its_interval(samples: list[int], fraction: float) -> None:
    estimate = percentile(samples, fraction)
    assert estimate.value in samples
    assert estimate.low <= estimate.value <= estimate.high
    share = sum(s <= estimate.value for s in samples) / len(samples)
    assert share >= fraction - 1e-9


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 15)), min_size=1, max_size=120))
def test_a_grouped_rate_is_the_plain_share_and_never_narrower_than_a_point(rows: list[Any]) -> None:
    success, groups = [s for s, _ in rows], [g for _, g in rows]
    estimate = rate(success, groups, resamples=200)
    assert math.isclose(estimate.value, sum(success) / len(success))
    assert 0 <= estimate.low < estimate.high <= 1
    # group names carry no meaning
    renamed = rate(success, [f"g{99 - g:02d}" for g in groups], resamples=200)
    assert math.isclose(renamed.value, estimate.value)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 20)),
        min_size=1,
        max_size=80,
    )
)
def test_a_comparison_is_antisymmetric_and_counts_every_flip(rows: list[Any]) -> None:
    labels, a, b, groups = map(list, zip(*rows, strict=True))
    one = compare_predictions(labels, a, b, groups, resamples=200)
    other = compare_predictions(labels, b, a, groups, resamples=200)
    assert one.flips == sum(x != y for x, y in zip(a, b, strict=True))
    assert (one.to_wrong, one.to_right) == (other.to_right, other.to_wrong)
    assert math.isclose(one.difference.value, -other.difference.value, abs_tol=1e-12)
    assert math.isclose(one.difference.low, -other.difference.high, abs_tol=1e-9)
    assert math.isclose(one.difference.value, (one.to_right - one.to_wrong) / one.n, abs_tol=1e-12)
    assert math.isclose(one.agreement.value, 1 - one.flips / one.n)


def _record(gained: int, lost: int, n: int) -> PairedRecord:
    truth = np.zeros(n, int)
    a = np.r_[np.ones(gained, int), np.zeros(n - gained, int)]
    b = np.r_[np.zeros(gained, int), np.ones(lost, int), np.zeros(n - gained - lost, int)]
    return compare_predictions(truth, a, b)


@given(counts, counts, st.integers(1, 2000), st.floats(0.001, 0.3))
def test_a_decision_follows_the_interval(gained: int, lost: int, both: int, margin: float) -> None:
    record = _record(gained, lost, gained + lost + both)
    decision, measured = non_inferiority(record, margin), record.difference
    if decision.outcome == "passed":
        assert measured.low > -margin
    elif decision.outcome == "failed":
        assert measured.high < -margin
    else:
        assert measured.low <= -margin <= measured.high
        assert decision.needed is None or decision.needed > record.n


@settings(max_examples=50)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 200), st.floats(0.001, 0.3))
def test_more_pictures_of_the_same_kind_never_undo_a_decision(
    gained: int, lost: int, both: int, margin: float
) -> None:
    n = gained + lost + both
    outcomes = [
        non_inferiority(_record(k * gained, k * lost, k * n), margin).outcome for k in (1, 2, 4, 16)
    ]
    decided = [outcome for outcome in outcomes if outcome != "undecided"]
    assert len(set(decided)) <= 1
    assert outcomes[len(outcomes) - len(decided) :] == decided


rates = st.floats(0, 0.2)


@given(rates, rates, st.floats(0.002, 0.1), st.floats(1.05, 3.0))
def test_the_pictures_needed_grow_with_what_makes_it_harder(
    gained: float, lost: float, margin: float, more: float
) -> None:
    assume(abs(gained - lost + margin) > 1e-6)
    needed = pairs_needed(gained, lost, margin)
    assert needed is not None
    assert (pairs_needed(gained, lost, margin, power=0.95) or 0) >= needed
    assert (pairs_needed(gained, lost, margin, confidence=0.99) or 0) >= needed
    # as many more gains as losses: the same difference, harder to see
    assert (pairs_needed(gained + 0.02, lost + 0.02, margin) or 0) >= needed
    if gained - lost > -margin:
        assert needed >= (pairs_needed(gained, lost, margin * more) or 0)


@given(rates, rates, st.floats(0.002, 0.1))
def test_that_many_pictures_decide_when_the_rates_stay(
    gained: float, lost: float, margin: float
) -> None:
    assume(abs(gained - lost + margin) > 1e-6)
    needed = pairs_needed(gained, lost, margin)
    assert needed is not None
    interval = tango(gained * needed, lost * needed, needed)
    assert not interval.low <= -margin <= interval.high


@pytest.mark.parametrize(
    ("gained", "lost", "margin", "outcome"),
    [
        (0.012, 0.014, 0.01, "passed"),
        (0.03, 0.03, 0.01, "passed"),
        (0.002, 0.006, 0.01, "passed"),
        (0.01, 0.04, 0.01, "failed"),
        (0.05, 0.05, 0.03, "passed"),
    ],
)
def test_that_many_pictures_decide_as_often_as_promised(
    gained: float, lost: float, margin: float, outcome: str
) -> None:
    needed = pairs_needed(gained, lost, margin, power=0.8)
    assert needed is not None
    rng = np.random.default_rng(0)
    worlds = rng.multinomial(needed, [gained, lost, 1 - gained - lost], size=600)
    decided = 0
    for up, down, _ in worlds.tolist():
        interval = tango(up, down, needed)
        decided += interval.low > -margin if outcome == "passed" else interval.high < -margin
    # 600 worlds: a standard error of 1.6 points; the formula is asymptotic
    assert 0.74 <= decided / 600 <= 0.88


# --- coverage by simulation: 400 worlds each, so the coverage is known to about 1.1 points


def _world(
    rng: np.random.Generator, groups: int, size: int, accuracy: float, shared: float
) -> np.ndarray:
    """Successes of pictures in groups; *shared* is the chance that a group shares one outcome."""
    own = rng.random((groups, size)) < accuracy
    common = rng.random((groups, 1)) < accuracy
    return np.where(rng.random((groups, 1)) < shared, common, own)


@pytest.mark.parametrize(
    ("groups", "size", "accuracy", "shared"),
    [
        (120, 5, 0.9, 0.6),
        (120, 5, 0.9, 0.0),
        (120, 5, 0.99, 0.3),
        (6, 8, 0.8, 0.8),
        (450, 5, 0.995, 0.5),
    ],
)
def test_grouped_rates_cover_the_truth(
    groups: int, size: int, accuracy: float, shared: float
) -> None:
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(groups), size)
    worlds = 400
    held = naive = 0
    for _ in range(worlds):
        success = _world(rng, groups, size, accuracy, shared).reshape(-1)
        estimate = rate(success, names, resamples=400)
        held += estimate.low <= accuracy <= estimate.high
        plain = wilson(int(success.sum()), success.size)
        naive += plain.low <= accuracy <= plain.high
    assert held / worlds >= 0.925
    if shared >= 0.6:  # negative control: ignoring the groups must fail here
        assert naive / worlds < 0.87


@pytest.mark.parametrize(
    ("groups", "discordance", "shared"), [(150, 0.1, 0.7), (150, 0.01, 0.5), (150, 0.03, 0.0)]
)
def test_grouped_differences_cover_the_truth(
    groups: int, discordance: float, shared: float
) -> None:
    rng, size, worlds = np.random.default_rng(6), 5, 400
    names = np.repeat(np.arange(groups), size)
    truth = 0.2 * discordance  # 60 % of the discordant pairs are gains, 40 % losses
    held = 0
    for _ in range(worlds):
        draw = rng.random((groups, size))
        draw = np.where(rng.random((groups, 1)) < shared, draw[:, :1], draw).reshape(-1)
        a = draw >= 0.6 * discordance
        b = (draw < 0.6 * discordance) | (draw >= discordance)
        estimate = paired_difference(a, b, names, resamples=400)
        held += estimate.low <= truth <= estimate.high
    assert held / worlds >= 0.925


def test_ungrouped_differences_cover_the_truth() -> None:
    rng, worlds, held = np.random.default_rng(7), 2000, 0
    for _ in range(worlds):
        gained, lost, _ = rng.multinomial(300, [0.03, 0.01, 0.96])
        estimate = tango(int(gained), int(lost), 300)
        held += estimate.low <= 0.02 <= estimate.high
    assert 0.93 <= held / worlds <= 0.98


def test_percentile_intervals_cover_the_truth() -> None:
    rng, worlds, held = np.random.default_rng(8), 1000, 0
    truth = -math.log(0.1)  # p90 of an exponential
    for _ in range(worlds):
        estimate = percentile(rng.exponential(size=150), 0.9)
        held += estimate.low <= truth <= estimate.high
    assert 0.94 <= held / worlds <= 0.985


def test_class_rates_agree_with_rate_of_each_class() -> None:
    rng = np.random.default_rng(9)
    classes = rng.integers(0, 3, 600)
    groups = rng.integers(0, 90, 600)
    success = rng.random(600) < np.array([0.5, 0.9, 0.99])[classes]
    for label, estimate in enumerate(class_rates(success, classes, 4, groups)):
        if label == 3:
            assert estimate is None
            continue
        chosen = classes == label
        alone = rate(success[chosen], groups[chosen])
        assert estimate is not None
        assert math.isclose(estimate.value, alone.value)
        assert abs(estimate.low - alone.low) < 0.02
        assert abs(estimate.high - alone.high) < 0.02
