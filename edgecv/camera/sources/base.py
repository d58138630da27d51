"""The way every source goes: open, grab, decode, close."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from edgecv.camera.frame import Shot
from edgecv.errors import EdgecvError

__all__ = ["Source", "SourceError"]


class SourceError(EdgecvError):
    """A source that cannot be opened, or that was lost; a live one is tried again."""


class Source(ABC):
    """Where frames come from.

    One thread calls :meth:`open`, :meth:`grab` and :meth:`close`; another may call :meth:`decode`,
    and only for frames that are answered: dropped ones are never decoded.

    Attributes:
        uri: As it may be shown: without a password.
        live: Whether the world goes on meanwhile. Then the newest frame counts and a lost source is
            opened again; else every frame is answered and the end is the end.
        rate_hz: Frames per second to hold by the clock, or 0 where the source keeps its own time.
        stall_s: Seconds without a frame after which a live source counts as stalled.
    """

    live: ClassVar[bool] = False
    uri: str = ""
    rate_hz: float = 0.0
    stall_s: float = 10.0

    @property
    def drops(self) -> bool:
        """Whether frames that nobody had time for are dropped."""
        return self.live

    @abstractmethod
    def open(self) -> None:
        """Get ready; called again after a loss.

        Raises:
            SourceError: It is not there; the message lists what is.
        """

    @abstractmethod
    def grab(self) -> Any:
        """Wait for the next frame, at little cost.

        Returns:
            Whatever :meth:`decode` takes; None at the end.

        Raises:
            SourceError: The source was lost.
        """

    @abstractmethod
    def decode(self, raw: Any) -> Shot:
        """Make pixels of a frame.

        Raises:
            InputError: It is damaged; the frame counts as dropped.
        """

    def interrupt(self) -> None:  # noqa: B027 - not abstract: most sources never wait long
        """Make a :meth:`grab` that waits in another thread return or fail soon."""

    def close(self) -> None:  # noqa: B027 - not abstract: many sources hold nothing
        """Give everything back; may be called twice."""
