"""The monitor on a toy stream: quiet without drift, loud and by name with it, small for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from drift_parts import CLASSES, picture, pictures, profile, scores

from edgecv.drift import Monitor, MonitorOptions, Sample, WindowReport
from edgecv.drift.causes import CLASS_MIX
from edgecv.drift.corruptions import FAMILIES
from edgecv.drift.quality import QUALITY
from edgecv.errors import InputError

Array = np.ndarray[Any, Any]
OPTIONS = MonitorOptions(window=60, false_alarm_windows=500)
STATE = [
    "estimated_top1", "interval", "reference_top1", "effective_samples", "inside_calibrated_range",
    "causes", "alarms",
]  # fmt: skip
OPTIONS_BLUE = QUALITY.index("blue")
MAKE = {family.name: family.make for family in FAMILIES}


def pool(
    make: Callable[[Array], Array] | None = None, seed: int = 1, keep: int = 400
) -> list[Sample]:
    """Measured frames."""
    monitor = Monitor(profile(), OPTIONS)
    found = []
    for frame in pictures(keep, seed)[0]:
        frame = frame if make is None else make(frame)
        sample = monitor.measure(scores(frame), frame)
        assert sample is not None
        found.append(sample)
    return found


CLEAN = pool()


def scenes(samples: list[Sample], frames: int, hold: float, seed: int) -> Iterator[Sample]:
    """Scenes that hold for *hold* frames in the mean."""
    rng = np.random.default_rng(seed)
    while frames > 0:
        length = min(int(rng.geometric(1 / hold)), frames)
        yield from [samples[int(rng.integers(len(samples)))]] * length
        frames -= length


def run(
    monitor: Monitor,
    samples: list[Sample],
    frames: int,
    *,
    hold: float = 12,
    seed: int = 0,
    at: int = 0,
) -> list[WindowReport]:
    """Ten frames per second from frame *at* on."""
    reports = []
    for number, sample in enumerate(scenes(samples, frames, hold, seed), start=at):
        report = monitor.observe_sample(sample, number / 10)
        if report is not None:
            reports.append(report)
    return reports


def test_a_stream_without_drift_raises_no_alarm_and_knows_its_accuracy() -> None:
    monitor = Monitor(profile(), OPTIONS)
    reports = run(monitor, CLEAN, 60_000)
    assert len(reports) >= 15
    assert not any(report.raised for report in reports)
    reference = profile().reference
    mean = np.mean([report.estimate.top1 for report in reports])
    assert mean == pytest.approx(reference.top1, abs=0.06)
    for report in reports:
        assert report.estimate.low <= report.estimate.top1 <= report.estimate.high
        assert report.effective_samples >= 60
        assert report.frames >= report.effective_samples


def test_held_scenes_are_not_taken_for_evidence() -> None:
    # one scene per 12 frames: 60,000 frames are 5,000 scenes, worth at most that many samples
    reports = run(Monitor(profile(), OPTIONS), CLEAN, 60_000)
    assert sum(report.effective_samples for report in reports) < 5000


@pytest.mark.parametrize(
    ("family", "severity", "cause"),
    [
        ("dark", 0.5, "dark"),
        ("defocus", 0.7, "blur"),
        ("sensor noise", 0.4, "noise"),
        ("jpeg", 0.9, "compression"),
        ("bright", 0.6, "bright"),
    ],
)
def test_a_fault_is_named_within_ten_windows(family: str, severity: float, cause: str) -> None:
    rng = np.random.default_rng(5)
    faulty = pool(lambda frame: MAKE[family](frame, severity, rng), seed=2, keep=200)
    monitor = Monitor(profile(), OPTIONS)
    before = run(monitor, CLEAN, 30_000)
    assert not any(report.raised for report in before)
    after = run(monitor, faulty, 40_000, seed=1, at=30_000)[:11]
    raised = [alarm for report in after for alarm in report.raised]
    assert raised
    assert cause in {name for alarm in raised for name in alarm.causes}
    assert cause in monitor.state["causes"]
    assert any(cause in text for text in monitor.state["alarms"])


def test_a_fault_does_not_wait_for_a_window_to_end() -> None:
    rng = np.random.default_rng(5)
    faulty = pool(lambda frame: MAKE["dark"](frame, 0.7, rng), seed=2, keep=200)
    monitor = Monitor(profile(), MonitorOptions())
    before = run(monitor, CLEAN, 60_000)
    assert not any(report.raised for report in before)
    usual = np.median([report.end_s - report.start_s for report in before])
    for number, sample in enumerate(scenes(faulty, 20_000, 12, 1), start=60_000):
        first = monitor.observe_sample(sample, number / 10)
        if first is not None:
            break
    assert first is not None
    assert first.raised
    assert "dark" in first.causes
    assert first.end_s - 6000 < usual / 2
    # what was before the light went out is no part of the estimate
    assert first.start_s >= 6000 - usual / 8
    assert monitor.state["effective_samples"] < 120
    assert all("since 6" in text or "since 5" in text for text in monitor.state["alarms"])


def test_another_class_mix_is_named_as_that() -> None:
    rng = np.random.default_rng(6)
    monitor = Monitor(profile(), OPTIONS)
    one = []
    for frame in [picture(int(rng.random() < 0.1), rng) for _ in range(300)]:
        sample = monitor.measure(scores(frame), frame)
        assert sample is not None
        one.append(sample)
    run(monitor, CLEAN, 30_000)
    after = run(monitor, one, 40_000, seed=1, at=30_000)[:11]
    causes = {name for report in after for alarm in report.raised for name in alarm.causes}
    assert CLASS_MIX in causes


def test_the_state_is_plain_and_has_the_agreed_names() -> None:
    monitor = Monitor(profile().as_json(), OPTIONS)
    assert list(monitor.state) == STATE
    assert monitor.state["estimated_top1"] is None
    assert monitor.state["inside_calibrated_range"] is False
    run(monitor, CLEAN, 20_000)
    state = json.loads(json.dumps(monitor.state, allow_nan=False))
    assert list(state) == STATE
    assert state["interval"][0] <= state["estimated_top1"] <= state["interval"][1]
    assert (state["causes"], state["alarms"]) == ([], [])


def test_a_first_estimate_comes_before_the_first_window_ends() -> None:
    monitor = Monitor(profile(), MonitorOptions(window=10_000))
    assert run(monitor, CLEAN, 3000, hold=1) == []
    assert monitor.state["estimated_top1"] is not None
    assert monitor.state["effective_samples"] >= 30


def test_scores_that_are_none_are_left_out_and_counted() -> None:
    monitor = Monitor(profile(), OPTIONS)
    frame = pictures(1, 0)[0][0]
    bad = np.full(CLASSES, np.nan, np.float32)
    for second in range(5):
        assert monitor.observe(bad, frame, float(second)) is None
    assert monitor.bad_scores == 5
    monitor.observe(scores(frame), frame, 6.0)
    assert monitor.state["effective_samples"] == 0


@pytest.mark.parametrize("leap", [-1e6, 1e9, float("nan"), float("inf"), -float("inf")])
def test_a_clock_that_jumps_neither_stops_nor_floods_the_sampling(leap: float) -> None:
    monitor = Monitor(profile(), OPTIONS)
    first = run(monitor, CLEAN, 30_000)
    stride = monitor.stride_s
    assert stride > 0
    jumped = 30_000 / 10 + leap
    reports = []
    for number, sample in enumerate(scenes(CLEAN, 30_000, 12, 3)):
        at = jumped if number == 0 else (jumped if np.isfinite(jumped) else 3000.0) + number / 10
        report = monitor.observe_sample(sample, at)
        reports += [] if report is None else [report]
    assert monitor.clock_jumps >= 1
    assert len(reports) == pytest.approx(len(first), abs=0.6 * len(first))
    ends = [report.end_s for report in first + reports]
    assert ends == sorted(ends)


def test_a_frame_that_is_too_small_is_left_out_and_counted() -> None:
    monitor = Monitor(profile(), OPTIONS)
    frame = pictures(1, 0)[0][0]
    for number, tiny in enumerate([frame[:4, :4], frame[:200, :7], frame[:1], frame]):
        assert monitor.observe(scores(frame), tiny, float(number)) is None
    assert monitor.bad_frames == 3
    assert monitor.state["effective_samples"] == 0


def test_after_a_fault_the_alarm_and_the_estimate_are_soon_those_of_the_stream() -> None:
    rng = np.random.default_rng(5)
    faulty = pool(lambda frame: MAKE["dark"](frame, 0.7, rng), seed=2, keep=200)
    monitor = Monitor(profile(), MonitorOptions())
    before = run(monitor, CLEAN, 60_000)
    usual = np.median([report.end_s - report.start_s for report in before])
    run(monitor, faulty, 20_000, seed=1, at=60_000)
    assert len(monitor.state["alarms"]) == 2
    for number, sample in enumerate(scenes(CLEAN, 40_000, 12, 3), start=80_000):
        monitor.observe_sample(sample, number / 10)
        if not monitor.state["alarms"]:
            break
    assert number / 10 - 8000 < 0.7 * usual
    assert monitor.state["effective_samples"] < 120
    assert monitor.state["causes"] == []


def test_a_lasting_small_change_is_one_alarm() -> None:
    blue = OPTIONS_BLUE
    monitor = Monitor(profile(), MonitorOptions())
    rng = np.random.default_rng(8)
    spreads, told = profile().reference.quality_spreads, []
    for number in range(24_000):
        sample = CLEAN[int(rng.integers(len(CLEAN)))]
        moved = sample.quality.copy()
        moved[blue] += 0.45 * spreads[blue] * (number > 4000)
        monitor.observe_sample(Sample(sample.answer, moved), number / 10)
        on = any("changed" in text for text in monitor.state["alarms"])
        if not told or told[-1] != on:
            told.append(on)
    assert told == [False, True]


def test_a_first_time_that_is_none_does_no_harm() -> None:
    monitor = Monitor(profile(), OPTIONS)
    monitor.observe_sample(CLEAN[0], float("nan"))
    reports = run(monitor, CLEAN, 20_000)
    assert monitor.clock_jumps == 1
    assert reports
    assert all(np.isfinite([report.start_s, report.end_s]).all() for report in reports)


def held_arrays(value: Any, seen: set[int]) -> int:
    """Bytes of all arrays that an object reaches."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict):
        return sum(held_arrays(v, seen) for v in value.values())
    if isinstance(value, (list, tuple)) or type(value).__name__ == "deque":
        return sum(held_arrays(v, seen) for v in value)
    if hasattr(value, "__dict__"):
        return held_arrays(vars(value), seen)
    return 0


