"""One page on a machine, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgecv.board import conditions, processor, system
from edgecv.board.probe import Fact, Machine, absent, joined
from edgecv.board.readers import Board

__all__ = ["BoardReport", "report"]


@dataclass(frozen=True)
class BoardReport:
    """What a machine says of itself.

    Attributes:
        facts: Name → fact, in the order of the page.
        engines: Installed and missing ones.
        advice: What to change before trusting a measurement, a sentence each.
    """

    facts: dict[str, Fact[Any]]
    engines: tuple[system.Engine, ...]
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Names with their unit → value, reasons apart."""
        return {
            "facts": {name: _plain(fact.value) for name, fact in self.facts.items()},
            "reasons": {name: fact.reason for name, fact in self.facts.items() if fact.reason},
            "engines": [asdict(engine) for engine in self.engines],
            "advice": list(self.advice),
        }

    def to_text(self) -> str:
        """A table; what is absent comes with its reason in brackets."""
        rows = [
            (name.rsplit("_", 1)[0] if name.endswith(_UNITS) else name, _shown(name, fact))
            for name, fact in self.facts.items()
        ]
        for engine in self.engines:
            state = engine.version or f"missing: {engine.cure}"
            rows.append(("engine", f"{engine.package} {state}"))
        width = max(len(name) for name, _ in rows)
        lines = [f"{name.replace('_', ' '):<{width}}  {value}" for name, value in rows]
        return "\n".join([*lines, *(f"! {sentence}" for sentence in self.advice)])


_UNITS = ("_bytes", "_c", "_percent")


def report(machine: Machine | None = None) -> BoardReport:
    """Ask everything.

    Args:
        machine: This one, unless told otherwise.
    """
    machine = machine or Machine()
    bits = conditions.throttled(machine)
    listed = processor.cores(machine)
    facts: dict[str, Fact[Any]] = {
        "model": processor.model(machine),
        "soc": processor.soc(machine),
        "pi_revision": processor.pi_revision(machine),
        "cores": _cores(listed),
        "usable_cores": Fact(system.usable_cores()),
        "int8_instructions": processor.int8_instructions(machine),
        "float16_instructions": processor.float16_instructions(machine),
        "governor": processor.governor(machine),
        "frequency": processor.frequencies(machine),
        "memory_bytes": system.memory_bytes(machine),
        "memory_limit_bytes": system.memory_limit_bytes(machine),
        "swap_bytes": system.swap_bytes(machine),
        "system": system.operating_system(machine),
        "word_size": Fact(system.word_size(machine)),
        "python": Fact(system.python()),
        "temperature_c": _temperature(conditions.temperature(machine)),
        "throttling": (
            absent(bits.reason) if bits.value is None else Fact(conditions.throttling(bits.value))
        ),
        "power": conditions.power(machine),
        "cpu_pressure_percent": conditions.pressure(machine),
        "cameras": system.cameras(machine),
        "emulated": Fact(Board(machine.root).emulated()),
    }
    return BoardReport(facts, system.engines(), tuple(_advice(machine, facts, bits, listed)))


def _cores(found: Fact[tuple[processor.Core, ...]]) -> Fact[str]:
    if found.value is None:
        return absent(found.reason)
    return Fact(
        joined(
            [
                core.name + (f", capacity {core.capacity}" if core.capacity is not None else "")
                for core in found.value
            ]
        )
    )


def _temperature(found: Fact[tuple[str, float]]) -> Fact[float]:
    return absent(found.reason) if found.value is None else Fact(found.value[1])


def _advice(
    machine: Machine,
    facts: dict[str, Fact[Any]],
    bits: Fact[int],
    listed: Fact[tuple[processor.Core, ...]],
) -> list[str]:
    """What stands between this machine and a trustworthy measurement, worst first."""
    found = []
    if facts["emulated"].value:
        found.append("This processor is emulated: no time measured here means anything.")
    if bits.value:
        found.append(
            f"The firmware throttled ({conditions.throttling(bits.value)}): cooling, and the board's"
            " own power supply."
        )
    governor = facts["governor"].value or ""
    if any(name in governor for name in ("ondemand", "powersave", "conservative", "schedutil")):
        found.append(
            f"The governor is {governor}: for measuring, set 'performance'"
            " (echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor)."
        )
    capacities = {core.capacity for core in listed.value or ()}
    if len(capacities) > 1:
        found.append("The cores differ: pin a measurement to cores of one kind (taskset).")
    if facts["int8_instructions"].value == ():
        found.append("This processor has no int8 dot product: expect little more speed from int8.")
    memory = facts["memory_bytes"].value
    if memory is not None and memory < 600 * 2**20 and not facts["swap_bytes"].value:
        found.append("Less than 600 MB of memory and no swap: installing packages may be killed.")
    if machine.root.name == "" and "virtual environment" not in str(facts["python"].value):
        found.append("Python runs outside a virtual environment; see docs/boards.md.")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(name: str, fact: Fact[Any]) -> str:
    value = fact.value
    if value is None:
        return f"({fact.reason})"
    if name.endswith("_bytes"):
        return f"{value / 2**20:.0f} MiB" if value else "none"
    if name.endswith("_c"):
        return f"{value:.1f} degrees Celsius"
    if name.endswith("_percent"):
        return f"{value:.1f} %"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
