"""Between the pipeline's thread and the viewers: the newest picture, encoded once, and the figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Self

from edgecv.camera.frame import Answer
from edgecv.camera.jpeg import encode
from edgecv.camera.summary import answer_json

if TYPE_CHECKING:
    from edgecv.camera.pipeline import Pipeline

__all__ = ["Hub"]

#: Pictures per second that viewers get at most.
_VIEW_HZ: Final = 12.0
_EVERY_S: Final = 1.0
#: Seconds that the plots go back.
_HISTORY: Final = 900
#: Viewers of pictures, and of figures, at once.
MOST_VIEWERS: Final = 64


class Hub:
    """Keeps what viewers get. A context manager with a thread; a sink.

    Args:
        pipeline: Whose answers and figures are shown.

    Attributes:
        boot: Differs after each start, so that a page notices.
        viewers: Who waits for pictures.
        readers: Who waits for figures.
        encoded: Pictures that were encoded.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.boot: str = secrets.token_hex(8)
        self.viewers: int = 0
        self.readers: int = 0
        self.encoded: int = 0
        self.closed: bool = False
        self._changed = threading.Condition()
        self._newest: Answer | None = None
        self._picture: tuple[int, bytes, str] = (-1, b"", "")
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._history: deque[list[float | None]] = deque(maxlen=_HISTORY)
        self._stats: dict[str, Any] = {}
        self._stats_text = "{}"
        self._thread = threading.Thread(target=self._run, name="edgecv-view", daemon=True)

    def __enter__(self) -> Self:
        self._refresh()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self._thread.join()
        self._wake()

    def take(self, answer: Answer) -> None:
        """The newest answer; costs a notice while somebody looks, else nothing."""
        self._newest = answer
        if self.viewers:
            with self._changed:
                self._changed.notify_all()

    # --- the hub's thread -------------------------------------------------------------------------

    def _run(self) -> None:
        next_stats, next_picture = time.monotonic() + _EVERY_S, 0.0
        while not self.closed:
            now = time.monotonic()
            if now >= next_stats:
                next_stats = now + _EVERY_S
                self._refresh()
            if now >= next_picture and self.viewers and self._fresh():
                next_picture = now + 1 / _VIEW_HZ
                self.snapshot()
                self._wake()
            with self._changed:
                wait = next_stats - time.monotonic()
                if self.viewers and self._fresh():
                    wait = min(wait, next_picture - time.monotonic())
                if wait > 0 and not self.closed:
                    self._changed.wait(wait)

    def _fresh(self) -> bool:
        newest = self._newest
        return newest is not None and newest.frame.number != self._picture[0]

    def _refresh(self) -> None:
        stats = self.pipeline.stats() | {"boot": self.boot, "viewers": self.viewers}
        self._stats, self._stats_text = stats, json.dumps(stats, separators=(",", ":"))
        self._history.append(_point(stats))
        self._wake()

    def _wake(self) -> None:
        for loop, event in tuple(self._listeners):
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(event.set)

    # --- from any thread --------------------------------------------------------------------------

    @property
    def stats(self) -> dict[str, Any]:
        """The figures, at most a second old."""
        return self._stats

    @property
    def stats_text(self) -> str:
        """The same as JSON."""
        return self._stats_text

    def history(self) -> dict[str, list[float | None]]:
        """A column per plotted figure; the last minutes, a value per second."""
        rows = list(self._history)
        return {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}

    def snapshot(self) -> bytes | None:
        """The newest answered frame as JPEG, encoded at most once; None before the first."""
        newest = self._newest
        if newest is None:
            return None
        number, data, _ = self._picture
        if number != newest.frame.number:
            data = encode(newest.frame.shot.pixels)
            self.encoded += 1
            text = json.dumps(answer_json(newest), separators=(",", ":"))
            self._picture = (newest.frame.number, data, text)
        return data

    # --- in the server's loop ---------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self) -> Any:
        """An event that is set when there is something new."""
        one = (asyncio.get_running_loop(), asyncio.Event())
        self._listeners.add(one)
        try:
            yield one[1]
        finally:
            self._listeners.discard(one)

    async def pictures(self) -> AsyncIterator[bytes]:
        """JPEG files as they come; a slow viewer gets the newest one next and misses the others."""
        self.viewers += 1
        try:
            with self._listening() as event:
                with self._changed:
                    self._changed.notify_all()
                shown = -1
                while not self.closed:
                    number, data, _ = self._picture
                    if number != shown and data:
                        shown = number
                        yield data
                    else:
                        await event.wait()
                        event.clear()
        finally:
            self.viewers -= 1

    async def messages(self, after: int) -> AsyncIterator[str]:
        """Server-sent events: figures every second, and what happens, from event *after* on."""
        self.readers += 1
        try:
            with self._listening() as event:
                yield "retry: 2000\n\n"
                last_text, last_answer = "", ""
                while not self.closed:
                    for one in self.pipeline.events.since(after):
                        after = one.number
                        yield f"id: {self.boot}-{after}\nevent: log\ndata: {json.dumps(one.to_json())}\n\n"
                    if self._stats_text is not last_text:
                        last_text = self._stats_text
                        yield f"event: stats\ndata: {last_text}\n\n"
                    if self._picture[2] is not last_answer:
                        last_answer = self._picture[2]
                        yield f"event: answer\ndata: {last_answer}\n\n"
                    await event.wait()
                    event.clear()
        finally:
            self.readers -= 1


#: What the plots show; times are seconds since the start.
COLUMNS: Final = (
    "seconds", "fps_in", "fps_out", "infer_p50_ms", "glass_p50_ms", "glass_p99_ms", "rss_mib", "temperature_c",
    "cpu_percent", "top1", "top1_low", "top1_high",
)  # fmt: skip


def _point(stats: dict[str, Any]) -> list[float | None]:
    head, latency = stats["accuracy_recent"] or stats["headline"], stats["latency_ms"]
    return [
        stats["seconds"],
        stats["fps_in"],
        stats["fps_out"],
        latency["infer"]["p50"],
        latency["glass"]["p50"],
        latency["glass"]["p99"],
        None if stats["rss_bytes"] is None else round(stats["rss_bytes"] / 2**20, 1),
        stats["temperature_c"],
        stats["cpu_percent"],
        head["value"],
        head["low"],
        head["high"],
    ]
