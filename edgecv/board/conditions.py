"""Temperature, throttling, power source, pressure: what changes from minute to minute."""

from __future__ import annotations

import re
from typing import Final

from edgecv.board.probe import Fact, Machine, absent

__all__ = ["THROTTLED", "power", "pressure", "temperature", "throttled", "throttling"]

#: Bits of the Raspberry Pi's firmware (documentation of ``vcgencmd get_throttled``); 16 to 19 say
#: the same of the time since boot.
THROTTLED: Final = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
#: Types of thermal zones that belong to the processor.
_ZONES: Final = ("cpu", "soc", "x86_pkg", "bigcore", "littlecore", "package", "acpitz")


def temperature(machine: Machine) -> Fact[tuple[str, float]]:
    """The processor's thermal zone: its type, and degrees Celsius.

    Zones are chosen by their type, since zone 0 is another part on some boards.
    """
    base = "sys/class/thermal"
    zones = [name for name in machine.names(base) if name.startswith("thermal_zone")]
    kinds = {zone: machine.text(f"{base}/{zone}/type").value or "" for zone in zones}
    chosen = [z for word in _ZONES for z in zones if kinds[z].lower().startswith(word)]
    reason = "there is no thermal zone" if not zones else "no thermal zone is the processor's: "
    if zones and not chosen:
        reason += ", ".join(kinds[z] or "untyped" for z in zones)
    for zone in chosen:
        found = machine.number(f"{base}/{zone}/temp")
        if found.value is not None:
            return Fact((kinds[zone], found.value / 1000))
        reason = found.reason
    return absent(reason)


def throttled(machine: Machine) -> Fact[int]:
    """The firmware's word of bits (:data:`THROTTLED`), through ``vcgencmd``."""
    said = machine.command("vcgencmd", "get_throttled")
    if said.value is None:
        return absent(said.reason)
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})", said.value)
    if found is None:
        return absent(f"'vcgencmd get_throttled' printed {said.value[:60]!r}")
    return Fact(int(found[1], 16))


def throttling(bits: int) -> str:
    """What the word says.

    >>> throttling(0), throttling(0x50005)
    ('none since boot', 'now: under-voltage, throttled; since boot: under-voltage, throttled')
    """
    now = [name for bit, name in THROTTLED.items() if bits >> bit & 1]
    before = [name for bit, name in THROTTLED.items() if bits >> (bit + 16) & 1]
    if not now and not before:
        return "none since boot"
    parts = [f"now: {', '.join(now)}"] if now else []
    return "; ".join([*parts, f"since boot: {', '.join(before)}"] if before else parts)


def power(machine: Machine) -> Fact[str]:
    """The power source: the alarm of a Raspberry Pi's supply, a battery, or the mains.

    Watts are told only by boards with a meter; without one nothing is said of them.
    """
    base = "sys/class/hwmon"
    for entry in machine.names(base):
        name = machine.text(f"{base}/{entry}/name").value
        if name == "rpi_volt":
            alarm = machine.number(f"{base}/{entry}/in0_lcrit_alarm")
            if alarm.value is None:
                return absent(alarm.reason)
            return Fact(
                "under-voltage: use the board's own supply" if alarm.value else "supply good"
            )
        if name in ("ina3221", "ina219", "ina226", "ina260"):
            return Fact(f"meter {name} ({entry})")
    for entry in machine.names("sys/class/power_supply"):
        kind = machine.text(f"sys/class/power_supply/{entry}/type").value
        state = machine.text(f"sys/class/power_supply/{entry}/status").value
        if kind == "Battery" and state:
            return Fact(f"battery, {state.lower()}")
        if kind == "Mains" and machine.number(f"sys/class/power_supply/{entry}/online").value == 1:
            return Fact("mains")
    return absent("the machine tells of no supply, battery or meter")


def pressure(machine: Machine) -> Fact[float]:
    """Percent of the last ten seconds in which some task waited for a processor."""
    said = machine.text("proc/pressure/cpu")
    if said.value is None:
        return absent(f"{said.reason} (on Raspberry Pi OS: add psi=1 to cmdline.txt)")
    found = re.search(r"^some avg10=([0-9.]+)", said.value, re.MULTILINE)
    return Fact(float(found[1])) if found else absent("/proc/pressure/cpu has no line 'some'")
