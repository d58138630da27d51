"""Pictures that are worth a look later: uncertain answers, and the moments around a drift alarm."""

from __future__ import annotations

import datetime
import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgecv.camera.events import Event
from edgecv.camera.frame import Answer
from edgecv.camera.jpeg import encode
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.camera.pipeline import Pipeline

__all__ = ["Keeper"]

_NAME: Final = re.compile(r"edgecv-\d{8}T\d{6}-\d+-(uncertain|drift)-.*\.jpg")
#: An uncertain answer per this time at most, and a frame of a clip.
_UNCERTAIN_NS: Final = 1_000_000_000
_CLIP_NS: Final = 250_000_000
#: Frames of a clip before the alarm, and after it.
_BEFORE: Final = 16
_AFTER: Final = 16


class Keeper:
    """Keeps JPEG files under a bound; the oldest of its own files go first. A sink.

    The frames of the last seconds are held in memory, and are written when an alarm comes.

    Args:
        folder: Made when it is missing; files of others in it are refused.
        pipeline: Whose drift alarms matter.
        below: An answer with a lower score is uncertain.
        most_bytes: Of all files together.

    Raises:
        InputError: The folder cannot be made, or holds files that are not ours.
    """

    def __init__(self, folder: Path, pipeline: Pipeline, *, below: float, most_bytes: int) -> None:
        self._folder, self._below, self._most = folder, below, most_bytes
        self._events = pipeline.events
        self._held: deque[tuple[str, bytes]] = deque(maxlen=_BEFORE)
        self._next_clip_ns = self._next_uncertain_ns = 0
        self._after = 0
        self._alarm = False
        self._failing = False
        self._files = self._adopt()
        self._bytes = sum(size for _, size in self._files)
        self._events.listen(self._event)

    def _adopt(self) -> deque[tuple[Path, int]]:
        """The files of an earlier run, oldest first."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for torn in self._folder.glob(".edgecv-*.jpg.part"):
                torn.unlink()  # of a run that was killed
            present = sorted(self._folder.iterdir())
        except OSError as error:
            raise InputError(
                f"the folder '{self._folder}' cannot be used: {error.strerror}",
                cure="Choose another.",
            ) from error
        for path in present:
            if not _NAME.fullmatch(path.name):
                raise InputError(
                    f"the folder '{self._folder}' holds '{path.name}', which is not ours",
                    cure="Name an empty folder.",
                )
        return deque((path, path.stat().st_size) for path in present)

    def _event(self, event: Event) -> None:
        if event.kind == "drift" and event.text.startswith("Alarm"):
            self._alarm = True

    def take(self, answer: Answer) -> None:
        """Hold the frame for a clip, and keep it where the answer is uncertain."""
        now = answer.frame.came_ns
        if self._alarm:
            self._alarm, self._after = False, _AFTER
            while self._held:
                self._write(*self._held.popleft())
        if now >= self._next_clip_ns:
            self._next_clip_ns = now + _CLIP_NS
            named = (_name(answer, "drift"), encode(answer.frame.shot.pixels))
            if self._after:
                self._after -= 1
                self._write(*named)
            else:
                self._held.append(named)
        if answer.classification.top.score < self._below and now >= self._next_uncertain_ns:
            self._next_uncertain_ns = now + _UNCERTAIN_NS
            self._write(_name(answer, "uncertain"), encode(answer.frame.shot.pixels))

    def _write(self, name: str, data: bytes) -> None:
        try:
            while self._files and self._bytes + len(data) > self._most:
                path, size = self._files.popleft()
                self._bytes -= size
                path.unlink(missing_ok=True)
            path = self._folder / name
            part = self._folder / f".{name}.part"
            part.write_bytes(data)
            part.replace(path)
            self._files.append((path, len(data)))
            self._bytes += len(data)
            reason = ""
        except OSError as error:
            reason = error.strerror or type(error).__name__
        if self._failing != bool(reason):
            self._failing = bool(reason)
            self._events.add(
                "record",
                f"Pictures are not kept: {reason}." if reason else "Pictures are kept again.",
            )


def _name(answer: Answer, why: str) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    top = answer.classification.top
    label = re.sub(r"[^A-Za-z0-9_-]+", "_", top.label)[:40]
    return f"edgecv-{now}-{answer.frame.number:09d}-{why}-{label}-{top.score:.2f}.jpg"
