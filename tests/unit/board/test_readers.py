"""Readers of /proc and /sys on made-up machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecv.board import Board

PI4 = {
    "proc/cpuinfo": "Features\t: fp asimd crc32\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\x00",
    "proc/loadavg": "0.52 0.58 0.59 1/100 2\n",
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=123456\nfull total=1\n",
    "proc/meminfo": "MemTotal:        3884340 kB\nMemFree: 1 kB\n",
    "proc/self/status": "Name:\tpython3\nVmHWM:\t   10240 kB\nVmRSS:\t    5120 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/class/thermal/thermal_zone0/temp": "48212\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}


def machine(root: Path, files: dict[str, str]) -> Board:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Board(root)


def test_a_raspberry_pi_4(tmp_path: Path) -> None:
    board = machine(tmp_path, PI4)
    assert board.board_model() == "Raspberry Pi 4 Model B Rev 1.4"
    assert board.cpu_model() == "implementer 0x41, part 0xd08"
    assert board.int8_instructions() == ()
    assert board.governor() == "ondemand"
    assert board.frequency_hz() == 1_500_000_000
    assert board.temperature_c() == pytest.approx(48.212)
    assert board.throttled_flags() == 0x50005
    assert board.load_1min() == 0.52
    assert board.pressure_us() == 123456
    assert board.memory_bytes() == 3884340 * 1024
    assert board.process_bytes("VmHWM") == 10240 * 1024
    assert not board.emulated()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t: sse avx_vnni amx_int8", ("avx_vnni", "amx_int8")),
        ("Features\t: asimddp i8mm", ("asimddp", "i8mm")),
    ],
)
def test_int8_instructions(tmp_path: Path, flags: str, expected: tuple[str, ...]) -> None:
    assert machine(tmp_path, {"proc/cpuinfo": flags + "\n"}).int8_instructions() == expected


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    board = Board(tmp_path)
    readers = (
        board.cpu_model, board.board_model, board.int8_instructions, board.governor, board.frequency_hz,
        board.temperature_c, board.throttled_flags, board.load_1min, board.pressure_us, board.memory_bytes,
    )  # fmt: skip
    assert [reader() for reader in readers] == [None] * len(readers)
    assert board.process_bytes("VmRSS") is None


def test_damaged_numbers_are_none(tmp_path: Path) -> None:
    broken = dict.fromkeys(
        [k for k in PI4 if "freq" in k or "temp" in k or "throttled" in k], "soon\n"
    )
    board = machine(tmp_path, broken)
    assert (board.frequency_hz(), board.temperature_c(), board.throttled_flags()) == (
        None,
        None,
        None,
    )


def test_emulation_is_seen(tmp_path: Path) -> None:
    assert machine(tmp_path / "a", {"proc/self/status": "Name:\tqemu-aarch64\n"}).emulated()
    assert machine(tmp_path / "b", {"proc/sys/kernel/arch": "another\n"}).emulated()
