"""Stage times with a fixed bound of memory, and what is known of the machine."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from edgecv.board import Board, conditions
from edgecv.board.probe import Machine
from edgecv.camera.frame import Answer
from edgecv.errors import InvalidMeasurementError
from edgecv.measure import RingBuffer, peak_rss_bytes, rss_bytes
from edgecv.stats import percentile

__all__ = ["STAGES", "MachineState", "Meters", "Rates"]

STAGES: Final = ("capture", "preprocess", "infer", "postprocess", "glass")
_FRACTIONS: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
#: Answers behind the percentiles of a summary; 128 KiB per stage.
CAPACITY: Final = 16_384
#: Answers behind the percentiles that are shown meanwhile.
RECENT: Final = 1024


class Meters:
    """The times of the newest answers, per stage."""

    def __init__(self) -> None:
        self._rings = {stage: RingBuffer(CAPACITY) for stage in STAGES}

    def add(self, answer: Answer) -> None:
        """Keep the times of one answer."""
        times, rings = answer.classification.timings, self._rings
        rings["capture"].append(answer.frame.capture_ns)
        rings["preprocess"].append(times.preprocess_ns)
        rings["infer"].append(times.infer_ns)
        rings["postprocess"].append(times.postprocess_ns)
        rings["glass"].append(answer.glass_ns)

    def latency_ms(self, newest: int = CAPACITY) -> dict[str, dict[str, float | None]]:
        """Stage → p50, p90 and p99 in milliseconds; None before the first answer."""
        found: dict[str, dict[str, float | None]] = {}
        for stage, ring in self._rings.items():
            values = ring.values()[-newest:]
            found[stage] = {
                name: round(percentile(values, fraction).value / 1e6, 4) if values.size else None
                for name, fraction in _FRACTIONS.items()
            }
        return found


class Rates:
    """Frames per second over the last seconds.

    Args:
        window_s: How long is looked back.
    """

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_ns = round(window_s * 1e9)
        self._lock = threading.Lock()
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=64)

    def update(self, came: int, answered: int) -> None:
        """Note the counters; at most a few times a second."""
        now = time.monotonic_ns()
        with self._lock:
            if not self._seen or now - self._seen[-1][0] > self._window_ns // 16:
                self._seen.append((now, came, answered))
            while len(self._seen) > 2 and now - self._seen[0][0] > self._window_ns:
                self._seen.popleft()

    def per_second(self, came: int, answered: int) -> tuple[float, float]:
        """Frames in and out."""
        now = time.monotonic_ns()
        with self._lock:
            if not self._seen:
                return 0.0, 0.0
            began, first_came, first_answered = self._seen[0]
        seconds = max((now - began) / 1e9, 1e-3)
        return (came - first_came) / seconds, (answered - first_answered) / seconds


class _Processor:
    """Share of a processor that this process used since the last look."""

    def __init__(self) -> None:
        self._cpu_ns, self._wall_ns = time.process_time_ns(), time.monotonic_ns()
        self._share = 0.0
        self._lock = threading.Lock()

    def percent(self) -> float:
        """Percent of one processor; a second at least between two looks."""
        with self._lock:
            wall = time.monotonic_ns() - self._wall_ns
            if wall > 1e9:
                cpu = time.process_time_ns() - self._cpu_ns
                self._share = 100 * cpu / wall
                self._cpu_ns, self._wall_ns = self._cpu_ns + cpu, self._wall_ns + wall
            return self._share


class MachineState:
    """What the machine says now, JSON-ready; asked at most every *every_s* seconds.

    Args:
        machine: Where to look.
        every_s: Programs (``vcgencmd``) are not started more often.
    """

    def __init__(self, machine: Machine | None = None, every_s: float = 5.0) -> None:
        self._machine = machine or Machine()
        self._board = Board(self._machine.root)
        self._every_ns = round(every_s * 1e9)
        self._processor = _Processor()
        self._lock = threading.Lock()
        self._slow: dict[str, Any] = {}
        self._asked_ns = 0

    def __call__(self) -> dict[str, Any]:
        """Memory, processor, temperature, frequency, throttling; None where it does not tell."""
        with self._lock:
            now = time.monotonic_ns()
            if not self._slow or now - self._asked_ns > self._every_ns:
                self._slow, self._asked_ns = self._ask(), now
            slow = dict(self._slow)
        return {
            "rss_bytes": _told(rss_bytes, self._board),
            "peak_rss_bytes": _told(peak_rss_bytes, self._board),
            "cpu_percent": round(self._processor.percent(), 1),
            "frequency_hz": self._board.frequency_hz(),
            **slow,
        }

    def _ask(self) -> dict[str, Any]:
        zone = conditions.temperature(self._machine).value
        bits = conditions.throttled(self._machine).value
        return {
            "temperature_c": None if zone is None else float(np.round(zone[1], 1)),
            "throttling": None if bits is None else conditions.throttling(bits),
            "pressure_percent": conditions.pressure(self._machine).value,
        }


def _told(ask: Callable[[Board], int], board: Board) -> int | None:
    """None where the system is not Linux and does not tell."""
    try:
        return ask(board)
    except InvalidMeasurementError:
        return None
