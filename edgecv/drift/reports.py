"""What a monitor says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecv.drift.estimator import Estimate

__all__ = ["Alarm", "WindowReport"]


@dataclass(frozen=True)
class Alarm:
    """Something changed, or differs.

    Attributes:
        kind: ``"change"`` (the stream is no longer as it was) or ``"reference"`` (it differs from the reference
            pictures, in a way that may have been there from the start).
        since_s: When it began, as far as that can be told, in the clock that :meth:`Monitor.observe` was given.
        window: Number of the report that raised it, from 0.
        causes: Names, strongest first.
        signals: What moved, by name.
    """

    kind: str
    since_s: float
    window: int
    causes: tuple[str, ...]
    signals: tuple[str, ...]

    def __str__(self) -> str:
        """One line that stays the same while the alarm is on."""
        against = "the stream changed" if self.kind == "change" else "unlike the reference pictures"
        why = ", ".join(self.causes) or f"cause unknown ({', '.join(self.signals)})"
        return f"{against}: {why}; since {self.since_s:.0f} s"


@dataclass(frozen=True)
class WindowReport:
    """Decorrelated frames that are worth a window, or those since a change.

    Attributes:
        number: From 0.
        start_s: Time of its first frame.
        end_s: Time of its last frame.
        frames: Sampled frames in it.
        effective_samples: What they are worth, in independent frames.
        stride_s: Distance of the samples.
        estimate: Accuracy with interval.
        causes: Why it differs, from the reference or from the stream before; strongest first.
        raised: Alarms that began with it.
        alarms: All that are on.
        shifts: Quality statistic → distance from the reference in its standard deviations.
        mix_distance: Total variation distance of the answered classes from the reference's.
        strange: Share of frames whose scores lie outside of what the reference pictures showed.
    """

    number: int
    start_s: float
    end_s: float
    frames: int
    effective_samples: float
    stride_s: float
    estimate: Estimate
    causes: tuple[str, ...]
    raised: tuple[Alarm, ...]
    alarms: tuple[Alarm, ...]
    shifts: Mapping[str, float]
    mix_distance: float
    strange: float
