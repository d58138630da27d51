"""Frames kept for people to label: some drawn by chance, some because the model was unsure.

The chance draw (a reservoir) makes the accuracy that labels give an unbiased one; the unsure frames make the
labels count where mistakes are. Every kept frame has its inclusion probability, and weighting by its inverse
puts both together (Horvitz and Thompson 1952).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.errors import InputError

__all__ = ["INDEX", "AuditOptions", "AuditSampler"]

INDEX: Final = "audit.json"
SCHEMA: Final = "edgecv.audit/1.0"
_MOST_CLASSES: Final = 50


@dataclass(frozen=True)
class AuditOptions:
    """What is kept.

    Attributes:
        by_chance: Frames of the reservoir: every frame of the stream has the same chance.
        unsure: Further frames, drawn by chance among those below *confidence*.
        confidence: Largest probability up to which a frame is unsure.
        most_bytes: Of all pictures together; beyond it nothing further is kept.
        seed: Of the drawing.
    """

    by_chance: int = 200
    unsure: int = 100
    confidence: float = 0.5
    most_bytes: int = 50_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by_chance < 1 or self.unsure < 0 or self.most_bytes < 1:
            raise InputError(f"{self} keeps nothing", cure="Keep at least one frame by chance.")


@dataclass
class _Kept:
    file: str
    answer: int
    scores: list[list[float]]
    at_s: float
    is_unsure: bool


class _Reservoir:
    """Vitter 1985, algorithm R: any moment's content is a simple random sample of what was offered."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.offered = size, 0
        self.kept: list[_Kept] = []
        self._rng = rng

    def place(self) -> int | None:
        """Where the frame that is offered now goes, or None."""
        self.offered += 1
        if len(self.kept) < self.size:
            return len(self.kept)
        at = int(self._rng.integers(self.offered))
        return at if at < self.size else None

    @property
    def chance(self) -> float:
        """With which any frame offered so far is among the kept."""
        return min(1.0, self.size / self.offered) if self.offered else 0.0


class AuditSampler:
    """Keeps frames in a folder, under a cap.

    Args:
        folder: Made when missing; one that holds anything else is refused.
        labels: Of the model.
        identity: Of the model, for the record.
        options: How many.

    Raises:
        InputError: The folder holds something.
    """

    def __init__(
        self,
        folder: Path,
        labels: tuple[str, ...],
        identity: str,
        options: AuditOptions | None = None,
    ) -> None:
        self.options: AuditOptions = options or AuditOptions()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"'{folder}' holds something", cure="Name a new folder.")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._labels, self._identity = folder, labels, identity
        rng = np.random.default_rng(self.options.seed)
        self._chance = _Reservoir(self.options.by_chance, rng)
        self._unsure = _Reservoir(self.options.unsure, rng)
        self._bytes: dict[str, int] = {}
        self._gone: list[str] = []
        self._number = 0
        self._saved_at = 0
        self.full: bool = False

    def offer(
        self, probabilities: npt.NDArray[Any], frame: npt.NDArray[np.uint8], at_s: float
    ) -> bool:
        """Show a frame with its answer; best only frames that a monitor sampled.

        Args:
            probabilities: float32 [C].
            frame: uint8 [H, W, 3] RGB.
            at_s: Its time.

        Returns:
            Whether it was kept.
        """
        if self.full or not np.isfinite(probabilities).all():
            return False
        # two strata: the unsure have a reservoir of their own and are not offered to the other
        is_unsure = (
            self.options.unsure > 0 and float(probabilities.max()) <= self.options.confidence
        )
        reservoir = self._unsure if is_unsure else self._chance
        at = reservoir.place()
        if at is None:
            self._save_now_and_then()
            return False
        data = _png(frame)
        old = reservoir.kept[at].file if at < len(reservoir.kept) else None
        total = sum(self._bytes.values()) - self._bytes.get(old or "", 0) + len(data)
        if total > self.options.most_bytes:
            # what was offered and not kept any more would change the chances of all
            reservoir.offered -= 1
            self.full = True
            return False
        self._number += 1
        kept = _Kept(
            f"{self._number:07d}.png",
            int(probabilities.argmax()),
            _largest(probabilities),
            at_s,
            is_unsure,
        )
        write_atomically(self._folder / kept.file, data)
        self._bytes[kept.file] = len(data)
        if old is None:
            reservoir.kept.append(kept)
        else:
            reservoir.kept[at] = kept
            # the index on disk still names it
            self._gone.append(old)
            self._bytes.pop(old, None)
        self._save_now_and_then()
        return True

    def _save_now_and_then(self) -> None:
        """Write the index when the chances in it are off by more than 2 %: seldom, since cards wear out."""
        offered = self._chance.offered + self._unsure.offered
        if offered > 1.02 * self._saved_at:
            self.save()

    def save(self) -> None:
        """Write the index: what is kept, and with which chance. Call it at the end of a stream."""
        self._saved_at = self._chance.offered + self._unsure.offered
        rows = [
            {
                "file": k.file,
                "answer": k.answer,
                "probabilities": k.scores,
                "at_s": k.at_s,
                "inclusion": reservoir.chance,
                "stratum": "unsure" if k.is_unsure else "chance",
            }
            for reservoir in (self._chance, self._unsure)
            for k in reservoir.kept
        ]
        document = {
            "schema": SCHEMA,
            "identity": self._identity,
            "labels": list(self._labels),
            "offered": {"chance": self._chance.offered, "unsure": self._unsure.offered},
            "frames": rows,
        }
        write_atomically(self._folder / INDEX, json.dumps(document, indent=1).encode())
        for file in self._gone:
            (self._folder / file).unlink(missing_ok=True)
        self._gone.clear()


def _largest(probabilities: npt.NDArray[Any]) -> list[list[float]]:
    """[index, probability] of the 50 largest; a thousand classes would wear out the card."""
    order = np.argsort(-probabilities, kind="stable")[:_MOST_CLASSES]
    return [[int(i), float(f"{probabilities[i]:.4g}")] for i in order]


def _png(frame: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
