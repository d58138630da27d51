"""The monitor: frames and probabilities in, accuracy estimates, causes and alarms out. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.alarm import CALM, Change, Latch, SequentialAlarm
from edgecv.drift.answers import COLUMNS, Answer
from edgecv.drift.by_class import LEAST_SPREAD
from edgecv.drift.causes import (
    CLASS_MIX,
    MIX_DISTANCE,
    UNKNOWN_CONTENT,
    Evidence,
    against_reference,
    mix_score,
    name_shift,
    smaller,
)
from edgecv.drift.correlation import Thinner
from edgecv.drift.estimator import Estimate
from edgecv.drift.options import MonitorOptions
from edgecv.drift.profile import DriftProfile
from edgecv.drift.quality import LEAST_SIDE, QUALITY, quality
from edgecv.drift.recent import Recent, Scatter, Step
from edgecv.drift.reports import Alarm, WindowReport
from edgecv.drift.window import Window, features

__all__ = ["Monitor", "Sample"]

Array = npt.NDArray[np.float64]

#: What the sequential alarm watches beside picture quality.
_WATCHED: Final = ("calibrated", "nearest")
SIGNALS: Final = (*_WATCHED, *QUALITY)
_WATCHED_AT: Final = np.array([COLUMNS.index(name) for name in _WATCHED])
#: What must be uncorrelated between samples, beside the answered class.
_DECORRELATED: Final = np.array(
    [QUALITY.index(n) for n in ("brightness", "contrast", "sharpness", "noise", "blue")]
)
#: Effective samples after which the charts look: enough for a mean to be nearly normal.
_STEP: Final = 20.0
#: Steps in a row that are unlike the reference pictures and need not wait for a window to end.
_QUICK: Final = 2
#: Samples per wanted effective sample after which a step ends as it is.
_PATIENCE: Final = 4
#: Seconds that no stream pauses for: more is a clock that was set.
_LEAP_S: Final = 86_400.0
#: Effective samples from which on a window that has not ended is worth an estimate.
_PROVISIONAL: Final = 30.0


@dataclass(frozen=True)
class Sample:
    """One frame, measured.

    Attributes:
        answer: What the scores say.
        quality: float64 [11], what the frame looks like.
    """

    answer: Answer
    quality: Array


class Monitor:
    """Watches a stream for drift.

    Most calls return at once: frames that are like the one before teach nothing, so the monitor measures one
    frame per correlation time. Memory does not grow.

    Args:
        profile: Of the model, as ``edgecv drift profile`` makes it, or its JSON (``manifest.drift_profile``).
        options: Sizes and rates.

    Attributes:
        bad_scores: Frames whose scores were not finite; they are left out.
        bad_frames: Frames that are too small to say what they look like; likewise.
        clock_jumps: Times that went back, were not finite, or leapt by more than a day.
    """

    def __init__(
        self,
        profile: DriftProfile | Mapping[str, Any],
        options: MonitorOptions | None = None,
    ) -> None:
        if not isinstance(profile, DriftProfile):
            profile = DriftProfile.from_json(profile)
        self.profile: DriftProfile = profile
        self.options: MonitorOptions = options or MonitorOptions()
        self.bad_scores: int = 0
        self.bad_frames: int = 0
        self.clock_jumps: int = 0
        self._rng = np.random.default_rng(self.options.seed)
        self._thinner = Thinner(longest_s=self.options.longest_gap_s)
        # a window is made of steps: the charts look at each, so that they need not wait for a window to end
        self._steps = max(1, round(self.options.window / _STEP))
        self._step_size = self.options.window / self._steps
        # half of the false alarms may come from the charts, half from the comparison with the reference
        self._steps_per_alarm = 2 * self.options.false_alarm_windows * self._steps
        self._chart = SequentialAlarm(len(SIGNALS), 1, self._steps_per_alarm)
        self._latch, self._quick_latch = Latch(), Latch(on=_QUICK)
        self._recent = Recent(profile.classes, self.options.window)
        self._scatter = Scatter(self.options.window, self._rng)
        self._since = 0.0
        self._usual = np.zeros(profile.classes)
        self._alarms: dict[str, Alarm] = {}
        self._number = 0
        self._last: WindowReport | None = None
        self._clock = 0.0
        self._source: float | None = None
        self._begin()

    def observe(
        self, scores: npt.NDArray[Any], frame: npt.NDArray[np.uint8], at_s: float
    ) -> WindowReport | None:
        """Take a frame and the model's scores of it.

        Args:
            scores: float32 [C], probabilities of all classes (``answer.probs.data``).
            frame: uint8 [H, W, 3] RGB as the camera gave it, at full resolution.
            at_s: Time of the frame in seconds, best of a monotonic clock.

        Returns:
            A report when the frame completes a window, or where an alarm begins or ends; else None.

        Raises:
            InputError: Another number of classes, or no frame.
        """
        now = self._now(at_s)
        if not self._thinner.wants(now):
            return None
        sample = self.measure(scores, frame)
        return None if sample is None else self._take(sample, now)

    def measure(self, scores: npt.NDArray[Any], frame: npt.NDArray[np.uint8]) -> Sample | None:
        """What :meth:`observe` reads of a frame; None, and counted, where there is nothing to read."""
        if not np.isfinite(scores).all():
            self.bad_scores += 1
            return None
        if min(frame.shape[:2]) < LEAST_SIDE:
            self.bad_frames += 1
            return None
        return Sample(self.profile.calibrator.answer(scores), quality(frame))

    def observe_sample(self, sample: Sample, at_s: float) -> WindowReport | None:
        """As :meth:`observe`, for a frame that was measured before."""
        now = self._now(at_s)
        return self._take(sample, now) if self._thinner.wants(now) else None

    @property
    def state(self) -> dict[str, Any]:
        """What is known now, JSON-ready; of the newest frames that are worth a window, or of those since a change."""
        reference = self.profile.reference
        last, estimate, effective = self._last, None, self._effective()
        causes: tuple[str, ...] = ()
        if last is not None:
            effective, causes = last.effective_samples, last.causes
            if effective >= _PROVISIONAL:
                estimate = last.estimate
        return {
            "estimated_top1": None if estimate is None else round(estimate.top1, 4),
            "interval": None
            if estimate is None
            else [round(estimate.low, 4), round(estimate.high, 4)],
            "reference_top1": round(reference.top1, 4),
            "effective_samples": round(effective, 1),
            "inside_calibrated_range": estimate is not None and estimate.inside,
            "causes": list(causes),
            "alarms": [str(a) for a in tuple(self._alarms.values())],
        }

    @property
    def learning(self) -> bool:
        """Whether the stream's correlation time is not known yet; no window ends before it is."""
        return self._thinner.learning

    @property
    def stride_s(self) -> float:
        """Distance of samples in seconds; 0 is every frame."""
        return self._thinner.stride_s

    def false_alarm_every_s(self) -> float | None:
        """Stated mean time between false alarms, by the time that frames of late took; None before a first step."""
        last = self._last
        if last is None:
            return None
        windows = last.effective_samples / self.options.window
        return (last.end_s - last.start_s) / windows * self.options.false_alarm_windows

    def accept(self) -> None:
        """Take the stream as it is now for usual: the sequential alarm begins anew."""
        self._chart.forget()
        self._usual[:] = 0.0
        self._alarms.pop("change", None)

    def _now(self, at_s: float) -> float:
        """Seconds that only move forward, whatever the clock does.

        A clock set back, or one that leaps by more than a day (a board without a battery-backed clock gets
        the time from the network minutes after its start), takes no time at all here.
        """
        if not math.isfinite(at_s):
            self.clock_jumps += 1
            return self._clock
        last, self._source = self._source, at_s
        if last is None:
            self._clock = at_s
        elif 0 <= at_s - last <= _LEAP_S:
            self._clock += at_s - last
        else:
            self.clock_jumps += 1
        return self._clock

    def _begin(self) -> None:
        """Begin a step."""
        self._window = Window(self.profile.classes)
        self._kept: list[Array] = []
        self._start = self._clock

    def _take(self, sample: Sample, now: float) -> WindowReport | None:
        row, index = sample.answer.row, sample.answer.index
        signals = np.append(sample.quality[_DECORRELATED], row[COLUMNS.index("calibrated")])
        if self._thinner.add(signals, index, now):
            # older samples lay closer together and are worth something else
            self._begin()
            return None
        if not self._kept:
            self._start = now
        self._window.add(sample.answer, sample.quality)
        self._kept.append(np.concatenate([row[_WATCHED_AT], sample.quality]))
        most = _PATIENCE * self._step_size
        if self._thinner.learning:
            # a long search for the stride must not fill memory; the newest samples are the best
            if len(self._kept) >= most:
                self._begin()
            return None
        if self._effective() < self._step_size and len(self._kept) < most:
            return None
        report = self._close(now)
        self._begin()
        return report

    def _effective(self) -> float:
        return self._window.frames / self._thinner.time

    def _estimate(self, window: Window, effective: float) -> Estimate:
        numbers = features(window, self.profile.reference)
        audit = self.profile.audit
        shift = audit.shift if audit is not None else 0.0
        return self.profile.estimator.estimate(numbers, effective, shift=shift)

    def _compare(self, window: Window, effective: float, level: float) -> Evidence:
        return against_reference(
            window,
            self.profile.reference,
            self.profile.signatures,
            effective=effective,
            level=level,
            least_shift=self.options.least_shift,
        )

    def _close(self, now: float) -> WindowReport | None:
        """End a step; a report where it ends a window, or raises an alarm."""
        step = Step(self._window, self._effective(), self._start)
        before, was = self._chart.mean.copy(), (self._chart.active, self._quick_latch.active)
        change = self._judge(step)
        at_once = self._compare(step.window, step.effective, 1 / self._steps_per_alarm)
        quick = self._quick_latch.add(bool(at_once.causes))
        self._recent.add(step)
        self._since += step.effective
        over = was[1] and not self._quick_latch.active
        if change.raised or quick:
            self._recent.keep(change.age if change.raised else _QUICK)
        elif over or (was[0] and not change.active):
            # nor is what lies before its end
            self._recent.keep(CALM)
        window, effective = self._recent.merged()
        evidence = self._compare(window, effective, 1 / (2 * self.options.false_alarm_windows))
        if over and not evidence.causes:
            # a fault that was plain in every step need not be missed in three windows
            self._latch = Latch()
        if quick and not evidence.causes:
            evidence = replace(evidence, causes=at_once.causes)
        causes = self._causes(window, effective, evidence, before, change)
        ended = self._since >= self.options.window
        # windows that overlap would not be two findings
        slow = ended and self._latch.add(bool(evidence.causes))
        before_it = set(self._alarms)
        raised = self._update_alarms(change, causes, evidence, quick or slow)
        report = WindowReport(
            number=self._number,
            start_s=self._recent.start_s,
            end_s=now,
            frames=window.frames,
            effective_samples=effective,
            stride_s=self._thinner.stride_s,
            estimate=self._estimate(window, effective),
            causes=causes,
            raised=raised,
            alarms=tuple(self._alarms.values()),
            shifts=dict(zip(QUALITY, evidence.shifts.tolist(), strict=True)),
            mix_distance=evidence.mix_distance,
            strange=evidence.strange,
        )
        self._last = report
        if not ended and set(self._alarms) == before_it:
            return None
        self._number += 1
        self._since = 0.0
        return report

    def _judge(self, step: Step) -> Change:
        """The charts' judgement of a step."""
        kept = np.stack(self._kept)
        variances = self._scatter.add(kept, self._thinner.time)
        extra = 0.0
        if self._usual.any():
            design = step.window.frames / step.effective
            extra, _ = mix_score(step.window.counts / design, self._usual, 1.0)
        change = self._chart.add(kept.mean(axis=0), variances, np.array([extra]))
        if not change.active:
            self._usual += step.window.counts * (step.effective / step.window.frames)
        return change

    def _causes(
        self, window: Window, effective: float, evidence: Evidence, before: Array, change: Change
    ) -> tuple[str, ...]:
        """Names for what differs from the reference, and for what changed in the stream."""
        causes = evidence.causes
        if not change.active:
            return causes
        pictures = not set(causes) <= {CLASS_MIX, UNKNOWN_CONTENT}
        # what follows from changed pictures is no cause beside them
        more = (
            c
            for c in self._changed(window, effective, before, change)
            if c not in causes and not (pictures and c in (CLASS_MIX, UNKNOWN_CONTENT))
        )
        return (*causes, *more)

    def _changed(
        self, window: Window, effective: float, before: Array, change: Change
    ) -> tuple[str, ...]:
        """Names for a change against the stream's own past."""
        spreads = np.maximum(self.profile.reference.quality_spreads, LEAST_SPREAD)
        shifts = (window.quality / window.weight - before[len(_WATCHED) :]) / spreads
        sure, mix = mix_score(window.counts / (window.frames / effective), self._usual, 1.0)
        by_class = self.profile.reference.by_class
        if by_class is not None and mix >= MIX_DISTANCE:
            own, usual = map(by_class.expected_quality, (window.counts, self._usual))
            shifts = smaller(shifts, own - usual)
        scores = self._chart.together(len(self._recent))[len(_WATCHED) :]
        moved = np.abs(scores) >= 3
        if (moved & (np.abs(shifts) >= self.options.least_shift / 2)).any():
            return name_shift(np.where(np.abs(scores) >= 2, shifts, 0.0), self.profile.signatures)
        if len(SIGNALS) in change.signals or (mix >= 0.2 and sure >= 3):
            return (CLASS_MIX,)
        if set(change.signals) & set(range(len(_WATCHED))):
            return (UNKNOWN_CONTENT,)
        return ()

    def _update_alarms(
        self, change: Change, causes: tuple[str, ...], evidence: Evidence, unlike: bool
    ) -> tuple[Alarm, ...]:
        raised = []
        since = self._recent.start_s
        if change.raised:
            names = (*SIGNALS, "classes")
            moved = tuple(names[i] for i in change.signals)
            raised.append(Alarm("change", since, self._number, causes, moved))
        elif not change.active:
            self._alarms.pop("change", None)
        if unlike and "reference" not in self._alarms:
            far = np.argsort(-np.abs(evidence.shifts))[:3]
            moved = tuple(QUALITY[i] for i in far if abs(evidence.shifts[i]) >= 0.5)
            raised.append(Alarm("reference", since, self._number, evidence.causes, moved))
        elif not self._latch.active and not self._quick_latch.active:
            self._alarms.pop("reference", None)
        for alarm in raised:
            self._alarms[alarm.kind] = alarm
        # a cause that shows later than the alarm belongs to it
        current = self._alarms.get("change")
        if current is not None and not current.causes and causes:
            self._alarms["change"] = replace(current, causes=causes)
        return tuple(raised)
