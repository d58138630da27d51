"""The sequential alarm: its stated rate of false alarms, what it notices, when it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.drift.alarm import Latch, SequentialAlarm, block_variance, cusum_threshold
from edgecv.errors import InputError

NONE = np.zeros(0)


@pytest.mark.parametrize(("windows", "threshold"), [(465, 5.0), (168, 4.0)])
def test_thresholds_of_the_literature(windows: float, threshold: float) -> None:
    # Montgomery, Introduction to Statistical Quality Control, table 9.3: two-sided, k = 1/2
    assert cusum_threshold(windows, 2) == pytest.approx(threshold, abs=0.03)


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="every 3 windows"):
        cusum_threshold(3, 1)


def false_alarms(windows: int, stated: float, seed: int) -> int:
    """On independent normal means of two signals whose scale the windows know, and one further score."""
    rng = np.random.default_rng(seed)
    alarm = SequentialAlarm(2, 1, stated)
    raised = 0
    for _ in range(windows):
        change = alarm.add(rng.normal(5, 0.1, 2), np.full(2, 0.01), rng.normal(0, 1, 1))
        if change.raised:
            raised += 1
            alarm.forget()
    return raised


def test_false_alarms_are_as_rare_as_stated() -> None:
    # forgetting after each alarm makes the chart learn anew each time, as a user would
    expected = 8000 / 50
    assert 0.4 * expected <= false_alarms(8000, 50, 0) <= 1.5 * expected


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_shift_is_noticed_and_named(sign: int) -> None:
    rng = np.random.default_rng(1)
    alarm = SequentialAlarm(3, 0, 1000)
    for _ in range(30):
        assert not alarm.add(rng.normal(0, 1, 3), np.ones(3), NONE).raised
    for _ in range(6):
        change = alarm.add(rng.normal([0, 3 * sign, 0], 1), np.ones(3), NONE)
        if change.raised:
            break
    assert change.raised
    assert change.signals == (1,)
    assert np.sign(change.scores[1]) == sign


def test_one_wild_window_is_no_alarm() -> None:
    alarm = SequentialAlarm(1, 0, 1000)
    for value in [0.0, 0.3, -0.2, 0.1, 1000.0, 0.0, 0.2]:
        assert not alarm.add(np.array([value]), np.ones(1), NONE).raised


def test_an_alarm_stays_until_the_stream_is_calm_and_learns_nothing_meanwhile() -> None:
    alarm = SequentialAlarm(1, 0, 1000)
    for _ in range(20):
        alarm.add(np.zeros(1), np.ones(1), NONE)
    raised = [alarm.add(np.full(1, 10.0), np.ones(1), NONE).raised for _ in range(12)]
    assert raised.count(True) == 1
    assert alarm.active
    # neither what led to the alarm nor what came after it joined the baseline; the first shifted window did
    assert alarm.mean[0] < 0.6
    seen = alarm.windows
    calm = [alarm.add(alarm.mean.copy(), np.ones(1), NONE).active for _ in range(6)]
    # some usual steps against a change of three deviations, not one
    assert calm[:2] == [True, True]
    assert not calm[-1]
    assert seen < alarm.windows <= seen + calm.count(False)


@pytest.mark.parametrize("shift", [0.9, 1.3, 2.0, 3.0])
def test_a_lasting_change_is_one_alarm(shift: float) -> None:
    # a small one is within three deviations at most steps, and comes and goes with chance
    for seed in range(3):
        rng = np.random.default_rng(seed)
        alarm = SequentialAlarm(6, 0, 20_000)
        for _ in range(300):
            alarm.add(rng.normal(0, 1, 6), np.ones(6), NONE)
        active = [alarm.active]
        for _ in range(1500):
            values = rng.normal([0, 0, shift, 0, 0, 0], 1)
            active.append(alarm.add(values, np.ones(6), NONE).active)
        assert np.count_nonzero(np.diff(active)) == 1


@pytest.mark.parametrize(("shift", "most"), [(1.5, 60), (3.0, 12)])
def test_an_alarm_ends_soon_after_its_change(shift: float, most: int) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        alarm = SequentialAlarm(3, 1, 1e6)
        one = np.zeros(1)
        for _ in range(300):
            alarm.add(rng.normal(0, 1, 3), np.ones(3), one)
        for _ in range(60):
            # upward in one signal, downward in another
            alarm.add(rng.normal([shift, -shift, 0], 1), np.ones(3), one)
        assert alarm.active
        steps = 0
        while alarm.active:
            alarm.add(rng.normal(0, 1, 3), np.ones(3), one)
            steps += 1
        assert steps <= most
        raised = [alarm.add(rng.normal(0, 1, 3), np.ones(3), one).raised for _ in range(200)]
        assert not any(raised)


def test_the_age_of_a_change_is_when_it_began() -> None:
    rng = np.random.default_rng(5)
    alarm = SequentialAlarm(3, 0, 1e6)
    for _ in range(60):
        assert alarm.add(rng.normal(0, 1, 3), np.ones(3), NONE).age == 0
    shifted = np.array([0, 2.5, 0])
    steps, change = 0, None
    while change is None or not change.raised:
        steps += 1
        change = alarm.add(rng.normal(0, 1, 3) + shifted, np.ones(3), NONE)
    assert steps < 30
    assert steps - 1 <= change.age <= steps + 6
    together = alarm.together(change.age)
    assert together[1] > 3
    assert np.abs(together[[0, 2]]).max() < 3
    assert alarm.add(shifted, np.ones(3), NONE).age == change.age + 1


def test_what_comes_is_usual_after_forgetting() -> None:
    alarm = SequentialAlarm(1, 0, 1000)
    for value in [0.0] * 20 + [10.0] * 12:
        alarm.add(np.full(1, value), np.ones(1), NONE)
    alarm.forget()
    assert not any(alarm.add(np.full(1, 10.0), np.ones(1), NONE).active for _ in range(20))


def test_scatter_between_windows_counts() -> None:
    # means that scatter ten times as much as their windows say: known after some windows
    rng = np.random.default_rng(2)
    alarm = SequentialAlarm(1, 0, 1000)
    scores = [alarm.add(rng.normal(0, 10, 1), np.ones(1), NONE).scores[0] for _ in range(300)]
    assert np.std(scores[150:]) < 1.5


def mean_of_block_variances(time: float, samples: Any) -> float:
    found = [block_variance(s[:, None], time, np.random.default_rng(0))[0] for s in samples]
    return float(np.mean(found))


def test_the_block_bootstrap_sees_correlation() -> None:
    rng = np.random.default_rng(3)
    independent = rng.normal(0, 1, (20, 400))
    held = rng.normal(0, 1, (20, 100)).repeat(4, axis=1)
    # the mean of 400 is worth 400 samples in one case, 100 in the other
    assert mean_of_block_variances(1, independent) == pytest.approx(1 / 400, rel=0.2)
    assert mean_of_block_variances(4, held) == pytest.approx(1 / 100, rel=0.3)


def test_a_latch_needs_two_and_three_in_a_row() -> None:
    latch = Latch(on=2, off=3)
    findings = [True, False, True, True, False, False, True, False, False, False, True]
    assert [latch.add(found) for found in findings].index(True) == 3
    assert not latch.active
