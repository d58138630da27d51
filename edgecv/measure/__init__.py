"""The one measuring core: clocks, memory, the environment record, validity."""

from __future__ import annotations

from edgecv.measure.clock import RingBuffer, Timer
from edgecv.measure.environment import environment, peak_rss_bytes, rss_bytes
from edgecv.measure.trace import Trace
from edgecv.measure.validity import Verdict, Watch

__all__ = [
    "RingBuffer",
    "Timer",
    "Trace",
    "Verdict",
    "Watch",
    "environment",
    "peak_rss_bytes",
    "rss_bytes",
]
