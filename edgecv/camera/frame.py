"""What goes through the pipeline: a frame, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgecv.preprocess import Pixels
from edgecv.results import Classification

__all__ = ["Answer", "Frame", "Shot"]


@dataclass(frozen=True)
class Shot:
    """What a source knows of one frame.

    Attributes:
        pixels: RGB, uint8 [H, W, 3].
        label: What the frame shows, where the source knows it.
        scene: Number of the scene; frames of one scene are not independent. None where the source
            cannot tell.
        name: E.g. the file's.
        decoding_ns: Time of its decoding that the source spent already when it grabbed the frame.
    """

    pixels: Pixels = field(repr=False)
    label: str | None = None
    scene: int | None = None
    name: str = ""
    decoding_ns: int = 0


@dataclass(frozen=True)
class Frame:
    """A shot with its place in the stream.

    Attributes:
        shot: Pixels and what is known of them.
        number: Position in the stream, from 0, dropped frames counted.
        came_ns: When the source had it, on the monotonic clock.
        capture_ns: From then until it was pixels, without waiting for its turn.
    """

    shot: Shot
    number: int
    came_ns: int
    capture_ns: int


@dataclass(frozen=True)
class Answer:
    """The answer for one frame.

    Attributes:
        frame: The frame.
        classification: Classes, best first, with the time of each stage.
        glass_ns: Age of the frame at the answer.
        dropped: Frames that came since the last answer and were not classified.
        right: Whether the source's label was named; None where it gives none.
        reference: Class that the float file names for the same frame; None where it was not asked.
    """

    frame: Frame
    classification: Classification
    glass_ns: int
    dropped: int
    right: bool | None = None
    reference: str | None = None
