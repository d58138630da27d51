"""What a verification runs on, and what becomes of an artifact that fails it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["VerifyOptions"]


@dataclass(frozen=True)
class VerifyOptions:
    """Options of a verification.

    Attributes:
        data: Folder of pictures of any structure; None makes synthetic ones.
        keep_failed: Folder for an artifact that fails, made when missing; None leaves nothing.
        pictures: At most so many of the folder's pictures, evenly spread over their sorted names.
        synthetic: Number of synthetic samples where there is no folder.
        seed: Of everything synthetic.
    """

    data: Path | None = None
    keep_failed: Path | None = None
    pictures: int = 64
    synthetic: int = 8
    seed: int = 0
