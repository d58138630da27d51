"""What is labeled and what comes next, whoever asks: several screens may label one folder."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

from edgecv.drift.audit_index import INDEX
from edgecv.drift.labeling import NONE, Audited, Frame, accuracy, read_audit
from edgecv.errors import EdgecvError

__all__ = ["GoneError", "Session"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
#: No camera's frame is larger.
_MOST_BYTES: Final = 64 << 20


class GoneError(EdgecvError):
    """The frame is not kept any more: a camera that runs meanwhile has put another one in its place."""


class Session:
    """One round of labeling. Thread-safe.

    Args:
        folder: Of the audit.
        show_answer: Whether the page gets to know what the model said.

    Attributes:
        done: Set when somebody says that it is enough.

    Raises:
        InputError: No audit, or a damaged one.
    """

    def __init__(self, folder: Path, *, show_answer: bool = False) -> None:
        self.done: threading.Event = threading.Event()
        self._folder, self._show = folder, show_answer
        self._lock = threading.Lock()
        self._audited, self._seen = read_audit(folder), _changed(folder)
        self._passed: set[int] = set()
        self._history: list[int] = []

    @property
    def classes(self) -> tuple[str, ...]:
        """Names that a frame can get."""
        return self._audited.labels

    def state(self) -> dict[str, Any]:
        """What the page shows, JSON-ready.

        Raises:
            EdgecvError: The folder was damaged meanwhile.
        """
        with self._lock:
            return self._state()

    def label(self, number: int, index: int | None) -> dict[str, Any]:
        """Give frame *number* the class *index*, or None for none of them; it is on disk afterwards.

        Returns:
            As :meth:`state`.

        Raises:
            GoneError: There is no such frame any more.
            OSError: It could not be written; nothing has changed.
            EdgecvError: The folder was damaged meanwhile.
        """
        with self._lock:
            frame = self._find(number)
            name = NONE if index is None else self.classes[index]
            self._audited = self._audited.label(frame.file, name)
            self._passed.discard(number)
            self._history.append(number)
            return self._state()

    def skip(self, number: int) -> dict[str, Any]:
        """Leave frame *number* for later; raises and returns as :meth:`label`."""
        with self._lock:
            self._find(number)
            self._passed.add(number)
            self._history.append(number)
            return self._state()

    def undo(self) -> dict[str, Any]:
        """Take the last label or skip of this round back; raises and returns as :meth:`label`."""
        with self._lock:
            if self._history:
                number = self._history[-1]
                try:
                    frame = self._find(number)
                    if frame.file in self._audited.given:
                        self._audited = self._audited.label(frame.file, None)
                except GoneError:
                    pass  # there is nothing left of it to take back
                self._history.pop()
                self._passed.discard(number)
            return self._state()

    def again(self) -> dict[str, Any]:
        """Ask for the skipped frames once more; raises and returns as :meth:`state`."""
        with self._lock:
            self._passed.clear()
            return self._state()

    def picture(self, number: int) -> bytes:
        """The frame's PNG file.

        Raises:
            GoneError: There is no such picture.
        """
        with self._lock:
            frame = self._find(number)
        try:
            # the name is one of ours; a link of that name could still lead anywhere
            handle = os.open(self._folder / frame.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                data = file.read(_MOST_BYTES)
        except OSError as error:
            raise _gone(number) from error
        if not data.startswith(_PNG):
            raise _gone(number)
        return data

    # --- with the lock held -----------------------------------------------------------------------

    def _find(self, number: int) -> Frame:
        for frame in self._fresh().frames:
            if frame.number == number:
                return frame
        raise _gone(number)

    def _fresh(self) -> Audited:
        """The audit as it is now: a camera may go on filling the folder."""
        now = _changed(self._folder)
        if now != self._seen:
            self._audited, self._seen = read_audit(self._folder), now
        return self._audited

    def _state(self) -> dict[str, Any]:
        audited = self._fresh()
        waiting = audited.waiting
        following = [frame for frame in waiting if frame.number not in self._passed]
        found = accuracy(audited) if audited.given else None
        return {
            "current": self._shown(following[0]) if following else None,
            "total": len(audited.frames),
            "labeled": len(audited.given),
            "skipped": len(waiting) - len(following),
            "can_undo": bool(self._history),
            "accuracy": None if found is None else found.as_json(),
        }

    def _shown(self, frame: Frame) -> dict[str, Any]:
        shown: dict[str, Any] = {"number": frame.number}
        if self._show:
            shown["answer"] = self.classes[frame.answer]
            shown["score"] = round(float(frame.probabilities[frame.answer]), 3)
        return shown


def _changed(folder: Path) -> tuple[int, int]:
    try:
        found = (folder / INDEX).stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino


def _gone(number: int) -> GoneError:
    return GoneError(f"frame {number} is not kept any more", cure="Go on with the next one.")
