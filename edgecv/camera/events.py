"""What happened: a bounded list that the page, the log and the terminal read."""

from __future__ import annotations

import datetime
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["Event", "Events"]

#: Events that are kept for whoever looks later.
KEPT: Final = 200


@dataclass(frozen=True)
class Event:
    """Something worth a line.

    Attributes:
        number: From 1, without gaps.
        utc: When, by the wall clock.
        kind: ``"source"``, ``"drift"``, ``"record"``, ``"machine"`` or what a sink chose.
        text: A sentence.
    """

    number: int
    utc: str
    kind: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Events:
    """The newest events.

    >>> events = Events()
    >>> _ = events.add("source", "connected")
    >>> [event.text for event in events.since(0)]
    ['connected']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._count = 0
        self._listeners: list[Callable[[Event], None]] = []

    def add(self, kind: str, text: str) -> Event:
        """Add one, now."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._count += 1
            event = Event(self._count, now, kind, text)
            self._kept.append(event)
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(event)
        return event

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call *listener* with every event from now on, in the thread that adds it."""
        with self._lock:
            self._listeners.append(listener)

    def since(self, number: int) -> list[Event]:
        """Those after event *number* that are still kept."""
        with self._lock:
            return [event for event in self._kept if event.number > number]
