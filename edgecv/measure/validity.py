"""Whether a latency measurement can be trusted, and why not."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from edgecv.board import Board
from edgecv.measure.environment import available_cores

__all__ = ["Verdict", "Watch"]

#: Share of the time in which tasks waited for a CPU, above which others disturbed the measurement.
MAX_PRESSURE = 0.10
#: Load per core at the start, above which the machine was busy already.
MAX_LOAD_PER_CORE = 0.75


@dataclass(frozen=True)
class Verdict:
    """Whether a measurement can be trusted.

    Attributes:
        valid: No reason speaks against it.
        reasons: One sentence each.
    """

    valid: bool
    reasons: tuple[str, ...]


class Watch:
    """Observes the machine from its construction to :meth:`validity`.

    Args:
        board: Where to look.
        bytecode: Whether import times are measured in this process's environment, so that
            ``PYTHONDONTWRITEBYTECODE`` spoils them.
    """

    def __init__(self, board: Board | None = None, *, bytecode: bool = True) -> None:
        self._board = board or Board()
        self._bytecode = bytecode
        self._began = time.monotonic()
        self._load = self._board.load_1min()
        self._pressure_us = self._board.pressure_us()
        self._throttled = self._board.throttled_flags()

    def validity(self) -> Verdict:
        """The verdict on what happened since construction."""
        seconds = max(time.monotonic() - self._began, 1e-6)
        reasons = [
            *self._machine(),
            *self._busy(seconds),
        ]
        return Verdict(not reasons, tuple(reasons))

    def _machine(self) -> list[str]:
        reasons = []
        if self._board.emulated():
            reasons.append("The processor is emulated; its times mean nothing.")
        if self._bytecode and os.environ.get("PYTHONDONTWRITEBYTECODE"):
            reasons.append(
                "PYTHONDONTWRITEBYTECODE is set; import times are about three times too long."
            )
        governor = self._board.governor()
        if governor in ("powersave", "ondemand", "conservative"):
            reasons.append(
                f"The frequency governor is {governor!r}; 'performance' gives stable times."
            )
        now = self._board.throttled_flags()
        # bits 0 to 3: under-voltage, frequency capped, throttled, soft temperature limit, right now
        if now is not None and (now & 0xF or now != self._throttled):
            reasons.append(f"The firmware throttled the processor (flags {now:#x}).")
        return reasons

    def _busy(self, seconds: float) -> list[str]:
        reasons = []
        cores = available_cores()
        if self._load is not None and self._load > MAX_LOAD_PER_CORE * cores:
            reasons.append(f"The load was {self._load:.1f} on {cores} cores before it began.")
        now = self._board.pressure_us()
        if now is not None and self._pressure_us is not None:
            share = (now - self._pressure_us) / 1e6 / seconds
            if share > MAX_PRESSURE:
                reasons.append(f"Tasks waited for a processor {100 * share:.0f} % of the time.")
        return reasons
