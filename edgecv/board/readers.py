"""Readers of /proc and /sys. Whatever a machine does not tell is None, never a guess."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INT8_INSTRUCTIONS", "Board"]

#: CPU flags that make int8 faster than float: x86 names, then Arm names.
INT8_INSTRUCTIONS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
_CPU0 = "sys/devices/system/cpu/cpu0/cpufreq"


@dataclass(frozen=True)
class Board:
    """One machine, seen through its file system.

    Attributes:
        root: Where /proc and /sys hang; another folder in tests.
    """

    root: Path = Path("/")

    def cpu_model(self) -> str | None:
        """Marketing name on x86; ``CPU part`` codes on Arm, which decide the kernels there."""
        fields = self._cpuinfo()
        if "model name" in fields:
            return fields["model name"]
        if "CPU part" in fields:
            implementer, part = fields.get("CPU implementer", "?"), fields["CPU part"]
            return f"implementer {implementer}, part {part}"
        return None

    def board_model(self) -> str | None:
        """Name in the device tree, e.g. ``Raspberry Pi 4 Model B Rev 1.4``."""
        text = self._text("proc/device-tree/model")
        return text.rstrip("\x00\n") if text else None

    def int8_instructions(self) -> tuple[str, ...] | None:
        """Those of :data:`INT8_INSTRUCTIONS` that the CPU has; None when it does not say."""
        fields = self._cpuinfo()
        flags = fields.get("flags", fields.get("Features"))
        if flags is None:
            return None
        present = set(flags.split())
        return tuple(name for name in INT8_INSTRUCTIONS if name in present)

    def governor(self) -> str | None:
        """Frequency governor of CPU 0, e.g. ``performance``."""
        text = self._text(f"{_CPU0}/scaling_governor")
        return text.strip() if text else None

    def frequency_hz(self) -> int | None:
        """Current frequency of CPU 0."""
        kilohertz = self._number(f"{_CPU0}/scaling_cur_freq")
        return None if kilohertz is None else kilohertz * 1000

    def temperature_c(self) -> float | None:
        """Temperature of the first thermal zone in degrees Celsius."""
        millidegrees = self._number("sys/class/thermal/thermal_zone0/temp")
        return None if millidegrees is None else millidegrees / 1000

    def throttled_flags(self) -> int | None:
        """Raspberry Pi firmware's bits: under-voltage, capped, throttled, soft limit (now and since boot)."""
        text = self._text("sys/devices/platform/soc/soc:firmware/get_throttled")
        try:
            return int(text.strip(), 16) if text else None
        except ValueError:
            return None

    def load_1min(self) -> float | None:
        """Load average over one minute."""
        text = self._text("proc/loadavg")
        return float(text.split()[0]) if text else None

    def pressure_us(self) -> int | None:
        """Microseconds since boot in which some task waited for a CPU (pressure stall information)."""
        text = self._text("proc/pressure/cpu")
        for line in (text or "").splitlines():
            if line.startswith("some"):
                return int(line.rsplit("total=", 1)[1])
        return None

    def memory_bytes(self) -> int | None:
        """Main memory."""
        for line in (self._text("proc/meminfo") or "").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
        return None

    def process_bytes(self, field: str) -> int | None:
        """A memory field of this process's status, e.g. ``VmHWM`` (peak resident) or ``VmRSS``."""
        for line in (self._text("proc/self/status") or "").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        return None

    def emulated(self) -> bool:
        """Whether this process runs under qemu's user-mode emulation."""
        status = self._text("proc/self/status") or ""
        name = status.split("\n", 1)[0]
        kernel = (self._text("proc/sys/kernel/arch") or "").strip()
        return "qemu-" in name or bool(kernel and kernel != platform.machine())

    def _cpuinfo(self) -> dict[str, str]:
        """Fields of the first processor in /proc/cpuinfo."""
        fields: dict[str, str] = {}
        for line in (self._text("proc/cpuinfo") or "").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
        return fields

    def _text(self, path: str) -> str | None:
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def _number(self, path: str) -> int | None:
        text = self._text(path)
        try:
            return int(text) if text else None
        except ValueError:
            return None
