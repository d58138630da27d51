"""Drawing by chance from a stream whose length nobody knows, and a state of it that goes into JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edgecv.drift.audit_index import Stratum

__all__ = ["Reservoir", "numpy_state", "plain_state"]

#: A reservoir keeps this share of its places when it has to shrink.
_SHRUNK: Final = 0.9


class Reservoir:
    """Vitter 1985, algorithm R: any moment's content is a simple random sample of what was offered.

    Args:
        size: Places.
        rng: Draws.

    Attributes:
        size: Places now.
        offered: Of how many was drawn.
        lost: Offered before it began anew: nothing that is kept stands for them.
        kept: What is in them.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size: int = size
        self.offered: int = 0
        self.lost: int = 0
        self.kept: list[Any] = []
        self._rng = rng

    def place(self) -> int | None:
        """Where the frame that is offered now goes, or None."""
        self.offered += 1
        if len(self.kept) < self.size:
            return len(self.kept)
        at = int(self._rng.integers(self.offered))
        return at if at < self.size else None

    def shrink(self) -> list[Any]:
        """Keep fewer from now on; those that go, drawn by chance, so that what stays is a random sample, too."""
        self.size = min(int(_SHRUNK * len(self.kept)), len(self.kept) - 1)
        order = self._rng.permutation(len(self.kept))
        gone = [self.kept[i] for i in order[self.size :]]
        self.kept = [self.kept[i] for i in sorted(order[: self.size].tolist())]
        return gone

    def forget(self, present: list[Any]) -> None:
        """Go on with *present*, a part of what was kept: somebody removed the others."""
        missing = len(self.kept) - len(present)
        if not missing:
            return
        if not present:
            self.begin_anew(self.size)
        elif self.offered <= self.size:
            self.offered -= missing  # all that were offered are kept: as if they had never come
        else:
            self.size -= missing
        self.kept = present

    def begin_anew(self, size: int) -> None:
        """Go on with nothing kept and *size* places: what was offered so far is lost."""
        self.lost += self.offered
        self.size, self.offered, self.kept = size, 0, []

    @property
    def chance(self) -> float:
        """With which any frame offered so far is among the kept."""
        return Stratum(self.size, self.offered).chance


def plain_state(state: Any) -> dict[str, int]:
    """What NumPy says of PCG64, without nesting."""
    return {
        **state["state"],
        "has_uint32": state["has_uint32"],
        "uinteger": state["uinteger"],
    }


def numpy_state(generator: Mapping[str, int]) -> Any:
    """The same back, for ``bit_generator.state``.

    Raises:
        KeyError: A part is missing.
        ValueError: No state of PCG64; NumPy itself finds numbers that are too large.
    """
    state = {name: generator[name] for name in ("state", "inc")}
    if generator["has_uint32"] not in (0, 1) or not state["inc"] % 2:
        raise ValueError("no state of PCG64")
    return {
        "bit_generator": "PCG64",
        "state": state,
        "has_uint32": generator["has_uint32"],
        "uinteger": generator["uinteger"],
    }
