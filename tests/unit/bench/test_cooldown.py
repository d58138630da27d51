"""Waiting for a board to cool: until it has settled, never for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import machine

from edgecv.bench.cooldown import cool_down
from edgecv.errors import InvalidMeasurementError


def _run(root: Path, degrees: list[float]) -> tuple[float, list[float]]:
    """Cool through *degrees*, one value per five seconds."""
    pi = machine(root, "pi4")
    zone = root / "sys/class/thermal/thermal_zone0/temp"
    now, slept = [0.0], []
    values = iter(degrees)

    def step() -> None:
        zone.write_text(f"{round(1000 * next(values, degrees[-1]))}\n")

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept.append(seconds)
        step()

    step()
    return cool_down(lambda _: None, pi, sleep=sleep, clock=lambda: now[0]), slept


def test_it_waits_while_it_cools(tmp_path: Path) -> None:
    reached, slept = _run(
        tmp_path, [80, 75, 70, 65, 60, 57, 54, 52, 51, 50.5, 50.2, 50, 50, 50, 50, 50, 50]
    )
    assert reached == pytest.approx(50)
    assert 45 < sum(slept) < 90


def test_a_cool_board_waits_half_a_minute(tmp_path: Path) -> None:
    reached, slept = _run(tmp_path, [41])
    assert (reached, sum(slept)) == (41, 30)


def test_never_for_ever(tmp_path: Path) -> None:
    with pytest.raises(InvalidMeasurementError, match="still cools after 900 s"):
        _run(tmp_path, [1000 - 5 * k for k in range(400)])


def test_without_a_thermometer(tmp_path: Path) -> None:
    with pytest.raises(InvalidMeasurementError, match="there is no thermal zone"):
        cool_down(lambda _: None, machine(tmp_path, "container"))
