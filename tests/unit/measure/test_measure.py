"""Timers, memory, the environment record and the verdict."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from edgecv.board import Board
from edgecv.errors import InputError, InvalidMeasurementError
from edgecv.measure import RingBuffer, Timer, Watch, environment, peak_rss_bytes, rss_bytes


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_timer_fills_its_ring() -> None:
    ring = RingBuffer(3)
    for _ in range(5):
        with Timer(ring) as timer:
            time.sleep(0.001)
        assert timer.wall_ns >= 1_000_000
    assert ring.total == 5
    assert len(ring.values()) == 3
    assert ring.values()[-1] == timer.wall_ns


def test_an_empty_ring_is_refused() -> None:
    with pytest.raises(InputError, match="capacity 0"):
        RingBuffer(0)


def test_peak_memory_grows_and_stays() -> None:
    before = peak_rss_bytes()
    block = np.ones(40 * 2**20, np.uint8)
    during = peak_rss_bytes()
    assert during >= rss_bytes() >= len(block)
    del block
    slack = 4 * 2**20  # the kernel's counters are approximate by some pages per thread
    assert peak_rss_bytes() >= during - slack >= before - slack


def test_memory_that_the_system_does_not_tell(tmp_path: Path) -> None:
    with pytest.raises(InvalidMeasurementError, match="VmHWM"):
        peak_rss_bytes(Board(tmp_path))


def test_environment_is_json_and_names_no_host() -> None:
    import platform

    record = json.dumps(environment())
    assert "int8_instructions" in record
    assert platform.node() == "" or f'"{platform.node()}"' not in record


def test_a_quiet_machine_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    put(tmp_path, "proc/loadavg", "0.01 0 0 1/1 1\n")
    verdict = Watch(Board(tmp_path)).validity()
    assert verdict.valid
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("proc/loadavg", "99.0 0 0 1/1 1\n", "load was 99"),
        ("proc/self/status", "Name:\tqemu-arm\n", "emulated"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n", "powersave"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "4\n", "throttled"),
    ],
)
def test_reasons_against_a_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, word: str
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    put(tmp_path, file, text)
    verdict = Watch(Board(tmp_path)).validity()
    assert not verdict.valid
    assert len(verdict.reasons) == 1
    assert word in verdict.reasons[0]


def test_missing_bytecode_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" in Watch(Board(tmp_path)).validity().reasons[0]


def test_others_on_the_processor_are_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    put(tmp_path, "proc/pressure/cpu", "some avg10=0 total=0\n")
    watch = Watch(Board(tmp_path))
    put(tmp_path, "proc/pressure/cpu", "some avg10=0 total=900000000\n")
    assert "waited for a processor" in watch.validity().reasons[0]
