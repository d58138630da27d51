"""Temperature, frequency, throttling, swapping and power while something is measured."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from edgecv.board import conditions
from edgecv.board.meter import watts
from edgecv.board.probe import Machine

__all__ = ["Trace", "TraceSample"]

_EVERY_S = 1.0
_CPU0 = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"


@dataclass(frozen=True)
class TraceSample:
    """The machine at one moment; None where it does not tell.

    Attributes:
        at_s: Since the trace began.
        temperature_c: Of the processor.
        frequency_hz: Of processor 0, as the kernel asks for it.
        throttled: The firmware's bits.
        under_voltage: Alarm of the supply.
        swapped_in_pages: Since boot.
        watts: Where there is a meter.
    """

    at_s: float
    temperature_c: float | None
    frequency_hz: int | None
    throttled: int | None
    under_voltage: bool | None
    swapped_in_pages: int | None
    watts: float | None


@dataclass
class Trace:
    """A thread that looks at the machine every second. A context manager.

    Attributes:
        machine: Where to look.
        every_s: Seconds between two looks.
        samples: What was seen, at least one at the beginning and one at the end.
        watts_of: What the power covers, or why there is none.
    """

    machine: Machine = field(default_factory=Machine)
    every_s: float = _EVERY_S
    samples: list[TraceSample] = field(default_factory=list)
    watts_of: str = ""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._began = time.monotonic()
        power = watts(self.machine)
        self._has_meter = power.value is not None
        self.watts_of = power.value.what if power.value is not None else power.reason
        # a program per second costs something: only where there is one
        self._has_firmware = conditions.throttled(self.machine).value is not None

    def __enter__(self) -> Trace:
        self.samples.append(self._look())
        self._thread = threading.Thread(target=self._watch, name="edgecv-trace", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.samples.append(self._look())

    def _watch(self) -> None:
        while not self._stop.wait(self.every_s):
            self.samples.append(self._look())

    def _look(self) -> TraceSample:
        machine = self.machine
        zone = conditions.temperature(machine).value
        kilohertz = machine.number(_CPU0).value
        power = watts(machine).value if self._has_meter else None
        return TraceSample(
            at_s=round(time.monotonic() - self._began, 3),
            temperature_c=None if zone is None else zone[1],
            frequency_hz=None if kilohertz is None else kilohertz * 1000,
            throttled=conditions.throttled(machine).value if self._has_firmware else None,
            under_voltage=_under_voltage(machine),
            swapped_in_pages=_swapped_in(machine),
            watts=None if power is None else power.watts,
        )

    def reasons(self) -> list[str]:
        """Why what was measured meanwhile cannot be trusted, a sentence each."""
        found = []
        now = {s.throttled for s in self.samples if s.throttled is not None}
        bits = 0
        for value in now:
            bits |= value & 0xF
        fresh = (max(now) ^ min(now)) >> 16 if now else 0
        if bits or fresh:
            found.append(
                f"The firmware throttled the processor ({conditions.throttling(bits | fresh << 16)})."
            )
        if any(s.under_voltage for s in self.samples):
            found.append("The supply's voltage was too low.")
        pages = [s.swapped_in_pages for s in self.samples if s.swapped_in_pages is not None]
        if pages and pages[-1] > pages[0]:
            found.append(f"{pages[-1] - pages[0]} pages were swapped in.")
        clocks = [s.frequency_hz for s in self.samples if s.frequency_hz is not None]
        if clocks and min(clocks) < 0.9 * max(clocks):
            found.append(
                f"The frequency changed between {min(clocks) / 1e6:.0f} and {max(clocks) / 1e6:.0f} MHz."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Columns of equal length, names with units."""
        names = ("at_s", "temperature_c", "frequency_hz", "throttled", "under_voltage", "watts")
        return {
            **{name: [getattr(s, name) for s in self.samples] for name in names},
            "watts_of": self.watts_of,
        }


def _under_voltage(machine: Machine) -> bool | None:
    for entry in machine.names("sys/class/hwmon"):
        if machine.text(f"sys/class/hwmon/{entry}/name").value == "rpi_volt":
            alarm = machine.number(f"sys/class/hwmon/{entry}/in0_lcrit_alarm").value
            return None if alarm is None else bool(alarm)
    return None


def _swapped_in(machine: Machine) -> int | None:
    for line in (machine.text("proc/vmstat").value or "").splitlines():
        if line.startswith("pswpin "):
            return int(line.split()[1])
    return None
