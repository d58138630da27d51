"""Waiting until a board has cooled down."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgecv.board import conditions
from edgecv.board.probe import Machine
from edgecv.errors import InvalidMeasurementError

__all__ = ["cool_down"]

_WITHIN_C = 1.0
_SETTLED_S = 30.0
_LONGEST_S = 900.0


def cool_down(
    say: Callable[[str], None],
    machine: Machine | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Wait until the temperature has not fallen by more than a degree in half a minute.

    Args:
        say: Called with a line now and then.
        machine: Where to look.
        sleep: Waits.
        clock: Tells seconds.

    Returns:
        The temperature reached, in degrees Celsius.

    Raises:
        InvalidMeasurementError: The machine tells no temperature, or still cools after 15 minutes.
    """
    machine = machine or Machine()
    began = clock()
    history: list[tuple[float, float]] = []
    while True:
        found = conditions.temperature(machine)
        if found.value is None:
            raise InvalidMeasurementError(
                f"nobody can say when it has cooled: {found.reason}", cure="Leave --cooldown out."
            )
        now, degrees = clock(), found.value[1]
        history.append((now, degrees))
        before = [d for at, d in history if at <= now - _SETTLED_S]
        if before and before[-1] - degrees <= _WITHIN_C:
            return degrees
        if now - began > _LONGEST_S:
            raise InvalidMeasurementError(
                f"it still cools after {_LONGEST_S:.0f} s, at {degrees:.1f} degrees Celsius",
                cure="Let it rest, or add a heat sink.",
            )
        say(f"cooling down: {degrees:.1f} degrees Celsius")
        sleep(5.0)
