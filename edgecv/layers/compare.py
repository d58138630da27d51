"""Noise along the graph: signal-to-noise ratio of every tensor that two models have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecv.errors import InputError
from edgecv.layers.taps import Array, Tap, Tapped

__all__ = ["LayerComparison", "LayerDifference", "compare_layers"]

#: A jump multiplies the noise power by at least this within one tensor (6 dB),
JUMP_FACTOR = 4.0
#: and leaves at least this share of the signal's power (20 dB).
JUMP_SHARE = 0.01

_TO_FIRST = (0, 3, 1, 2)


@dataclass(frozen=True)
class LayerDifference:
    """One tensor of both models, over all pictures.

    Attributes:
        name: Shortest that both models know it by.
        candidate: In the candidate.
        sqnr_db: Power of the reference over power of the difference, decibels; ``inf`` where equal.
        before_db: Lowest of the tensors that it is computed from, or None for the first.
        max_difference: Largest absolute difference, in real units.
        max_steps: The same in quantization steps of the candidate, or None where it is floating point.
    """

    name: str
    candidate: str
    sqnr_db: float
    before_db: float | None
    max_difference: float
    max_steps: float | None

    @property
    def jumps(self) -> bool:
        """Whether the noise grows fourfold here and is above 1 % of the signal's power."""
        if self.before_db is None:
            return False
        fell = self.before_db - self.sqnr_db
        return fell >= 10 * math.log10(JUMP_FACTOR) and self.sqnr_db <= -10 * math.log10(JUMP_SHARE)

    def to_json(self) -> dict[str, Any]:
        """Plain data; ``None`` stands for an infinite ratio."""
        return {
            "name": self.name,
            "candidate": self.candidate,
            "sqnr_db": _finite(self.sqnr_db),
            "before_db": None if self.before_db is None else _finite(self.before_db),
            "max_difference": self.max_difference,
            "max_steps": self.max_steps,
            "jumps": self.jumps,
        }


@dataclass(frozen=True)
class LayerComparison:
    """Two models, tensor by tensor.

    Attributes:
        a: Name of the reference.
        b: Name of the candidate.
        pictures: Behind the figures.
        layers: In the reference's order of execution.
        only_a: Tensors of the reference that the candidate has no name or no shape for.
        only_b: The other way round.
    """

    a: str
    b: str
    pictures: int
    layers: tuple[LayerDifference, ...]
    only_a: tuple[str, ...] = field(default=(), repr=False)
    only_b: tuple[str, ...] = field(default=(), repr=False)

    @property
    def jump(self) -> LayerDifference | None:
        """The first tensor where the error jumps."""
        return next((layer for layer in self.layers if layer.jumps), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        jump = self.jump
        return {
            "a": self.a,
            "b": self.b,
            "pictures": self.pictures,
            "first_jump": None if jump is None else jump.name,
            "layers": [layer.to_json() for layer in self.layers],
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
        }


class _Sums:
    """What accumulates for one pair of tensors."""

    def __init__(self) -> None:
        self.signal = 0.0
        self.noise = 0.0
        self.largest = 0.0
        self.arrangement: int | None = None
        self.fits = True

    def add(self, a: Array, b: Array, taps: tuple[Tap, Tap]) -> None:
        ways = _arrangements(a, b, *(tap.channels_last for tap in taps))
        if not ways:
            self.fits = False
            return
        if self.arrangement is None:
            # where several orders have the shape, the right one is nearer than any other
            noises = [float(np.square(x - y, dtype=np.float64).sum()) for x, y in ways]
            self.arrangement = int(np.argmin(noises))
        x, y = ways[self.arrangement]
        difference = x.astype(np.float64) - y
        self.signal += float(np.square(x, dtype=np.float64).sum())
        self.noise += float(np.square(difference).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))

    @property
    def sqnr_db(self) -> float:
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


