"""Degenerate inputs, determinism and known values of edgecv.stats."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from edgecv.errors import InputError
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


@pytest.mark.parametrize(
    "call",
    [
        lambda: rate([]),
        lambda: rate([[True]]),
        lambda: rate([True, False], [1]),
        lambda: rate([True], confidence=1.0),
        lambda: rate([True, True] * 30, np.repeat(np.arange(30), 2), confidence=0.0),
        lambda: rate([True, False] * 30, np.repeat(np.arange(30), 2), resamples=10),
        lambda: wilson(1, 0),
        lambda: wilson(3, 2),
        lambda: wilson(-1, 2),
        lambda: tango(0, 0, 0),
        lambda: tango(3, 3, 5),
        lambda: tango(-1, 0, 5),
        lambda: mcnemar(-1, 2),
        lambda: paired_difference([], []),
        lambda: paired_difference([True], [True, False]),
        lambda: compare_predictions([0], [0], [0, 1]),
        lambda: class_rates([True], [2], 2),
        lambda: class_rates([True], [-1], 2),
        lambda: percentile([], 0.5),
        lambda: percentile([1.0, math.nan], 0.5),
        lambda: percentile([1.0], 1.0),
        lambda: percentile_ranks(0, 0.5),
        lambda: non_inferiority(compare_predictions([0], [0], [0]), 0.0),
        lambda: non_inferiority(compare_predictions([0], [0], [0]), 0.01, power=0.4),
        lambda: pairs_needed(0.6, 0.5, 0.01),
        lambda: pairs_needed(-0.1, 0.5, 0.01),
        lambda: pairs_needed(0.1, 0.1, 1.0),
        lambda: pairs_needed(0.1, 0.1, 0.01, power=1.0),
        lambda: pairs_needed(0.1, 0.1, 0.01, confidence=1.0),
    ],
)
def test_impossible_inputs_are_refused_with_a_cure(call: Callable[[], object]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.cure


def test_all_right_in_groups_still_has_a_width_and_uses_the_number_of_groups() -> None:
    estimate = rate([True] * 500, np.repeat(np.arange(100), 5))
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert math.isclose(estimate.low, wilson(100, 100).low)
    assert estimate.method == "wilson, effective n 100"


def test_no_flips_in_groups_still_has_a_width() -> None:
    right = [True] * 400 + [False] * 100
    estimate = paired_difference(right, right, np.repeat(np.arange(100), 5))
    assert estimate.value == 0
    assert math.isclose(estimate.high, -estimate.low)
    assert 0.02 < estimate.high < 0.06


def test_one_group_says_almost_nothing() -> None:
    one = rate([True] * 90 + [False] * 10, ["same"] * 100)
    assert one.high - one.low > 0.7
    difference = paired_difference([True] * 100, [True] * 90 + [False] * 10, ["same"] * 100)
    assert difference.high - difference.low > 0.9


def test_groups_of_one_picture_are_no_groups() -> None:
    success = [True] * 8 + [False] * 2
    assert rate(success, list(range(10))) == rate(success)
    other = success[::-1]
    assert paired_difference(success, other, list(range(10))) == paired_difference(success, other)


def test_pictures_that_move_together_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    outcome = np.repeat(rng.random(100) < 0.8, 10)
    together = rate(outcome, np.repeat(np.arange(100), 10))
    alone = rate(outcome)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_the_seed_decides_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    success, groups = rng.random(600) < 0.7, np.repeat(np.arange(120), 5)
    state = np.random.get_state()[1].copy()  # the legacy global state must stay
    first = rate(success, groups, seed=3)
    assert first == rate(success, groups, seed=3)
    lows = {rate(success, groups, seed=seed, resamples=200).low for seed in range(8)}
    assert len(lows) > 1
    assert (np.random.get_state()[1] == state).all()


def test_a_published_value_of_the_wilson_interval() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3: 15 of 148
    estimate = wilson(15, 148)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.0624, 0.1605)


def test_counts_of_a_comparison() -> None:
    record = compare_predictions([0, 0, 0, 0, 1], [0, 0, 1, 1, 1], [0, 1, 0, 2, 1])
    assert (record.to_wrong, record.to_right, record.wrong_to_other_wrong) == (1, 1, 1)
    assert (record.flips, record.n, record.groups) == (3, 5, 5)
    assert record.mcnemar_p == 1.0


def test_json_has_no_infinity() -> None:
    few = percentile(range(50), 0.99)
    assert few.high == math.inf
    assert json.loads(json.dumps(few.as_json(), allow_nan=False))["high"] is None


def changes(gained: int, lost: int, n: int, times: int = 1) -> PairedRecord:
    """A comparison with so many gains and losses, every picture *times* over in one group."""
    truth = np.zeros(n, int)
    a = np.r_[np.ones(gained, int), np.zeros(n - gained, int)]
    b = np.r_[np.zeros(gained, int), np.ones(lost, int), np.zeros(n - gained - lost, int)]
    repeated = (np.repeat(part, times) for part in (truth, a, b, np.arange(n)))
    return compare_predictions(*repeated)


def test_a_gate_prints_the_pictures_it_needs_and_they_would_decide() -> None:
    decision = non_inferiority(changes(6, 5, 500), 0.01)
    assert decision.outcome == "undecided"
    assert decision.needed is not None
    assert str(decision.needed) in str(decision)
    assert decision.as_json()["needed_pictures"] == decision.needed
    again = decision.needed / 500
    larger = changes(round(6 * again), round(5 * again), decision.needed)
    assert non_inferiority(larger, 0.01).outcome == "passed"


def test_a_clear_loss_fails_and_no_loss_passes() -> None:
    assert non_inferiority(changes(0, 100, 1000), 0.01).outcome == "failed"
    assert non_inferiority(changes(3, 3, 2000), 0.01).outcome == "passed"


def test_a_difference_at_the_margin_needs_no_number() -> None:
    decision = non_inferiority(changes(2, 3, 100), 0.01)
    assert (decision.outcome, decision.needed) == ("undecided", None)
    assert "would decide" not in str(decision)


def test_even_without_any_change_few_pictures_do_not_decide() -> None:
    few = non_inferiority(changes(0, 0, 100), 0.01)
    assert (few.outcome, few.needed) == ("undecided", pairs_needed(0, 0, 0.01))
    assert few.needed is not None
    assert non_inferiority(changes(0, 0, few.needed), 0.01).outcome == "passed"
    assert non_inferiority(changes(0, 0, few.needed - 2), 0.01).outcome == "undecided"


@pytest.mark.parametrize("lost", [12, 40])
def test_alike_pictures_count_once(lost: int) -> None:
    """Every picture five times over knows no more, so five times as many pictures are needed."""
    alone, fivefold = (non_inferiority(changes(lost, lost, 1000, t), 0.01) for t in (1, 5))
    assert alone.outcome == fivefold.outcome == "undecided"
    assert alone.needed is not None
    assert fivefold.needed == pytest.approx(5 * alone.needed, rel=0.25)


def test_importing_stats_loads_numpy_and_nothing_else_of_others() -> None:
    code = (
        "import sys, edgecv.stats;"
        "print([m for m in ('scipy', 'torch', 'PIL', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
