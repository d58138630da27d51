"""Frames kept for people to label: some drawn by chance, some because the model was unsure.

The chance draw (a reservoir) makes the accuracy that labels give an unbiased one; the unsure frames make the
labels count where mistakes are. Every kept frame has its inclusion probability, and weighting by its inverse
puts both together (Horvitz and Thompson 1952).
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.drift.audit_index import (
    INDEX,
    PICTURE,
    SCHEMA,
    STRATA,
    Index,
    Row,
    Stratum,
    changed_options,
    largest,
    read_index,
)
from edgecv.drift.reservoir import Reservoir, numpy_state, plain_state
from edgecv.errors import InputError

__all__ = ["INDEX", "SCHEMA", "AuditOptions", "AuditSampler"]

_MOST_CLASSES: Final = 50
#: What a process that was killed leaves of a file that it was writing.
_TORN: Final = re.compile(r"\.(\d{7,12}\.png|audit\.json)\.[0-9a-f]{8}\.tmp")


@dataclass(frozen=True)
class AuditOptions:
    """What is kept.

    Attributes:
        by_chance: Frames of the reservoir: every frame of the stream has the same chance.
        unsure: Further frames, drawn by chance among those below *confidence*.
        confidence: Largest probability up to which a frame is unsure.
        most_bytes: Of all pictures together. Where they outgrow it, fewer are kept, drawn by chance again.
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
        if max(self.by_chance, self.unsure) > 10_000 or not 0 <= self.confidence <= 1:
            raise InputError(
                f"{self} is out of range", cure="Use up to 10000 frames and a confidence of 0 to 1."
            )


