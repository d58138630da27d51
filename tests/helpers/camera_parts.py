"""Parts for tests of the camera: sources that do as they are told, the shipped model, a slow sink."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from edgecv.camera import Answer, Shot, Source, SourceError
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, load_bundle


def shipped_runtime() -> Runtime:
    """The digits model on LiteRT."""
    return Runtime(load_bundle().files[MODELS["tflite"]], backend="litert")


def picture(value: int = 100) -> np.ndarray[Any, Any]:
    return np.full((45, 54, 3), value, np.uint8)


class ListSource(Source):
    """Gives what a list holds: a number is a picture of that gray level, an exception is raised."""

    uri = "list:"

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = list(items)
        self._left: Iterator[Any] = iter(())
        self.opened = self.closed = 0

    def open(self) -> None:
        self.opened += 1
        self._left = iter(self._items)

    def grab(self) -> Any:
        item = next(self._left, None)
        if isinstance(item, Exception):
            raise item
        return item

    def decode(self, raw: Any) -> Shot:
        return Shot(picture(int(raw)))

    def close(self) -> None:
        self.closed += 1


class LiveSource(ListSource):
    """The same, live; it may wait where a function stands in the list, and its opening may fail.

    Args:
        items: As above; a function is called.
        openings: What each opening does, in turn: None, or an error to raise; then None for ever.
    """

    live = True
    stall_s = 0.3

    def __init__(self, items: Iterable[Any], openings: Iterable[Exception | None] = ()) -> None:
        super().__init__(items)
        self._openings = iter(openings)
        self._left = iter(self._items)
        self.interrupted = threading.Event()
        self.openings: list[float] = []

    def open(self) -> None:
        self.opened += 1
        self.openings.append(time.monotonic())
        self.interrupted.clear()
        error = next(self._openings, None)
        if error is not None:
            raise error

    def grab(self) -> Any:
        item = super().grab()
        while callable(item):
            item(self)
            item = super().grab()
        return item

    def interrupt(self) -> None:
        self.interrupted.set()


def pause(seconds: float) -> Callable[[Source], None]:
    return lambda _: time.sleep(seconds)


def hang(source: LiveSource) -> None:
    """Wait until interrupted, then fail as a broken connection does."""
    assert source.interrupted.wait(10), "nobody interrupted it"
    raise SourceError("the connection was cut", cure="Wait.")


class Collect:
    """A sink that keeps answers, and may be slow."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.answers: list[Answer] = []
        self._seconds = seconds

    def take(self, answer: Answer) -> None:
        self.answers.append(answer)
        if self._seconds:
            time.sleep(self._seconds)
