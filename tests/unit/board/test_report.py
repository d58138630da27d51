"""The page about a machine: right on every board, honest where a board is silent, broken or hangs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from boards import BOARDS, machine, vcgencmd

from edgecv.board import conditions, processor, system
from edgecv.board.probe import Fact, Machine
from edgecv.board.report import report


@pytest.mark.parametrize(
    ("board", "model", "core", "int8", "megahertz"),
    [
        ("zero2", "Raspberry Pi Zero 2 W Rev 1.0", "4 x Cortex-A53 (0xd03)", (), 1000),
        ("pi3", "Raspberry Pi 3 Model B Plus Rev 1.3", "4 x Cortex-A53 (0xd03)", (), 1400),
        ("pi4", "Raspberry Pi 4 Model B Rev 1.4", "4 x Cortex-A72 (0xd08)", (), 1800),
        ("pi5", "Raspberry Pi 5 Model B Rev 1.0", "4 x Cortex-A76 (0xd0b)", ("asimddp",), 2400),
    ],
)
def test_raspberry_pis(
    tmp_path: Path, board: str, model: str, core: str, int8: tuple[str, ...], megahertz: int
) -> None:
    found = report(machine(tmp_path, board, vcgencmd("throttled=0x0")))
    facts = {name: fact.value for name, fact in found.facts.items()}
    assert facts["model"] == model
    assert facts["cores"] == core
    assert facts["int8_instructions"] == int8
    assert facts["governor"] == "4 x ondemand"
    assert facts["frequency"] == f"4 x 600 MHz now, at most 4 x {megahertz} MHz"
    assert facts["temperature_c"] == pytest.approx(48.312)
    assert facts["throttling"] == "none since boot"
    assert facts["power"] == "supply good"
    assert facts["system"] == "Debian GNU/Linux 12 (bookworm), kernel 6.6.31+rpt-rpi-v8"
    assert facts["swap_bytes"] == 102396 * 1024
    advice = " ".join(found.advice)
    assert "governor is 4 x ondemand" in advice
    assert ("no int8 dot product" in advice) == (int8 == ())
    # a serial number is personal
    assert "abcd" not in found.to_text() + json.dumps(found.to_json())


def test_big_and_little_cores(tmp_path: Path) -> None:
    found = report(machine(tmp_path, "rk3588"))
    assert (
        found.facts["cores"].value
        == "4 x Cortex-A55 (0xd05), capacity 530, 4 x Cortex-A76 (0xd0b), capacity 1024"
    )
    # zone 0 is the GPU's
    assert found.facts["temperature_c"].value == 41
    assert any("cores differ" in sentence for sentence in found.advice)
    assert found.facts["soc"].value == "rockchip,rk3588"


def test_x86(tmp_path: Path) -> None:
    found = report(machine(tmp_path, "x86"))
    facts = found.facts
    assert facts["model"].value == "Vendor Laptop 5"
    assert facts["cores"].value == "Some CPU @ 2 GHz"
    assert facts["int8_instructions"].value == ("avx_vnni",)
    assert facts["power"].value == "battery, discharging"
    assert facts["cpu_pressure_percent"].value == 12.5
    assert facts["memory_limit_bytes"] == Fact(None, "no limit is set")


def test_a_container_tells_little_and_invents_nothing(tmp_path: Path) -> None:
    found = report(machine(tmp_path, "container"))
    assert found.facts["memory_limit_bytes"].value == 512 * 2**20
    told = {name for name, fact in found.facts.items() if fact.value is not None}
    assert told == {"memory_limit_bytes", "usable_cores", "word_size", "python", "emulated"}
    for name, fact in found.facts.items():
        assert name in told or fact.reason


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (vcgencmd(FileNotFoundError("vcgencmd")), "the program 'vcgencmd' is not installed"),
        (vcgencmd("", 255, "Can't open device file: /dev/vcio\n"), "code 255: Can't open device"),
        (vcgencmd(subprocess.TimeoutExpired("vcgencmd", 5)), "gave no answer within 5 s"),
        (vcgencmd(PermissionError(13, "Permission denied")), "cannot be run: Permission denied"),
        (vcgencmd("VCHI initialization failed"), "printed 'VCHI initialization failed'"),
        (vcgencmd("throttled=0xZZ"), "printed 'throttled=0xZZ'"),
        (vcgencmd("throttled=0x" + "f" * 40), "printed 'throttled=0xff"),
        (vcgencmd(""), "printed nothing"),
    ],
)
def test_a_vcgencmd_that_does_not_answer(tmp_path: Path, run: object, reason: str) -> None:
    fact = conditions.throttled(machine(tmp_path, "pi4", run))
    assert fact.value is None
    assert reason in fact.reason
    assert reason in report(machine(tmp_path, "pi4", run)).to_text()


def test_a_vcgencmd_that_really_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "vcgencmd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("edgecv.board.probe._SECONDS", 0.2)
    assert "gave no answer" in conditions.throttled(Machine(tmp_path)).reason


def test_throttling_is_said_and_advised_on(tmp_path: Path) -> None:
    found = report(machine(tmp_path, "pi4", vcgencmd("throttled=0x50005")))
    assert (
        found.facts["throttling"].value
        == "now: under-voltage, throttled; since boot: under-voltage, throttled"
    )
    assert found.advice[0].startswith("The firmware throttled")


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("sys/class/thermal/thermal_zone0/temp", "hot\n", "temperature_c"),
        ("sys/class/thermal/thermal_zone0/type", "battery\n", "temperature_c"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "?\n", "power"),
        ("proc/meminfo", "MemTotal: lots\n", "memory_bytes"),
        ("proc/cpuinfo", "\n\n", "cores"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "fast\n", "frequency"),
        ("proc/device-tree/model", "\x00", "model"),
    ],
)
def test_garbage_is_absent_with_a_reason(tmp_path: Path, path: str, text: str, name: str) -> None:
    fact = report(machine(tmp_path, "pi4", **{path: text})).facts[name]
    assert fact.value is None
    assert fact.reason


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "proc/meminfo").mkdir(parents=True)
    fact = system.memory_bytes(Machine(tmp_path))
    assert fact == Fact(None, "/proc/meminfo cannot be read: Is a directory")


def test_an_endless_file_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_bytes(b"processor: 0\n\n" * 400_000)
    found = processor.cores(Machine(tmp_path))
    assert found.value is not None
    assert len(found.value) < 100_000


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_json_says_what_the_page_says(tmp_path: Path, board: str) -> None:
    found = report(machine(tmp_path, board))
    record = json.loads(json.dumps(found.to_json()))
    assert set(record["facts"]) == set(found.facts)
    assert {n for n, v in record["facts"].items() if v is None} == set(record["reasons"])
    page = found.to_text()
    for reason in record["reasons"].values():
        assert f"({reason})" in page


def test_missing_engines_come_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def version(name: str) -> str:
        if name == "openvino":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("edgecv.board.system.version", version)
    found = {engine.package: engine for engine in system.engines()}
    assert found["openvino"].version is None
    assert found["openvino"].cure == "pip install 'edgecv[openvino]'"
    assert found["onnxruntime"].cure == ""