class AuditSampler:
    """Keeps frames in a folder, under a cap. A context manager: leaving it writes the index.

    A folder that holds an audit of the same model is gone on with: the drawing continues where its index ends,
    and labels beside it stay valid. Frames that were offered after the index was last written (2 % of all at
    most, when the process was killed) count as not offered.

    Args:
        folder: Made when missing; one that holds anything but an audit of this model is refused.
        labels: Of the model.
        identity: Of the model, for the record.
        options: How many. Only ``most_bytes`` and ``seed`` may differ from those of an earlier run. Where nothing
            of an earlier run fitted under its ``most_bytes``, the drawing begins anew, and what was offered
            before counts as frames that nobody can label.

    Attributes:
        options: As given.
        full: Not even one frame fits under the cap; nothing is kept.

    Raises:
        InputError: The model has no names of classes, the folder cannot be used, holds something else or
            another model's audit, is filled by another process now, or its index is damaged.
    """

    def __init__(
        self,
        folder: Path,
        labels: tuple[str, ...],
        identity: str,
        options: AuditOptions | None = None,
    ) -> None:
        if len(labels) < 2:
            raise InputError(
                f"the model names {len(labels)} classes, and an audit needs two that people can choose from",
                cure="Name a file of them: labels= of Runtime, or --labels FILE.",
            )
        self.options: AuditOptions = options or AuditOptions()
        self.full: bool = False
        self._folder, self._labels, self._identity = folder, labels, identity
        self._bits = np.random.PCG64(self.options.seed)
        rng = np.random.Generator(self._bits)
        self._reservoirs = {
            "chance": Reservoir(self.options.by_chance, rng),
            "unsure": Reservoir(self.options.unsure, rng),
        }
        self._bytes: dict[str, int] = {}
        self._gone: list[str] = []
        self._number = self._saved_at = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._unlock = weakref.finalize(self, os.close, _locked(folder))
            index = read_index(folder) if (folder / INDEX).exists() else None
            if index is None or not index.began:
                self._begin()
            else:
                self._resume(index)
        except OSError as error:
            raise InputError(
                f"the folder '{folder}' cannot be used: {error.strerror}", cure="Choose another."
            ) from error

    def _begin(self) -> None:
        others = [p.name for p in self._folder.iterdir() if not _TORN.fullmatch(p.name)]
        # a first start that failed may have left an index of nothing, and a kill pictures that it does not name
        if others and INDEX not in others:
            raise InputError(
                f"'{self._folder}' holds something that is no audit ('{min(others)}')",
                cure="Name a new folder.",
            )
        # before any picture: whenever this process ends, the folder says what it is
        self.save()
        self._clean()

    def _resume(self, index: Index) -> None:
        """Go on where *index* ends."""
        where = f"the audit in '{self._folder}'"
        if index.identity != self._identity or index.labels != self._labels:
            raise InputError(
                f"{where} is another model's ({index.identity[:19]}…, this one is {self._identity[:19]}…)",
                cure="Name a new folder: an accuracy holds for one model.",
            )
        wanted = {
            "by_chance": self.options.by_chance,
            "unsure": self.options.unsure,
            "confidence": self.options.confidence,
        }
        if changed := changed_options(index.asked, wanted):
            said = ", ".join(f"{n}={index.asked[n]:g}, now {wanted[n]:g}" for n in changed)
            raise InputError(
                f"{where} was begun with {said}", cure="Ask for the same, or name a new folder."
            )
        try:
            self._bits.state = numpy_state(index.generator)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise InputError(
                f"{where} has a damaged state of its drawing", cure="Name a new folder."
            ) from error
        self._number = max([index.number, *(int(Path(r.file).stem) for r in index.rows)])
        for name, reservoir in self._reservoirs.items():
            stratum, places = index.strata[name], reservoir.size
            reservoir.size, reservoir.offered = stratum.size, stratum.offered
            reservoir.lost = stratum.lost
            reservoir.kept = [row for row in index.rows if row.stratum == name]
            if len(reservoir.kept) < min(reservoir.size, reservoir.offered):
                raise InputError(
                    f"{where} keeps {len(reservoir.kept)} of {reservoir.offered} frames, and has"
                    f" {reservoir.size} places",
                    cure="Name a new folder.",
                )
            present = [row for row in reservoir.kept if (self._folder / row.file).is_file()]
            reservoir.forget(present)
            if places and not reservoir.size:
                # nothing fitted; with more bytes it may now
                reservoir.begin_anew(places)
            self._bytes |= {r.file: (self._folder / r.file).stat().st_size for r in present}
        self._clean()
        self._saved_at = self._drawn
        self._fit()

    def _clean(self) -> None:
        """Remove what a process that was killed left: pictures that no index names, and torn files."""
        for path in self._folder.iterdir():
            orphan = PICTURE.fullmatch(path.name) and path.name not in self._bytes
            if orphan or _TORN.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.save()
        finally:
            self._unlock()

    @property
    def offered(self) -> int:
        """Frames that were offered so far, those of earlier runs included."""
        return self._drawn + sum(reservoir.lost for reservoir in self._reservoirs.values())

    @property
    def _drawn(self) -> int:
        return sum(reservoir.offered for reservoir in self._reservoirs.values())

    @property
    def kept(self) -> int:
        """Frames that are kept now."""
        return sum(len(reservoir.kept) for reservoir in self._reservoirs.values())

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

        Raises:
            InputError: Another number of classes.
            OSError: The folder cannot be written. If it was the picture, the frame counts as not offered. If it
                was the index, which is written now and then, the frame counts and stays kept, and the next call
                writes the index. Either way the next frame may be offered.
        """
        if probabilities.shape != (len(self._labels),):
            raise InputError(
                f"probabilities of shape {list(probabilities.shape)} for {len(self._labels)} classes",
                cure="Give those of the model that the audit is of.",
            )
        if self.full or not np.isfinite(probabilities).all():
            return False
        # two strata: the unsure have a reservoir of their own and are not offered to the other
        is_unsure = (
            self.options.unsure > 0 and float(probabilities.max()) <= self.options.confidence
        )
        stratum = STRATA[is_unsure]
        reservoir = self._reservoirs[stratum]
        at = reservoir.place()
        if at is None:
            self._save_now_and_then()
            return False
        scores = largest(probabilities, _MOST_CLASSES)
        file = f"{self._number + 1:07d}.png"
        row = Row(file, int(probabilities.argmax()), scores, at_s, stratum)
        data = _png(frame)
        try:
            write_atomically(self._folder / file, data)
        except OSError:
            # it was offered to nobody, or the chances of all others would be wrong
            reservoir.offered -= 1
            raise
        self._number += 1
        self._bytes[file] = len(data)
        if at == len(reservoir.kept):
            reservoir.kept.append(row)
        else:
            self._let_go([reservoir.kept[at]])
            reservoir.kept[at] = row
        self._fit()
        self._save_now_and_then()
        return file in self._bytes

    def _let_go(self, rows: list[Row]) -> None:
        # the index on disk still names them: their files go when it does not any more
        self._gone += [row.file for row in rows]
        for row in rows:
            self._bytes.pop(row.file, None)

    def _fit(self) -> None:
        """Keep fewer frames where the pictures are larger than what they may hold."""
        asked = {"chance": self.options.by_chance, "unsure": max(1, self.options.unsure)}
        while sum(self._bytes.values()) > self.options.most_bytes:
            # both keep what they were asked for in the same proportion
            name = max(STRATA, key=lambda one: len(self._reservoirs[one].kept) / asked[one])
            self._let_go(self._reservoirs[name].shrink())
            self.full = not self._reservoirs["chance"].size
            self._saved_at = -1  # files have to go now

    def _save_now_and_then(self) -> None:
        """Write the index when the chances in it are off by more than 2 %: seldom, since cards wear out."""
        if self._drawn > 1.02 * self._saved_at:
            self.save()

    def save(self) -> None:
        """Write the index: what is kept, and with which chance. Call it at the end of a stream.

        Raises:
            OSError: The folder cannot be written; the index that was there is still there.
        """
        Index(
            identity=self._identity,
            labels=self._labels,
            rows=tuple(row for one in self._reservoirs.values() for row in one.kept),
            strata={
                n: Stratum(one.size, one.offered, one.lost) for n, one in self._reservoirs.items()
            },
            asked={
                "by_chance": self.options.by_chance,
                "unsure": self.options.unsure,
                "confidence": self.options.confidence,
            },
            number=self._number,
            generator=plain_state(self._bits.state),
        ).write(self._folder)
        self._saved_at = self._drawn
        for file in self._gone:
            with contextlib.suppress(OSError):
                (self._folder / file).unlink(missing_ok=True)
        self._gone.clear()


def _locked(folder: Path) -> int:
    """A handle of the folder that no other sampler has meanwhile."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(
            f"another process fills '{folder}' now", cure="Stop it, or name another folder."
        ) from error
    except OSError:
        pass  # a file system without locks
    return handle


def _png(frame: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
