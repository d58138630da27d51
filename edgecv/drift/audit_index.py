"""The index of an audit on disk: which frames are kept, with which chance, and how the drawing goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.drift.numbers import Reader
from edgecv.errors import InputError, ModelLoadError

__all__ = [
    "INDEX",
    "PICTURE",
    "SCHEMA",
    "STRATA",
    "Index",
    "Row",
    "Stratum",
    "changed_options",
    "largest",
    "read_index",
]

INDEX: Final = "audit.json"
SCHEMA: Final = "edgecv.audit/1.0"
#: Names that the sampler gives to pictures; nothing else in the folder is ever removed.
PICTURE: Final = re.compile(r"\d{7,12}\.png")
#: Every frame belongs to one of them: those of which the model was sure, and those of which it was not.
STRATA: Final = ("chance", "unsure")
#: An index of ours with 10,000 frames is a tenth of this.
_MOST_BYTES: Final = 64 << 20
_GENERATOR: Final = ("state", "inc", "has_uint32", "uinteger")
_NEW: Final = "Let the camera fill a new folder."


@dataclass(frozen=True)
class Row:
    """A kept frame.

    Attributes:
        file: Name in the folder, as :data:`PICTURE` says.
        answer: The model's class.
        scores: [class, probability] of the largest ones.
        at_s: Its time, as it was given.
        stratum: One of :data:`STRATA`.
    """

    file: str
    answer: int
    scores: tuple[tuple[int, float], ...]
    at_s: float
    stratum: str


@dataclass(frozen=True)
class Stratum:
    """How a reservoir stands.

    Attributes:
        size: Frames that it keeps at most; it shrinks where the pictures outgrow their bound.
        offered: Frames of which it drew.
        lost: Frames offered before it had to begin anew: no kept frame stands for them.
    """

    size: int
    offered: int
    lost: int = 0

    @property
    def chance(self) -> float:
        """With which any frame offered so far is among the kept."""
        return min(1.0, self.size / self.offered) if self.offered else 0.0


@dataclass(frozen=True)
class Index:
    """All of ``audit.json``.

    Attributes:
        identity: Digest of the model.
        labels: Names of its classes.
        rows: The frames.
        strata: Name → how it stands.
        asked: What the drawing was asked for at its beginning (``by_chance``, ``unsure``, ``confidence``).
        number: Of the newest picture.
        generator: State of PCG64 (``state``, ``inc``, ``has_uint32``, ``uinteger``).
    """

    identity: str
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    strata: Mapping[str, Stratum]
    asked: Mapping[str, float]
    number: int
    generator: Mapping[str, int]

    @property
    def began(self) -> bool:
        """Whether any frame was ever offered."""
        return bool(
            self.rows or self.number or any(s.offered or s.lost for s in self.strata.values())
        )

    def write(self, folder: Path) -> None:
        """Put it into *folder*, in one piece.

        Raises:
            OSError: The folder cannot be written; the index that was there is still there.
        """
        frames = [
            {
                "file": row.file,
                "answer": row.answer,
                "probabilities": row.scores,
                "at_s": row.at_s,
                "inclusion": self.strata[row.stratum].chance,
                "stratum": row.stratum,
            }
            for row in self.rows
        ]
        head = {
            "schema": SCHEMA,
            "identity": self.identity,
            "labels": self.labels,
            "offered": {name: stratum.offered for name, stratum in self.strata.items()},
            "sampling": {
                "asked": dict(self.asked),
                "size": {name: stratum.size for name, stratum in self.strata.items()},
                "lost": {name: stratum.lost for name, stratum in self.strata.items()},
                "number": self.number,
                # 128 bits: more than other readers of JSON keep of a number
                "generator": {name: hex(value) for name, value in self.generator.items()},
            },
        }
        # a line per frame: a thousand lines of numbers each would help nobody
        lines = ",\n".join(json.dumps(frame, separators=(",", ":")) for frame in frames)
        text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "frames": [\n{lines}\n]\n}}\n'
        write_atomically(folder / INDEX, text.encode())


def read_index(folder: Path) -> Index:
    """Read and check an index.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path = folder / INDEX
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"'{path}' is larger than any index of ours", cure=_NEW)
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{path}' cannot be read: {error}",
            cure="Name a folder that an audit has filled (edgecv camera --audit FOLDER).",
        ) from error
    try:
        return _parse(document, path)
    except ModelLoadError as error:
        reason = error.what.removeprefix("its drift profile is damaged: ")
        raise InputError(f"'{path}' is damaged: {reason}", cure=_NEW) from error