def test_memory_does_not_grow() -> None:
    monitor = Monitor(profile(), OPTIONS)
    largest = []
    for part in range(6):
        run(monitor, CLEAN, 15_000, seed=part, at=15_000 * part)
        largest.append(held_arrays(monitor, set()))
    assert max(largest[3:]) <= 1.3 * max(largest[:3])
    assert max(largest) < 2_000_000


def test_accepting_ends_an_alarm_of_the_stream() -> None:
    rng = np.random.default_rng(7)
    faulty = pool(lambda frame: MAKE["dark"](frame, 0.5, rng), seed=2, keep=200)
    monitor = Monitor(profile(), OPTIONS)
    run(monitor, CLEAN, 30_000)
    run(monitor, faulty, 30_000, seed=1, at=30_000)
    assert any(text.startswith("the stream changed") for text in monitor.state["alarms"])
    monitor.accept()
    run(monitor, faulty, 30_000, seed=2, at=60_000)
    alarms = monitor.state["alarms"]
    assert not any(text.startswith("the stream changed") for text in alarms)
    # what differs from the reference goes on differing from it
    assert any(text.startswith("unlike the reference") for text in alarms)


def test_an_alarm_ends_when_the_fault_does() -> None:
    rng = np.random.default_rng(8)
    faulty = pool(lambda frame: MAKE["dark"](frame, 0.5, rng), seed=2, keep=200)
    monitor = Monitor(profile(), OPTIONS)
    run(monitor, CLEAN, 30_000)
    run(monitor, faulty, 15_000, seed=1, at=30_000)
    assert monitor.state["alarms"]
    run(monitor, CLEAN, 60_000, seed=2, at=45_000)
    assert monitor.state["alarms"] == []


@pytest.mark.parametrize(
    "wrong",
    [{"window": 5}, {"window": True}, {"false_alarm_windows": 1.0}, {"longest_gap_s": -1.0}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="out of range"):
        MonitorOptions(**wrong)


def test_the_rate_of_false_alarms_is_stated_in_time() -> None:
    monitor = Monitor(profile(), OPTIONS)
    assert monitor.false_alarm_every_s() is None
    reports = run(monitor, CLEAN, 20_000)
    last = reports[-1]
    # a window of late took a little more than sixty independent frames
    one = (last.end_s - last.start_s) * 60 / last.effective_samples
    assert monitor.false_alarm_every_s() == pytest.approx(500 * one, rel=0.2)
