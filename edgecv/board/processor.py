"""Model, SoC, cores, their instructions and frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgecv.board.probe import Fact, Machine, absent, fields, joined
from edgecv.board.readers import INT8_INSTRUCTIONS

__all__ = [
    "Core", "cores", "float16_instructions", "frequencies", "governor", "int8_instructions", "model",
    "pi_revision", "soc",
]  # fmt: skip

_TREES: Final = ("proc/device-tree", "sys/firmware/devicetree/base")
_CPUS: Final = "sys/devices/system/cpu"
#: Arm's part numbers (util-linux lscpu-arm.c); implementer 0x41.
_PARTS: Final = {
    0xB76: "ARM1176",
    0xC07: "Cortex-A7",
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD49: "Neoverse-N2",
}
_HALF: Final = ("asimdhp", "fphp", "avx512_fp16", "amx_fp16", "bf16", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Core:
    """One processor as the kernel numbers it.

    Attributes:
        name: E.g. ``Cortex-A76`` or the marketing name.
        capacity: Computing capacity against the largest core, 1 to 1024; None where the kernel does
            not say.
    """

    name: str
    capacity: int | None


def model(machine: Machine) -> Fact[str]:
    """Name in the device tree, or of the firmware on x86."""
    for tree in _TREES:
        if (found := machine.text(f"{tree}/model")).value is not None:
            return found
    parts = [
        machine.text(f"sys/class/dmi/id/{name}").value for name in ("sys_vendor", "product_name")
    ]
    text = " ".join(part for part in parts if part)
    return Fact(text) if text else absent("there is neither a device tree nor DMI data")


def soc(machine: Machine) -> Fact[str]:
    """The system on a chip: the last ``compatible`` entry of the device tree."""
    for tree in _TREES:
        found = machine.text(f"{tree}/compatible")
        if found.value is not None:
            return Fact(found.value.split("\x00")[-1])
    return absent("there is no device tree")


def pi_revision(machine: Machine) -> Fact[str]:
    """Revision code of a Raspberry Pi, hexadecimal."""
    text = machine.text("proc/cpuinfo")
    if text.value is None:
        return absent(text.reason)
    for block in fields(text.value):
        if "Revision" in block:
            return Fact(block["Revision"])
    return absent("/proc/cpuinfo names no revision")


def cores(machine: Machine) -> Fact[tuple[Core, ...]]:
    """Every processor with its capacity."""
    text = machine.text("proc/cpuinfo")
    if text.value is None:
        return absent(text.reason)
    found = []
    for block in fields(text.value):
        if "processor" not in block:
            continue
        capacity = machine.number(f"{_CPUS}/cpu{block['processor']}/cpu_capacity").value
        found.append(Core(_name(block), capacity))
    return Fact(tuple(found)) if found else absent("/proc/cpuinfo lists no processors")


def _name(block: dict[str, str]) -> str:
    if "CPU part" in block:
        implementer, part = block.get("CPU implementer", "?"), block["CPU part"]
        try:
            number = int(part, 16)
        except ValueError:
            number = -1
        known = _PARTS.get(number) if implementer == "0x41" else None
        return f"{known} ({part})" if known else f"implementer {implementer}, part {part}"
    return block.get("model name", "unnamed")


def int8_instructions(machine: Machine) -> Fact[tuple[str, ...]]:
    """Instructions that make int8 faster than float; empty when the processor has none of them."""
    return _flags(machine, INT8_INSTRUCTIONS)


def float16_instructions(machine: Machine) -> Fact[tuple[str, ...]]:
    """Arithmetic of 16-bit floats; some engines need it on Arm to compile int8 models."""
    return _flags(machine, _HALF)


def _flags(machine: Machine, wanted: tuple[str, ...]) -> Fact[tuple[str, ...]]:
    text = machine.text("proc/cpuinfo")
    if text.value is None:
        return absent(text.reason)
    # on a board with several kinds of cores only what all have can be relied on
    all_flags = [
        set(block.get("flags", block.get("Features", "")).split())
        for block in fields(text.value)
        if "flags" in block or "Features" in block
    ]
    if not all_flags:
        return absent("/proc/cpuinfo names no features")
    common = set.intersection(*all_flags)
    return Fact(tuple(name for name in wanted if name in common))


def governor(machine: Machine) -> Fact[str]:
    """Frequency governors of the processors, e.g. ``4 x ondemand``."""
    return _per_core(machine, "scaling_governor")


def frequencies(machine: Machine) -> Fact[str]:
    """Current and highest frequency of the processors, as the kernel asks for them."""
    now, most = _per_core(machine, "scaling_cur_freq"), _per_core(machine, "cpuinfo_max_freq")
    if now.value is None:
        return now
    try:
        text = _megahertz(now.value)
        return Fact(
            f"{text} now, at most {_megahertz(most.value)}" if most.value else f"{text} now"
        )
    except ValueError:
        return absent(f"cpufreq says {now.value!r}")


def _per_core(machine: Machine, name: str) -> Fact[str]:
    found, reason = [], "no processor has the folder cpufreq"
    for entry in machine.names(_CPUS):
        if entry.startswith("cpu") and entry[3:].isdigit():
            fact = machine.text(f"{_CPUS}/{entry}/cpufreq/{name}")
            if fact.value is None:
                reason = fact.reason
            else:
                found.append(fact.value)
    return Fact(joined(found)) if found else absent(reason)


def _megahertz(text: str) -> str:
    """``4 x 1500000`` kHz as MHz."""
    parts = []
    for part in text.split(", "):
        count, times, kilohertz = part.rpartition(" x ")
        parts.append(f"{count}{times}{int(kilohertz) / 1000:.0f} MHz")
    return ", ".join(parts)