def compare_layers(
    a: Tapped,
    b: Tapped,
    feeds: Sequence[tuple[Array, Array]],
    *,
    names: tuple[str, str] = ("reference", "candidate"),
) -> LayerComparison:
    """Run both models on the same pictures and compare the tensors that share a name.

    Args:
        a: The reference.
        b: The candidate.
        feeds: Per picture the input of *a* and the input of *b*, each in its file's own dtype and layout.
        names: For messages.

    Raises:
        InputError: No pictures, or the models have no tensor in common.
        ModelLoadError: An engine fails.
    """
    if not feeds:
        raise InputError("no pictures to compare layers on", cure="Give a folder with pictures.")
    pairs = _pairs(a.taps, b.taps)
    sums = [_Sums() for _ in pairs]
    wanted_a = [a.taps[i].name for i, _ in pairs]
    wanted_b = [b.taps[j].name for _, j in pairs]
    for feed_a, feed_b in feeds:
        of_a, of_b = a.read(feed_a, wanted_a), b.read(feed_b, wanted_b)
        for (i, j), total in zip(pairs, sums, strict=True):
            first, second = a.taps[i], b.taps[j]
            if first.name in of_a and second.name in of_b:
                total.add(of_a[first.name], of_b[second.name], (first, second))
            else:
                total.fits = False
    found = {i: (j, s) for (i, j), s in zip(pairs, sums, strict=True) if s.fits}
    if not found:
        raise InputError(
            f"{names[0]} and {names[1]} have no tensor in common by name",
            cure="Compare files made from one model: names of layers survive export and conversion.",
        )
    before = _before(a.taps, {i: total.sqnr_db for i, (_, total) in found.items()})
    layers = []
    for i, (j, total) in found.items():
        step = b.taps[j].step
        layers.append(
            LayerDifference(
                name=_shared(a.taps[i], b.taps[j]),
                candidate=b.taps[j].name,
                sqnr_db=total.sqnr_db,
                before_db=before[i],
                max_difference=total.largest,
                max_steps=None if step is None else total.largest / step,
            )
        )
    matched_b = {j for j, _ in found.values()}
    return LayerComparison(
        *names,
        pictures=len(feeds),
        layers=tuple(layers),
        only_a=tuple(tap.name for i, tap in enumerate(a.taps) if i not in found),
        only_b=tuple(tap.name for j, tap in enumerate(b.taps) if j not in matched_b),
    )


def _pairs(a: Sequence[Tap], b: Sequence[Tap]) -> list[tuple[int, int]]:
    """Positions of taps with a name in common, each at most once; inputs and outputs by position, too."""
    known: dict[str, int] = {}
    for at, tap in enumerate(b):
        for name in tap.known_as:
            known.setdefault(name, at)
    pairs, taken = [], set()
    for i, tap in enumerate(a):
        j: int | None = next((known[name] for name in tap.known_as if name in known), None)
        if j is None and not tap.sources and i < len(b) and not b[i].sources:
            # an input, whatever the two files call it
            j = i
        if j is not None and j not in taken:
            taken.add(j)
            pairs.append((i, j))
    return pairs


def _shared(a: Tap, b: Tap) -> str:
    """Shortest name in common; an input may have none."""
    return min(
        set(a.known_as) & set(b.known_as), key=lambda name: (len(name), name), default=a.name
    )


def _before(taps: Sequence[Tap], sqnr_db: dict[int, float]) -> dict[int, float | None]:
    """Lowest ratio among the nearest compared tensors in front of each."""
    nearest: list[float | None] = []
    for i, tap in enumerate(taps):
        fronts = [sqnr_db[s] if s in sqnr_db else nearest[s] for s in tap.sources if s < i]
        nearest.append(min((front for front in fronts if front is not None), default=None))
    return {i: nearest[i] for i in sqnr_db}


def _arrangements(a: Array, b: Array, a_last: bool, b_last: bool) -> list[tuple[Array, Array]]:
    """The pairs of equal shape that *a* and *b* can be brought to."""
    ways = [(a, b)]
    if a_last != b_last and a.ndim == b.ndim == 4:
        ways.insert(0, (a.transpose(_TO_FIRST), b) if a_last else (a, b.transpose(_TO_FIRST)))
    fitting = [(x, y) for x, y in ways if x.shape == y.shape]
    if not fitting:
        # a pooled tensor may have lost its last two dimensions
        squeezed = [(x.squeeze(), y.squeeze()) for x, y in ways]
        fitting = [(x, y) for x, y in squeezed if x.shape == y.shape]
    return fitting


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
