"""The newest frame is answered; what was dropped is counted; errors and ends arrive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from edgecv.errors import InputError
from edgecv.results import Classification, Prediction, Timings
from edgecv.runtime.stream import stream


def _answer(frame: Any) -> Classification:
    return Classification((Prediction(0, str(frame), 1.0),), "probability", Timings(0, 1, 0))


def test_latest_skips_what_came_meanwhile() -> None:
    busy, delivered = threading.Event(), threading.Event()

    def frames() -> Iterator[int]:
        yield 0
        busy.wait(10)
        yield from (1, 2, 3)
        # asked for the next one: 3 lies in the slot
        delivered.set()

    answers = stream(frames(), _answer, "latest")
    first = next(answers)
    busy.set()
    assert delivered.wait(10)
    second = next(answers)
    assert (first.frame, first.number, first.dropped) == (0, 0, 0)
    assert (second.frame, second.number, second.dropped) == (3, 3, 2)
    assert list(answers) == []


def test_latest_ends_with_the_source() -> None:
    answers = list(stream(iter(range(50)), _answer, "latest"))
    assert answers[-1].number == 49
    assert sum(1 + a.dropped for a in answers) == 50
    assert all(a.age_ns >= 0 for a in answers)


def test_an_empty_source() -> None:
    assert list(stream([], _answer, "latest")) == []
    assert list(stream([], _answer, "all")) == []


@pytest.mark.parametrize("policy", ["latest", "all"])
def test_the_sources_error_arrives(policy: str) -> None:
    def frames() -> Iterator[int]:
        yield 0
        raise OSError("camera unplugged")

    answers = stream(frames(), _answer, policy)
    with pytest.raises(OSError, match="camera unplugged"):
        list(answers)


@pytest.mark.parametrize("policy", ["latest", "all"])
def test_the_models_error_arrives(policy: str) -> None:
    def fails(_: Any) -> Classification:
        raise InputError("no picture", cure="Give one.")

    with pytest.raises(InputError, match="no picture"):
        list(stream(iter([1]), fails, policy))


def test_closing_stops_the_source() -> None:
    drawn = threading.Semaphore(0)
    closed = threading.Event()

    def frames() -> Iterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                drawn.release()
        finally:
            closed.set()

    answers = stream(frames(), _answer, "latest")
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert closed.wait(10)
    [feeder] = [t for t in threading.enumerate() if t.name == "edgecv-stream"] or [None]
    if feeder is not None:
        feeder.join(10)
        assert not feeder.is_alive()


def test_an_unknown_policy() -> None:
    with pytest.raises(InputError, match="policy 'newest' is unknown"):
        stream([], _answer, "newest")
