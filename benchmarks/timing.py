"""Two ways to time something beside its yardstick, so that a machine whose speed drifts disturbs both alike."""

from __future__ import annotations

import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

Call = Callable[[], Any]


class Paired(NamedTuple):
    """Medians over rounds; the difference and the ratio are taken within each round.

    Attributes:
        ours: Time of ours, in the unit of the function that measured.
        theirs: Of the yardstick.
        difference: Median of ours less theirs.
        low: First quartile of the difference.
        high: Third quartile.
        ratio: Median of ours over theirs.
    """

    ours: float
    theirs: float
    difference: float
    low: float
    high: float
    ratio: float


def paired(ours: list[float], theirs: list[float]) -> Paired:
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(differences, n=4)
    return Paired(
        statistics.median(ours),
        statistics.median(theirs),
        middle,
        low,
        high,
        statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
    )


def calls_us(benchmark: Any, ours: Call, theirs: Call, *, rounds: int, calls: int) -> Paired:
    """Wall time per call, in microseconds: a block of *calls* of theirs, then one of ours, per round."""
    raw: list[float] = []

    def block(call: Call) -> float:
        began = time.perf_counter_ns()
        for _ in repeat(None, calls):
            call()
        return (time.perf_counter_ns() - began) / calls / 1e3

    own: list[float] = []
    warmup = max(3, rounds // 20)
    gc.collect()
    gc.disable()
    try:
        benchmark.pedantic(
            lambda: own.append(block(ours)),
            setup=lambda: raw.append(block(theirs)),
            rounds=rounds,
            warmup_rounds=warmup,
        )
    finally:
        gc.enable()
    return paired(own[-rounds:], raw[-rounds:])


def cpu_ms(benchmark: Any, ours: Call, theirs: Call, *, rounds: int) -> Paired:
    """CPU time of this process per call, in milliseconds; alternating."""

    def timed(call: Call) -> float:
        began = time.process_time_ns()
        call()
        return (time.process_time_ns() - began) / 1e6

    own: list[float] = []
    other: list[float] = []
    benchmark.pedantic(
        lambda: own.append(timed(ours)),
        setup=lambda: other.append(timed(theirs)),
        rounds=rounds,
        warmup_rounds=3,
    )
    return paired(own[-rounds:], other[-rounds:])


def child(code: str, *arguments: object, folder: Path) -> tuple[float, str]:
    """Run *code* in a fresh interpreter.

    Args:
        code: Python.
        arguments: ``sys.argv`` of it.
        folder: Where it runs; the checkout would be found there first.

    Returns:
        Its CPU time in milliseconds, start of the interpreter included, and what it printed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1e3 * spent, done.stdout
