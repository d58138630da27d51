"""Drawing frames from a source: a thread and one slot where frames may be dropped, else one by one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final, Self

from edgecv.camera.events import Events
from edgecv.camera.frame import Frame
from edgecv.camera.sources import Source
from edgecv.errors import EdgecvError, InputError, InvalidMeasurementError
from edgecv.measure import Timer

__all__ = ["BACKOFF_S", "Capture", "Counts"]

#: First and longest wait before a lost source is opened again, in seconds; doubled each time.
BACKOFF_S: Final = (0.5, 30.0)
#: Longest that anything waits without looking whether it should stop.
_LOOK_S: Final = 0.25


@dataclass
class Counts:
    """What came, and what became of it; ``came`` is always the sum of the others and what waits.

    Attributes:
        came: Frames that the source gave.
        dropped: Of these, those that nobody had time for.
        damaged: Those that could not be decoded.
        taken: Those that were handed on.
        losses: How often the source was lost.
    """

    came: int = 0
    dropped: int = 0
    damaged: int = 0
    taken: int = 0
    losses: int = 0


@dataclass(frozen=True)
class _Raw:
    data: Any
    number: int
    came_ns: int = field(default_factory=time.monotonic_ns)


class Capture:
    """Frames of one source. A context manager; entering opens the source.

    Args:
        source: Where from.
        events: Told of losses and returns.
        loop: Whether a source that ends begins again.

    Attributes:
        counts: Of frames.
        state: ``"opening"``, ``"live"``, ``"stalled"``, ``"lost"`` or ``"ended"``.
        detail: Why, in words; empty while it is live.
    """

    def __init__(self, source: Source, events: Events, *, loop: bool = False) -> None:
        self._source, self._events, self._loop = source, events, loop
        self._threaded = source.drops
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._held: _Raw | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._last_ns = self._next_ns = time.monotonic_ns()
        self._told = self._came_before = 0
        self.counts: Counts = Counts()
        self.state: str = "opening"
        self.detail: str = ""

    def __enter__(self) -> Self:
        self._source.open()
        self._enter("live", "")
        self._last_ns = self._next_ns = time.monotonic_ns()
        if self._threaded:
            self._thread = threading.Thread(target=self._feed, name="edgecv-capture", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(5)
        if self._thread is None or not self._thread.is_alive():
            self._source.close()
        with self._changed:
            if self._held is not None:
                # it came, and nobody will answer it
                self.counts.dropped += 1
                self._held = None

    def stop(self) -> None:
        """End soon; from any thread."""
        self._stop.set()
        self._source.interrupt()
        with self._changed:
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether no more frames will come."""
        return self.state == "ended" and self._held is None

    def take(self) -> tuple[Frame, int] | None:
        """The next frame, and how many were dropped before it.

        Returns:
            None when none came for a moment, or none will come any more (see :attr:`ended`).

        Raises:
            EdgecvError: The source cannot go on.
        """
        raw = self._take_newest() if self._threaded else self._pull()
        if raw is None:
            return None
        gone = self.counts.dropped + self.counts.damaged
        try:
            with Timer() as timer:
                shot = self._source.decode(raw.data)
        except InputError as error:
            self._damaged(raw, error)
            return None
        self.counts.taken += 1
        since, self._told = gone - self._told, gone
        capture_ns = timer.wall_ns + shot.decoding_ns
        return Frame(shot, raw.number, raw.came_ns, capture_ns), since

    def _damaged(self, raw: _Raw, error: InputError) -> None:
        self.counts.damaged += 1
        if self.counts.damaged & (self.counts.damaged - 1) == 0:  # the 1st, 2nd, 4th, 8th …
            self._events.add(
                "source",
                f"Frame {raw.number} could not be decoded ({error.what}); {self.counts.damaged} so far.",
            )

    # --- in the caller's thread -----------------------------------------------------------------

    def _pull(self) -> _Raw | None:
        """The next frame of a source that waits for us."""
        if self.state == "ended" or not self._pace():
            return None
        try:
            data = self._source.grab()
        except EdgecvError as error:
            if not self._source.live:
                raise
            self._lost(error)
            self._reopen()
            return None
        if data is None:
            self._end()
            return None
        return self._count(data)

    def _take_newest(self) -> _Raw | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._held is not None or self.state == "ended" or self._stop.is_set(),
                _LOOK_S,
            )
            raw, self._held = self._held, None
        if raw is None:
            if self._error is not None:
                raise self._error
            self._watch_for_stall()
        return raw

    def _watch_for_stall(self) -> None:
        quiet = (time.monotonic_ns() - self._last_ns) / 1e9
        if self.state == "live" and quiet > self._source.stall_s:
            self._enter("stalled", f"no frame for {quiet:.1f} s")
            self._source.interrupt()

    # --- in the capture thread ------------------------------------------------------------------

    def _feed(self) -> None:
        try:
            while not self._stop.is_set() and self.state != "ended":
                if not self._pace():
                    continue
                try:
                    data = self._source.grab()
                except EdgecvError as error:
                    if self._stop.is_set():
                        break  # it was interrupted, not lost
                    self._lost(error)
                    self._reopen()
                    continue
                if data is None:
                    self._end()
                else:
                    self._put(data)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that consumes
            self._error = error
            self._enter("ended", str(error))
        with self._changed:
            self._changed.notify_all()

    def _put(self, data: Any) -> None:
        with self._changed:
            if self._held is not None:
                self.counts.dropped += 1
            self._held = self._count(data)
            self._changed.notify_all()

    # --- in either ------------------------------------------------------------------------------

    def _count(self, data: Any) -> _Raw:
        raw = _Raw(data, self.counts.came)
        self.counts.came += 1
        self._last_ns = raw.came_ns
        if self.state != "live":
            self._enter("live", "")
        return raw

    def _pace(self) -> bool:
        """Wait until the next frame is due; False when it is not yet, or when to stop."""
        if self._stop.is_set():
            return False
        if not self._source.rate_hz:
            return True
        now = time.monotonic_ns()
        wait = (self._next_ns - now) / 1e9
        if wait > 0 and self._stop.wait(min(wait, _LOOK_S)):
            return False
        if wait > _LOOK_S:
            return False
        period = round(1e9 / self._source.rate_hz)
        # after a pause the schedule begins anew: no burst of frames that were due meanwhile
        self._next_ns = max(self._next_ns + period, now - period)
        return True

    def _end(self) -> None:
        if not self._loop or self._stop.is_set():
            self._enter("ended", "")
            return
        if self.counts.came == self._came_before:
            raise InvalidMeasurementError(
                f"the source {self._source.uri} holds no frame", cure="Choose another source."
            )
        self._came_before = self.counts.came
        self._source.close()
        self._source.open()

    def _lost(self, error: EdgecvError) -> None:
        self.counts.losses += 1
        self._source.close()
        self._enter("lost", error.what)

    def _reopen(self) -> None:
        """Open a lost source again, with longer and longer waits."""
        wait, longest = BACKOFF_S
        while not self._stop.wait(wait):
            try:
                self._source.open()
            except EdgecvError as error:
                self._source.close()
                wait = min(2 * wait, longest)
                self.detail = f"{error.what}; next try in {wait:g} s"
            else:
                self._last_ns = time.monotonic_ns()
                self._next_ns = self._last_ns
                self._enter("live", "")
                return

    def _enter(self, state: str, detail: str) -> None:
        if state != self.state:
            words = {"live": "gives frames", "ended": "has ended"}.get(state, f"is {state}")
            text = f"The source {self._source.uri} {words}{f': {detail}' if detail else ''}."
            self.state, self.detail = state, detail
            self._events.add("source", text)
