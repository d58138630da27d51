"""What the machine says of itself: the one home of readers of /proc and /sys."""

from __future__ import annotations

from edgecv.board.readers import Board

__all__ = ["Board"]
