"""What a data set is: pictures with a class, a split, a group and a digest each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from edgecv.errors import InputError

__all__ = ["SPLITS", "Dataset", "Item"]

#: Names of the splits, in the order in which they are listed.
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Item:
    """One picture.

    Attributes:
        path: The file; absolute.
        label: Index into :attr:`Dataset.classes`.
        split: ``"train"``, ``"val"``, ``"test"``, or ``""`` when the tree has no splits.
        group: Name of the original that this picture was made from. Pictures of one group stay in
            one split and are resampled together. Without ``groups.csv`` each picture is its own
            group.
        sha256: Hex digest of the file's bytes.
    """

    path: Path
    label: int
    split: str
    group: str
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """Pictures of at least two classes.

    Attributes:
        root: The folder; absolute.
        classes: Class names (folder names, any string), sorted; their index is the label.
        items: Sorted by relative path.
        skipped: Relative paths of files that were not used: no picture by their extension, or a
            picture outside the class folders.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    skipped: tuple[str, ...] = ()

    def relative(self, item: Item) -> str:
        """Path of *item* below the root, with ``/`` on every system."""
        return PurePosixPath(item.path.relative_to(self.root)).as_posix()

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that hold pictures, in the order of :data:`SPLITS`; ``("",)`` without splits."""
        present = {item.split for item in self.items}
        return tuple(name for name in ("", *SPLITS) if name in present)

    def of(self, split: str) -> tuple[Item, ...]:
        """Pictures of one split.

        Raises:
            InputError: The data set has no such split.
        """
        chosen = tuple(item for item in self.items if item.split == split)
        if not chosen:
            have = ", ".join(name or "(none)" for name in self.splits)
            raise InputError(
                f"'{self.root}' has no split {split!r}; its splits: {have}",
                cure="Name one of them, or make the folder.",
            )
        return chosen

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know but is no error: one line each."""
        lines = []
        if self.skipped:
            endings = Counter(PurePosixPath(p).suffix.lower() or "none" for p in self.skipped)
            kinds = ", ".join(f"{count} x {ending}" for ending, count in sorted(endings.items()))
            lines.append(
                f"{len(self.skipped)} files were skipped ({kinds}), e.g. '{self.skipped[0]}'"
            )
        twins = _conflicts(self.items)
        if twins:
            first, second = (self.relative(item) for item in twins[0])
            lines.append(
                f"{len(twins)} pictures are filed under two classes, e.g. '{first}' and '{second}'"
            )
        return tuple(lines)

    def relabel(self, labels: Sequence[str]) -> Dataset:
        """The same pictures with labels that index a model's classes.

        Args:
            labels: Names of the model's outputs, in order.

        Raises:
            InputError: A class that the model does not know.
        """
        index = {name: i for i, name in enumerate(labels)}
        unknown = [name for name in self.classes if name not in index]
        if unknown:
            raise InputError(
                f"the model does not know the class {unknown[0]!r} of '{self.root}'",
                cure=f"Its {len(labels)} classes begin with {', '.join(map(repr, labels[:5]))}."
                " Name the folders like them.",
            )
        moved = [replace(item, label=index[self.classes[item.label]]) for item in self.items]
        return replace(self, classes=tuple(labels), items=tuple(moved))


def _conflicts(items: Iterable[Item]) -> list[tuple[Item, Item]]:
    """Pairs of pictures with the same content and different labels."""
    first: dict[str, Item] = {}
    pairs = []
    for item in items:
        known = first.setdefault(item.sha256, item)
        if known.label != item.label:
            pairs.append((known, item))
    return pairs
