"""Answers to a stream of frames: the newest frame is worth more than every frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from edgecv.errors import InputError
from edgecv.results import Classification, StreamAnswer

__all__ = ["POLICIES", "stream"]

POLICIES = ("latest", "all")


def stream(
    frames: Iterable[Any], classify: Callable[[Any], Classification], policy: str
) -> Iterator[StreamAnswer]:
    """Classify frames as they come.

    ``"latest"``: a thread of its own draws from *frames* as fast as they come and keeps only the
    newest; what the model did not get to is counted, not queued, so that an answer is never older
    than one inference. ``"all"``: one after the other, nothing is dropped.

    Args:
        frames: Pictures without end, or with one.
        classify: Answers one.
        policy: ``"latest"`` or ``"all"``.

    Yields:
        One answer per frame that was classified, in order.

    Raises:
        InputError: *policy* is unknown, or a frame is no picture.
        Exception: What *frames* raises, after the frames before it were answered.
    """
    if policy not in POLICIES:
        raise InputError(f"policy {policy!r} is unknown", cure=f"Use {' or '.join(POLICIES)}.")
    return _all(frames, classify) if policy == "all" else _latest(frames, classify)


def _all(
    frames: Iterable[Any], classify: Callable[[Any], Classification]
) -> Iterator[StreamAnswer]:
    for number, frame in enumerate(frames):
        came = time.monotonic_ns()
        answer = classify(frame)
        yield StreamAnswer(frame, answer, number, 0, time.monotonic_ns() - came)


def _latest(
    frames: Iterable[Any], classify: Callable[[Any], Classification]
) -> Iterator[StreamAnswer]:
    slot = _Slot()
    feeder = threading.Thread(target=slot.feed, args=(frames,), name="edgecv-stream", daemon=True)
    feeder.start()
    try:
        while (got := slot.take()) is not None:
            frame, number, dropped, came = got
            answer = classify(frame)
            yield StreamAnswer(frame, answer, number, dropped, time.monotonic_ns() - came)
    finally:
        slot.stop()


class _Slot:
    """One place for the newest frame."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: tuple[Any, int, int] | None = None  # frame, number, arrival
        self._dropped = 0
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None

    def feed(self, frames: Iterable[Any]) -> None:
        """Put every frame in the slot until there are no more, or nobody wants them."""
        try:
            for number, frame in enumerate(frames):
                with self._changed:
                    if self._stopped:
                        break
                    self._dropped += self._held is not None
                    self._held = frame, number, time.monotonic_ns()
                    self._changed.notify()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that consumes
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self) -> tuple[Any, int, int, int] | None:
        """The newest frame, its number, how many were dropped since the last one, its arrival.

        None when there are no more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self._ended)
            if self._held is None:
                if self._error is not None:
                    raise self._error
                return None
            frame, number, came = self._held
            dropped, self._dropped, self._held = self._dropped, 0, None
            return frame, number, dropped, came

    def stop(self) -> None:
        """Nobody takes any more; the feeder ends with its next frame."""
        with self._changed:
            self._stopped = True
            self._held = None
