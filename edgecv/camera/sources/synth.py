"""``synth:``: digits with known labels, for tests, for teaching, and for whoever has no camera."""

from __future__ import annotations

import threading
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from edgecv.camera.frame import Shot
from edgecv.camera.sources.base import Source, SourceError
from edgecv.camera.sources.digits import CLASSES, draw, glyphs, look
from edgecv.camera.sources.faults import FAULTS, STREAM_FAULTS, damage, parse_fault
from edgecv.camera.sources.uri import SourceURI
from edgecv.errors import InputError

__all__ = ["SynthSource"]

#: The classes that come while the fault ``mix`` is on.
_MIX = ("eight-blue", "nine-blue", "three")


class _Raw(NamedTuple):
    number: int
    scene: int


class SynthSource(Source):
    """A stream in which a scene is held for some frames and then changes, like a real one.

    Frame and scene depend on the seed and their number alone, whatever was dropped in between.

    Args:
        uri: Options: ``rate`` (frames per second, 20; 0 as fast as they are answered, nothing
            dropped), ``hold`` (mean frames per scene, 15), ``grain`` (noise of the sensor in levels, 10), ``seed`` (0),
            ``frames`` (0 without end), and faults with their frames: ``dark=200-400``…
        labels: Of the model; frames have labels where all classes drawn are among them.
    """

    live: ClassVar[bool] = True
    stall_s: float = 2.0

    def __init__(self, uri: SourceURI, labels: tuple[str, ...] = ()) -> None:
        uri.refuse_unknown("rate", "hold", "grain", "seed", "frames", *FAULTS, *STREAM_FAULTS)
        if uri.place:
            raise InputError(
                f"'synth:{uri.place}' names a place", cure="Options follow a '?': synth:?rate=5"
            )
        asked = "&".join(f"{name}={value}" for name, value in uri.options.items())
        self.uri: str = f"synth:?{asked}" if asked else "synth:"
        self.rate_hz: float = uri.number("rate", 20, 0, 1000)
        self._hold = uri.number("hold", 15, 1, 1e6)
        self._grain = uri.number("grain", 10, 0, 255)
        self._seed = int(uri.number("seed", 0, 0, 2**31))
        self._frames = int(uri.number("frames", 0, 0, 2**31))
        self._named = not labels or set(CLASSES) <= set(labels)
        self._faults = tuple(
            parse_fault(name, text)
            for name, text in uri.options.items()
            if name in FAULTS or name in STREAM_FAULTS
        )
        self._number = self._scene = self._left = 0
        self._drawn: tuple[int, bool, str, npt.NDArray[Any]] | None = None
        self._wake = threading.Event()

    @property
    def drops(self) -> bool:
        """Without a rate every frame is answered."""
        return self.rate_hz > 0

    def open(self) -> None:
        """Go on where it was: a camera that is plugged in again does not start the world anew.

        Raises:
            SourceError: While the fault ``lost`` is on; each try lasts ten frames.
        """
        self._wake.clear()
        glyphs()  # read now, not while the first frame waits
        if self._frames and self._number >= self._frames:
            self._number = self._scene = self._left = 0
        if self._on("lost", self._number):
            self._number += 10
            raise SourceError(
                f"the source {self.uri} is unplugged (fault 'lost')", cure="Wait for its end."
            )

    def grab(self) -> _Raw | None:
        """The next number."""
        number = self._number
        if self._frames and number >= self._frames:
            return None
        if self._on("lost", number):
            raise SourceError(f"the source {self.uri} was unplugged (fault 'lost')", cure="Wait.")
        self._number += 1
        if self._left == 0:
            self._scene += 1
            rng = np.random.default_rng([self._seed, self._scene, 1])
            self._left = int(rng.geometric(1 / self._hold))
        self._left -= 1
        if self._on("stall", number) and not self._on("stall", number - 1):
            self._wake.wait(60 if self.drops else self.stall_s)
            raise SourceError(f"the source {self.uri} gave no frame (fault 'stall')", cure="Wait.")
        return _Raw(number, self._scene)

    def interrupt(self) -> None:
        """End a stall."""
        self._wake.set()

    def decode(self, raw: _Raw) -> Shot:
        """Draw the frame.

        Raises:
            InputError: While the fault ``corrupt`` is on.
        """
        if self._on("corrupt", raw.number):
            raise InputError(f"frame {raw.number} is damaged (fault 'corrupt')", cure="Wait.")
        name, scene = self._look(raw)
        rng = np.random.default_rng([self._seed, raw.number, 2])
        pixels = draw(scene, self._grain, rng)
        for fault in self._faults:
            if fault.name in FAULTS and fault.covers(raw.number):
                # what is random about a fault holds as long as the scene
                held = np.random.default_rng([self._seed, raw.scene, 3])
                pixels = damage(pixels, fault, held if fault.name == "unknown" else rng)
        known = self._named and not self._on("unknown", raw.number)
        return Shot(pixels, name if known else None, raw.scene, f"frame {raw.number}")

    def _look(self, raw: _Raw) -> tuple[str, npt.NDArray[Any]]:
        few = self._on("mix", raw.number)
        if self._drawn is None or self._drawn[:2] != (raw.scene, few):
            rng = np.random.default_rng([self._seed, raw.scene, 0])
            names = _MIX if few else tuple(CLASSES)
            name = names[int(rng.integers(len(names)))]
            shapes = glyphs()[CLASSES[name][0]]
            glyph = shapes[int(rng.integers(len(shapes)))]
            self._drawn = raw.scene, few, name, look(name, glyph, rng)
        return self._drawn[2], self._drawn[3]

    def _on(self, name: str, number: int) -> bool:
        return any(f.name == name and f.covers(number) for f in self._faults)
