"""What happens to a machine during a measurement is seen."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from boards import machine, vcgencmd

from edgecv.board.meter import watts
from edgecv.measure import Trace


def _during(root: Path, board: str = "pi4", run: Any = None, **changes: str) -> Trace:
    pi = machine(root, board, run, **{"proc/vmstat": "pswpin 5\n"})
    with Trace(pi, every_s=0.01) as trace:
        for path, text in changes.items():
            (root / path).write_text(text)
        time.sleep(0.05)
    return trace


def test_a_quiet_board(tmp_path: Path) -> None:
    trace = _during(tmp_path, run=vcgencmd("throttled=0x0"))
    assert trace.reasons() == []
    columns = trace.to_json()
    json.dumps(columns, allow_nan=False)
    assert len(columns["at_s"]) >= 3
    assert columns["at_s"] == sorted(columns["at_s"])
    assert set(columns["temperature_c"]) == {48.312}
    assert set(columns["frequency_hz"]) == {600_000_000}
    assert set(columns["throttled"]) == {0}
    assert "pmic_read_adc" in columns["watts_of"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "400000\n"},
            "The frequency changed between 400 and 600 MHz.",
        ),
        ({"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}, "The supply's voltage was too low."),
        ({"proc/vmstat": "pswpin 25\n"}, "20 pages were swapped in."),
    ],
)
def test_what_spoils_a_measurement(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    assert _during(tmp_path, **changes).reasons() == [reason]


def test_throttling_now_and_meanwhile(tmp_path: Path) -> None:
    assert _during(tmp_path / "a", run=vcgencmd("throttled=0x4")).reasons() == [
        "The firmware throttled the processor (now: throttled)."
    ]
    # bits since boot that were set before say nothing of this measurement
    assert _during(tmp_path / "b", run=vcgencmd("throttled=0x50000")).reasons() == []
    answers = iter(["throttled=0x0"] * 2 + ["throttled=0x40000"] * 10_000)

    def run(words: list[str], **options: Any) -> Any:
        if words[-1] != "get_throttled":
            raise FileNotFoundError(words[0])
        return vcgencmd(next(answers))(words, **options)

    assert _during(tmp_path / "c", run=run).reasons() == [
        "The firmware throttled the processor (since boot: throttled)."
    ]


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    trace = _during(tmp_path, "container")
    assert trace.reasons() == []
    assert set(trace.to_json()["temperature_c"]) == {None}


PMIC = """ 3V7_WL_SW_A current(0)=0.10000000A
 VDD_CORE_A current(7)=1.50000000A
 3V7_WL_SW_V volt(8)=3.70000000V
 VDD_CORE_V volt(15)=0.80000000V
 EXT5V_V volt(24)=5.10000000V
"""


def test_power_of_a_pi_5(tmp_path: Path) -> None:
    found = watts(machine(tmp_path, "pi5", vcgencmd(PMIC)))
    assert found.value is not None
    assert found.value.watts == pytest.approx(0.1 * 3.7 + 1.5 * 0.8)
    assert found.value.what == "2 PMIC rails, not the whole board"


def test_power_of_meters(tmp_path: Path) -> None:
    ina = {
        "sys/class/hwmon/hwmon2/name": "ina226\n",
        "sys/class/hwmon/hwmon2/power1_input": "2500000\n",
    }
    found = watts(machine(tmp_path / "a", "pi4", **ina))
    assert found.value is not None
    assert (found.value.watts, found.value.what) == (2.5, "meter ina226")
    jetson = {
        "sys/class/hwmon/hwmon0/name": "ina3221\n",
        "sys/class/hwmon/hwmon0/in1_label": "VDD_IN\n",
        "sys/class/hwmon/hwmon0/in1_input": "5000\n",
        "sys/class/hwmon/hwmon0/curr1_input": "900\n",
        "sys/class/hwmon/hwmon0/in2_label": "VDD_CPU\n",
        "sys/class/hwmon/hwmon0/in2_input": "5000\n",
        "sys/class/hwmon/hwmon0/curr2_input": "300\n",
    }
    found = watts(machine(tmp_path / "b", "container", **jetson))
    assert found.value is not None
    assert found.value.watts == pytest.approx(4.5)


@pytest.mark.parametrize("said", ["", "error=1", "VDD_CORE_A current(7)=1.5A"])
def test_power_that_cannot_be_read(tmp_path: Path, said: str) -> None:
    found = watts(machine(tmp_path, "pi5", vcgencmd(said)))
    assert found.value is None
    assert found.reason
