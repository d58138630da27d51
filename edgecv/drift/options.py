"""How a monitor works."""

from __future__ import annotations

from dataclasses import dataclass

from edgecv.errors import InputError

__all__ = ["MonitorOptions"]


@dataclass(frozen=True)
class MonitorOptions:
    """How a monitor works.

    Attributes:
        window: Effective samples per window, 20 to 10000.
        false_alarm_windows: Mean number of windows between false alarms, 20 or more. Multiply by the time that a
            window takes for the time between false alarms.
        least_shift: Smallest change of a picture statistic that is given a name, in standard deviations of the
            reference pictures.
        longest_gap_s: Largest distance of samples.
        seed: Of the bootstrap.
    """

    window: int = 200
    false_alarm_windows: float = 1000.0
    least_shift: float = 0.5
    longest_gap_s: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("window", 20, 10_000),
            ("false_alarm_windows", 20, 1e9),
            ("least_shift", 0, 100),
            ("longest_gap_s", 0, 86_400),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                raise InputError(
                    f"{name}={value!r} is out of range", cure=f"Use {low:g} to {high:g}."
                )
