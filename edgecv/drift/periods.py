"""Which part of the stream labels stand for, where a camera went on after people had labeled.

Labels given on Monday are a random part of the frames that were kept until Monday, and of nothing later. So each
time labels are given, the file beside them remembers how far the stream was (a mark). Between two marks lies a period:
its number of offered frames is known, and what is labeled of it is a random part of it (post-stratification, Holt
and Smith 1979).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edgecv.drift.audit_index import STRATA
from edgecv.drift.numbers import Reader

__all__ = ["Mark", "Part", "parts", "with_mark"]

#: Marks that lie closer together than this are thinned out: a camera that runs while people label would leave one
#: per label, and periods without any frame.
_APART: Final = 1.1
_MOST_MARKS: Final = 10_000


@dataclass(frozen=True)
class Mark:
    """How far the stream was when a label was given.

    Attributes:
        number: Of the newest picture then.
        offered: Stratum → frames offered until then.
    """

    number: int
    offered: Mapping[str, int]

    @property
    def total(self) -> int:
        """Frames offered until then."""
        return sum(self.offered.values())

    def as_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        return {"number": self.number, "offered": dict(self.offered)}

    @classmethod
    def from_json(cls, document: Any) -> tuple[Mark, ...]:
        """Read a list of marks.

        Raises:
            ModelLoadError: It is none.
        """
        top = Reader({"marks": document})
        if not isinstance(document, list) or len(document) > _MOST_MARKS:
            raise top.wrong("marks", "a list of marks")
        found = []
        for position, one in enumerate(document):
            mark = Reader(one, f"marks[{position}]")
            offered = mark.object("offered")
            counts = {name: offered.integer(name, 0, 10**15) for name in STRATA}
            found.append(cls(mark.integer("number", 0, 10**12 - 1), counts))
        return tuple(sorted(found, key=lambda mark: (mark.number, mark.total)))


def with_mark(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    """*marks* and one more, where the stream has gone on since the last one.

    The last one gives way where the new one is less than a tenth of the stream beyond the one before it: then some
    frames of one period of at most a tenth had less time to get a label than its others.

    >>> marks = ()
    >>> for count in (1000, 1000, 1050, 1090, 1200, 1250):
    ...     marks = with_mark(marks, Mark(count, {"chance": count}))
    >>> [mark.total for mark in marks]
    [1000, 1090, 1200, 1250]
    """
    if marks and mark.total <= marks[-1].total:
        return marks
    if len(marks) > 1 and mark.total < _APART * marks[-2].total:
        marks = marks[:-1]
    return (*marks, mark)


class Part(NamedTuple):
    """A part of a stratum: a period, or several of which every kept frame is labeled."""

    offered: int
    kept: int
    labeled: tuple[int, ...]
    """Numbers of the pictures."""

    @property
    def whole(self) -> bool:
        """Every kept frame is labeled."""
        return len(self.labeled) == self.kept


def parts(
    frames: Mapping[int, bool], bounds: Iterable[tuple[int, int]], offered: int, lost: int
) -> list[Part]:
    """Divide a stratum.

    Neighbors of which every kept frame is labeled are one part: together they are a random sample like each alone.

    Args:
        frames: Number of each kept picture → whether it is labeled.
        bounds: Number of the newest picture, and frames offered, at each mark; in order.
        offered: Frames in all.
        lost: The first so many of them are represented by no picture, kept or not.

    >>> parts({3: True, 8: False, 9: True}, [(5, 100)], 300, 0)
    [Part(offered=100, kept=1, labeled=(3,)), Part(offered=200, kept=2, labeled=(9,))]
    """
    found: list[Part] = [Part(lost, 0, ())] if lost else []
    newest, begin, gathered = max(frames, default=0), lost, len(found)
    below = -1
    for number, until in [*bounds, (newest, offered)]:
        last = max(number, below)
        # pictures that somebody removed may have taken frames off what is offered
        end = min(max(until, begin), max(offered, begin))
        inside = {n: labeled for n, labeled in frames.items() if below < n <= last}
        count = max(end - begin, len(inside))
        below, begin = last, end
        if not count:
            continue
        part = Part(count, len(inside), tuple(n for n, labeled in inside.items() if labeled))
        if len(found) > gathered and part.whole and found[-1].whole:
            before = found.pop()
            part = Part(
                before.offered + count, before.kept + part.kept, before.labeled + part.labeled
            )
        found.append(part)
    return found
