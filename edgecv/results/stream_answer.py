"""The answer for one frame of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgecv.results.classification import Classification

__all__ = ["StreamAnswer"]


@dataclass(frozen=True)
class StreamAnswer:
    """Answer for one frame of a stream.

    Attributes:
        frame: As it came.
        classification: The answer.
        number: Position of the frame in the stream, from 0.
        dropped: Frames that came since the last answer and were not classified.
        age_ns: From the frame's arrival to the answer, in nanoseconds.
    """

    frame: Any = field(repr=False)
    classification: Classification
    number: int
    dropped: int
    age_ns: int
