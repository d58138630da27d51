"""Device trees of boards, as files under a root, and a ``vcgencmd`` that answers as told."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from edgecv.board.probe import Machine

__all__ = ["BOARDS", "machine", "vcgencmd"]


def _cpus(part: str, features: str, count: int = 4, extra: str = "") -> str:
    block = "processor\t: {}\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU part\t: {}\n\n"
    return "".join(block.format(n, features, part) for n in range(count)) + extra


def _pi(
    model: str, chip: str, part: str, features: str, kilobytes: int, megahertz: int, revision: str
) -> dict[str, str]:
    files = {
        "proc/device-tree/model": f"{model}\x00",
        "proc/device-tree/compatible": f"raspberrypi,board\x00brcm,{chip}\x00",
        "proc/cpuinfo": _cpus(
            part, features, extra=f"Revision\t: {revision}\nSerial\t\t: 10000000abcd\n"
        ),
        "proc/meminfo": f"MemTotal:  {kilobytes} kB\nSwapTotal:  102396 kB\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
        "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-v8\n",
    }
    for n in range(4):
        base = f"sys/devices/system/cpu/cpu{n}"
        files[f"{base}/cpufreq/scaling_governor"] = "ondemand\n"
        files[f"{base}/cpufreq/scaling_cur_freq"] = "600000\n"
        files[f"{base}/cpufreq/cpuinfo_max_freq"] = f"{megahertz}000\n"
    return files


_OLD = "fp asimd evtstrm crc32 cpuid"
_NEW = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
#: Board → files under the root.
BOARDS: dict[str, dict[str, str]] = {
    "zero2": _pi(
        "Raspberry Pi Zero 2 W Rev 1.0", "bcm2837", "0xd03", _OLD, 429_000, 1000, "902120"
    ),
    "pi3": _pi(
        "Raspberry Pi 3 Model B Plus Rev 1.3", "bcm2837", "0xd03", _OLD, 905_000, 1400, "a020d3"
    ),
    "pi4": _pi(
        "Raspberry Pi 4 Model B Rev 1.4", "bcm2711", "0xd08", _OLD, 3_884_340, 1800, "c03114"
    ),
    "pi5": _pi(
        "Raspberry Pi 5 Model B Rev 1.0", "bcm2712", "0xd0b", _NEW, 8_245_000, 2400, "d04170"
    ),
    "rk3588": {
        "proc/device-tree/model": "Radxa ROCK 5B\x00",
        "proc/device-tree/compatible": "radxa,rock-5b\x00rockchip,rk3588\x00",
        "proc/cpuinfo": "".join(
            f"processor\t: {n}\nFeatures\t: {_NEW if n > 3 else _NEW + ' extra'}\n"
            f"CPU implementer\t: 0x41\nCPU part\t: {'0xd0b' if n > 3 else '0xd05'}\n\n"
            for n in range(8)
        ),
        **{
            f"sys/devices/system/cpu/cpu{n}/cpu_capacity": "1024\n" if n > 3 else "530\n"
            for n in range(8)
        },
        "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "33000\n",
        "sys/class/thermal/thermal_zone1/type": "soc-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "41000\n",
    },
    "x86": {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: sse avx2 avx_vnni\n\n",
        "sys/class/dmi/id/sys_vendor": "Vendor\n",
        "sys/class/dmi/id/product_name": "Laptop 5\n",
        "sys/class/power_supply/BAT0/type": "Battery\n",
        "sys/class/power_supply/BAT0/status": "Discharging\n",
        "proc/self/cgroup": "0::/user.slice\n",
        "sys/fs/cgroup/user.slice/memory.max": "max\n",
        "proc/pressure/cpu": "some avg10=12.50 avg60=1.00 avg300=0.00 total=123\n",
    },
    "container": {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"},
}


def vcgencmd(said: str | BaseException, code: int = 0, stderr: str = "") -> Any:
    """A stand-in for :func:`subprocess.run`."""

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if isinstance(said, BaseException):
            raise said
        return subprocess.CompletedProcess(words, code, said, stderr)

    return run


def machine(root: Path, board: str, run: Any = None, **files: str | None) -> Machine:
    """A board under *root*; *files* replace (or with None remove) some of it."""
    for name, text in {**BOARDS[board], **files}.items():
        if text is None:
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Machine(root, run or vcgencmd(FileNotFoundError("vcgencmd")))
