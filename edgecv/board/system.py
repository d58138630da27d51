"""Memory, operating system, installed engines."""

from __future__ import annotations

import os
import platform
import struct
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from edgecv.board.probe import Fact, Machine, absent

__all__ = [
    "ENGINES", "Engine", "cameras", "engines", "memory_bytes", "memory_limit_bytes", "operating_system", "python",
    "swap_bytes", "word_size",
]  # fmt: skip

#: Distribution → extra that brings it.
ENGINES: Final = {
    "ai-edge-litert": "litert",
    "tflite-runtime": "tflite-runtime",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
}
_UNLIMITED: Final = 1 << 60


@dataclass(frozen=True)
class Engine:
    """An engine that may be installed.

    Attributes:
        package: Distribution.
        version: Or None.
        cure: Command that adds it; empty when it is there.
    """

    package: str
    version: str | None
    cure: str


def memory_bytes(machine: Machine) -> Fact[int]:
    """Main memory."""
    return _meminfo(machine, "MemTotal")


def swap_bytes(machine: Machine) -> Fact[int]:
    """Swap, 0 when there is none."""
    return _meminfo(machine, "SwapTotal")


def _meminfo(machine: Machine, field: str) -> Fact[int]:
    text = machine.text("proc/meminfo")
    for line in (text.value or "").splitlines():
        words = line.split()
        if line.startswith(f"{field}:") and len(words) >= 2 and words[1].isdigit():
            return Fact(int(words[1]) * 1024)
    return absent(text.reason or f"/proc/meminfo has no {field}")


def memory_limit_bytes(machine: Machine) -> Fact[int]:
    """Limit of this process's control group, where that is less than the machine's memory."""
    text = machine.text("proc/self/cgroup")
    if text.value is None:
        return absent(text.reason)
    group = next((g[3:] for g in text.value.splitlines() if g.startswith("0::")), "/")
    paths = [f"sys/fs/cgroup{group.rstrip('/')}/memory.max", "sys/fs/cgroup/memory.max"]
    paths += ["sys/fs/cgroup/memory/memory.limit_in_bytes"]
    for path in paths:
        said = machine.text(path).value
        if said is not None and said.isdigit() and int(said) < _UNLIMITED:
            return Fact(int(said))
    return absent("no limit is set")


def operating_system(machine: Machine) -> Fact[str]:
    """Name of the distribution and the kernel."""
    text = machine.text("etc/os-release")
    names = dict(
        line.partition("=")[::2] for line in (text.value or "").splitlines() if "=" in line
    )
    pretty = names.get("PRETTY_NAME", "").strip('"')
    kernel = machine.text("proc/sys/kernel/osrelease").value
    found = ", ".join(x for x in (pretty, f"kernel {kernel}" if kernel else "") if x)
    return Fact(found) if found else absent(text.reason or "/etc/os-release names nothing")


def word_size(machine: Machine) -> str:
    """Bits of this Python and of the kernel: a 64-bit kernel may run 32-bit programs."""
    bits = 8 * struct.calcsize("P")
    kernel = machine.text("proc/sys/kernel/arch").value or platform.machine()
    return f"{bits}-bit programs on {kernel}"


def python() -> str:
    """Version of this Python, and whether it runs in a virtual environment."""
    inside = sys.prefix != sys.base_prefix
    return f"{platform.python_version()}{', in a virtual environment' if inside else ''}"


def engines() -> tuple[Engine, ...]:
    """Which engines are installed for this Python, and what adds the missing ones."""
    found = []
    for package, extra in ENGINES.items():
        try:
            found.append(Engine(package, version(package), ""))
        except PackageNotFoundError:
            if package == "tflite-runtime" and 8 * struct.calcsize("P") == 64:
                continue  # the legacy engine is for 32-bit boards; nothing is missing without it
            found.append(Engine(package, None, f"pip install 'edgecv[{extra}]'"))
    return tuple(found)


def cameras(machine: Machine) -> Fact[tuple[str, ...]]:
    """Video devices by the names of their drivers."""
    base = "sys/class/video4linux"
    names = [f"/dev/{entry} ({machine.text(f'{base}/{entry}/name').value or 'unnamed'})"
             for entry in machine.names(base)]  # fmt: skip
    return Fact(tuple(names)) if names else absent("the kernel lists no video device")


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
