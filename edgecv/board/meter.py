"""Electric power, where a board or an add-on meter tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgecv.board.probe import Fact, Machine, absent

__all__ = ["Reading", "watts"]

_METERS = ("ina219", "ina226", "ina260")
_RAIL = re.compile(r"(\w+)_([AV]) \w+\(\d+\)=([\d.]+)[AV]")


@dataclass(frozen=True)
class Reading:
    """Power at one moment.

    Attributes:
        watts: Watts.
        what: What it covers, e.g. ``"PMIC rails, not the whole board"``.
    """

    watts: float
    what: str


def watts(machine: Machine) -> Fact[Reading]:
    """Power that flows now: an add-on meter, a Jetson's monitor, or the rails of a Raspberry Pi 5.

    A Raspberry Pi 5 tells 12 rails of its power chip; losses, USB and the 5 V supply are not among
    them. Older ones measure no current.
    """
    base = "sys/class/hwmon"
    for entry in machine.names(base):
        name = machine.text(f"{base}/{entry}/name").value or ""
        if name in _METERS:
            microwatts = machine.number(f"{base}/{entry}/power1_input")
            if microwatts.value is None:
                return absent(microwatts.reason)
            return Fact(Reading(microwatts.value / 1e6, f"meter {name}"))
        if name == "ina3221":
            return _channels(machine, f"{base}/{entry}")
    said = machine.command("vcgencmd", "pmic_read_adc")
    if said.value is None:
        return absent(f"no meter; {said.reason}")
    rails: dict[str, dict[str, float]] = {}
    for rail, unit, value in _RAIL.findall(said.value):
        rails.setdefault(rail, {})[unit] = float(value)
    both = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    if not both:
        return absent(f"'vcgencmd pmic_read_adc' printed {said.value[:60]!r}")
    return Fact(Reading(sum(both), f"{len(both)} PMIC rails, not the whole board"))


def _channels(machine: Machine, folder: str) -> Fact[Reading]:
    """The channel that a Jetson calls the input, else all of them."""
    found: dict[str, float] = {}
    for k in (1, 2, 3):
        volts, amperes = (machine.number(f"{folder}/{x}{k}_input").value for x in ("in", "curr"))
        label = machine.text(f"{folder}/in{k}_label").value or f"channel {k}"
        if volts is not None and amperes is not None:
            found[label] = volts * amperes / 1e6
    if not found:
        return absent("the meter ina3221 has no channel that can be read")
    if "VDD_IN" in found:
        return Fact(Reading(found["VDD_IN"], "ina3221 VDD_IN"))
    return Fact(Reading(sum(found.values()), f"ina3221: {', '.join(found)}"))