def _parse(document: Any, path: Path) -> Index:
    top = Reader(document)
    if top.text("schema") != SCHEMA:
        raise InputError(f"'{path}' is of kind {top.text('schema')!r}", cure=f"Give a {SCHEMA}.")
    labels = top.take("labels")
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise top.wrong("labels", "a list of names")
    if len(labels) < 2:
        raise InputError(f"'{path}' names no classes", cure=_NEW)
    sampling, offered = top.object("sampling"), top.object("offered")
    size, asked, generator = (sampling.object(name) for name in ("size", "asked", "generator"))
    # indexes from before there was such a count lost nothing
    lost = sampling.object("lost") if "lost" in sampling.keys() else None  # noqa: SIM118
    strata = {
        name: Stratum(
            size.integer(name, 0, 10**6),
            offered.integer(name, 0, 10**15),
            0 if lost is None else lost.integer(name, 0, 10**15),
        )
        for name in STRATA
    }
    rows = top.take("frames")
    if not isinstance(rows, list):
        raise top.wrong("frames", "a list")
    frames = tuple(_row(Reader(row, f"frames[{i}]"), len(labels)) for i, row in enumerate(rows))
    if len({row.file for row in frames}) != len(frames):
        raise InputError(f"'{path}' is damaged: it names a file twice", cure=_NEW)
    for name, stratum in strata.items():
        count = sum(row.stratum == name for row in frames)
        if count > min(stratum.size, stratum.offered):
            raise InputError(
                f"'{path}' is damaged: it keeps {count} frames of {stratum.offered} offered to"
                f" {stratum.size} places ({name})",
                cure=_NEW,
            )
    return Index(
        identity=top.text("identity"),
        labels=tuple(labels),
        rows=frames,
        strata=strata,
        asked={
            "by_chance": asked.integer("by_chance", 1, 10**6),
            "unsure": asked.integer("unsure", 0, 10**6),
            "confidence": asked.number("confidence", 0, 1),
        },
        number=sampling.integer("number", 0, 10**12 - 1),
        generator={name: _hexadecimal(generator, name) for name in _GENERATOR},
    )


def _row(row: Reader, classes: int) -> Row:
    file = row.text("file")
    if not PICTURE.fullmatch(file):
        # a path that leads out of the folder is none of ours
        raise row.wrong("file", "the name of a picture of ours")
    pairs = row.array("probabilities", (None, 2), low=0.0, high=max(classes - 1, 1.001))
    columns, values = pairs[:, 0], np.minimum(pairs[:, 1], 1.0)
    if (columns != np.rint(columns)).any() or columns.max() > classes - 1:
        raise row.wrong("probabilities", "a list of [class, probability]")
    stratum = row.text("stratum")
    if stratum not in STRATA:
        raise row.wrong("stratum", " or ".join(STRATA))
    return Row(
        file,
        row.integer("answer", 0, classes - 1),
        tuple(zip(columns.astype(int).tolist(), values.tolist(), strict=True)),
        row.number("at_s"),
        stratum,
    )


def _hexadecimal(values: Reader, key: str) -> int:
    text = values.text(key)
    if not re.fullmatch(r"0x[0-9a-f]{1,32}", text):
        raise values.wrong(key, "a number of at most 128 bits")
    return int(text, 16)


def largest(probabilities: npt.NDArray[Any], most: int) -> tuple[tuple[int, float], ...]:
    """(class, probability) of the largest ones, four digits each."""
    order = np.argsort(-probabilities, kind="stable")[:most]
    return tuple((int(i), float(f"{probabilities[i]:.4g}")) for i in order)


def changed_options(asked: Mapping[str, float], wanted: Mapping[str, float]) -> Sequence[str]:
    """Names of those that differ; mixing two kinds of drawing would leave no chance true."""
    return [name for name in asked if asked[name] != wanted[name]]
