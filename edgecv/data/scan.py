"""From an ImageFolder tree to a data set, with every check that is cheap."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from edgecv.data.decode import extensions, in_threads
from edgecv.data.model import SPLITS, Dataset, Item
from edgecv.errors import InputError

__all__ = ["GROUPS_FILE", "find_pictures", "scan"]

#: Optional table at the root: columns ``file`` (relative POSIX path) and ``group``.
GROUPS_FILE = "groups.csv"
_SPLIT_NAMES = {name: name for name in SPLITS} | {"valid": "val", "validation": "val"}
#: Left behind by macOS archives; holds resource forks, no pictures.
_IGNORED = frozenset({"__MACOSX"})


@dataclass(frozen=True)
class _Found:
    """A picture before it is read."""

    path: Path
    relative: str
    label: str
    split: str


def scan(root: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Read an ImageFolder tree.

    Either class folders lie directly in *root*, or ``train``, ``val`` (also ``valid``,
    ``validation``) and ``test`` above them; ``val`` and ``test`` are optional. Hidden files are
    ignored, files of other kinds are listed in :attr:`Dataset.skipped`. ``groups.csv`` at the root
    may name the original of each picture. Every file is read and digested, but not decoded: see
    :func:`~edgecv.data.decode.verify`.

    Args:
        root: The folder.
        progress: Called with (done, total) now and then.

    Raises:
        InputError: Missing, no folder, empty, one class only, classes differing between splits, a
            damaged ``groups.csv``, an unreadable file, the same content or the same group in two
            splits.
    """
    folder = _folder(root)
    found, skipped, classes = _walk_tree(folder)
    groups = _read_groups(folder, {f.relative for f in found})
    digests = in_threads(_digest, [f.path for f in found], progress)
    index = {name: i for i, name in enumerate(classes)}
    items = tuple(
        Item(f.path, index[f.label], f.split, groups.get(f.relative, f.relative), digest)
        for f, digest in zip(found, digests, strict=True)
    )
    dataset = Dataset(folder, classes, items, tuple(skipped))
    _refuse_leaks(dataset)
    return dataset


def find_pictures(folder: str | Path) -> tuple[Path, ...]:
    """All pictures below *folder*, whatever its structure (calibration needs no classes).

    Raises:
        InputError: Missing, no folder, or without pictures.
    """
    base = _folder(folder)
    pictures, _ = _pictures(base)
    if not pictures:
        raise _no_pictures(base)
    return tuple(pictures)


def _folder(root: str | Path) -> Path:
    # not resolve(): a user's link stays the name that messages and records show
    folder = Path(os.path.abspath(root))  # noqa: PTH100
    if not folder.exists():
        raise InputError(f"the folder '{root}' does not exist", cure="Check the path.")
    if not folder.is_dir():
        raise InputError(
            f"'{root}' is not a folder", cure="Name the folder that holds the classes."
        )
    return folder


def _no_pictures(folder: Path) -> InputError:
    known = ", ".join(sorted(extensions())[:6])
    return InputError(
        f"no pictures in folder '{folder}'",
        cure=f"Fill one folder per class with pictures ({known}, ...).",
    )


def _walk_tree(root: Path) -> tuple[list[_Found], list[str], tuple[str, ...]]:
    """Pictures sorted by relative path, files skipped, class names."""
    splits = _split_folders(root)
    found: list[_Found] = []
    skipped: list[str] = []
    classes: dict[str, set[str]] = {}
    for split, folder in splits.items():
        names = set()
        for class_folder in _subfolders(folder):
            pictures, others = _pictures(class_folder)
            skipped += [_relative(path, root) for path in others]
            if not pictures:
                raise InputError(
                    f"the class folder '{class_folder}' holds no pictures",
                    cure="Fill it or remove it.",
                )
            names.add(class_folder.name)
            found += [_Found(p, _relative(p, root), class_folder.name, split) for p in pictures]
        classes[split] = names
        if found:
            skipped += [_relative(path, root) for path in _loose_pictures(folder)]
    if not found:
        _explain_emptiness(root, splits)
    every = tuple(sorted(set().union(*classes.values())))
    _check_classes(root, splits, classes, every)
    return sorted(found, key=lambda f: f.relative), sorted(skipped), every


def _loose_pictures(folder: Path) -> list[Path]:
    """Pictures beside the class folders: they have no class."""
    known = extensions()
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in known and path.is_file() and not path.name.startswith(".")
    ]


def _explain_emptiness(root: Path, splits: dict[str, Path]) -> NoReturn:
    for folder in splits.values():
        if _loose_pictures(folder):
            raise InputError(
                f"the pictures of '{folder}' lie in no class folder",
                cure="Put each picture into a folder named after its class.",
            )
    raise _no_pictures(root)


def _check_classes(
    root: Path, splits: dict[str, Path], classes: dict[str, set[str]], every: tuple[str, ...]
) -> None:
    for split, names in classes.items():
        missing = [name for name in every if name not in names]
        if missing:
            raise InputError(
                f"'{splits[split]}' has no folder for the class {missing[0]!r} of another split",
                cure="Give every split the same class folders.",
            )
    if len(every) == 1:
        raise InputError(
            f"'{root}' has one class only: {every[0]!r}",
            cure="A classifier needs at least two class folders.",
        )


def _split_folders(root: Path) -> dict[str, Path]:
    """Canonical split name → folder; ``{"": root}`` when class folders lie directly in the root."""
    folders = _subfolders(root)
    named = [f for f in folders if f.name.lower() in _SPLIT_NAMES]
    others = [f for f in folders if f not in named]
    # a class may be called "train": splits hold folders, classes hold pictures
    if not any(_subfolders(f) for f in named) or (others and len(named) == 1):
        return {"": root}
    if others:
        raise InputError(
            f"'{others[0]}' lies beside the splits of '{root}' and is none itself",
            cure="Move it elsewhere; splits are named train, val and test.",
        )
    splits: dict[str, Path] = {}
    for folder in named:
        name = _SPLIT_NAMES[folder.name.lower()]
        if name in splits:
            raise InputError(
                f"'{root}' has two folders for the split {name!r}: '{splits[name].name}' and"
                f" '{folder.name}'",
                cure="Keep one of them.",
            )
        splits[name] = folder
    return {name: splits[name] for name in SPLITS if name in splits}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in _IGNORED
    )


def _pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """Pictures and other files below *folder*, links followed, each folder entered once."""
    known = extensions()
    pictures: list[Path] = []
    others: list[Path] = []
    entered = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:  # a link back up would never end
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _IGNORED)
        for name in sorted(files):
            path = Path(place, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in known:
                others.append(path)
            elif path.is_file():
                pictures.append(path)
            elif path.is_symlink():
                raise InputError(f"'{path}' is a broken link", cure="Mend or remove it.")
            else:  # a pipe or a socket would block the reader for ever
                others.append(path)
    return pictures, others


def _relative(path: Path, root: Path) -> str:
    return PurePosixPath(path.relative_to(root)).as_posix()


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be read: {error.strerror}", cure="Check its permissions."
        ) from error


def _read_groups(root: Path, files: set[str]) -> dict[str, str]:
    """Relative path → group, from ``groups.csv`` when it is there."""
    path = root / GROUPS_FILE
    if not path.is_file():
        return {}
    groups: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not {"file", "group"} <= set(reader.fieldnames or ()):
                raise InputError(
                    f"'{path}' has the columns {reader.fieldnames}",
                    cure="Its first line must be: file,group",
                )
            for row in reader:
                _add_group(groups, row["file"], row["group"], f"line {reader.line_num} of '{path}'")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"'{path}' is not a CSV file in UTF-8: {error}", cure="Save it again."
        ) from error
    unknown = sorted(set(groups) - files)
    if unknown:
        raise InputError(
            f"'{path}' names '{unknown[0]}', which is no picture of '{root}'",
            cure="Use paths relative to the folder, with forward slashes, e.g. train/cat/1.jpg.",
        )
    return groups


def _add_group(groups: dict[str, str], file: str | None, group: str | None, where: str) -> None:
    if not file or not group:
        raise InputError(
            f"{where} lacks a file or a group", cure="Fill both columns or drop the line."
        )
    if groups.setdefault(file, group) != group:
        raise InputError(
            f"{where} puts '{file}' into {group!r} after {groups[file]!r}",
            cure="Name each file once.",
        )


def _refuse_leaks(dataset: Dataset) -> None:
    """The same content, or the same group, in two splits makes every accuracy too good."""
    contents: dict[str, Item] = {}
    groups: dict[str, Item] = {}
    for item in dataset.items:
        twin = contents.setdefault(item.sha256, item)
        sibling = groups.setdefault(item.group, item)
        if twin.split != item.split:
            raise InputError(
                f"'{dataset.relative(twin)}' and '{dataset.relative(item)}' are the same picture"
                " in two splits",
                cure="Remove one of them.",
            )
        if sibling.split != item.split:
            raise InputError(
                f"the group {item.group!r} has '{dataset.relative(sibling)}' in one split and"
                f" '{dataset.relative(item)}' in another",
                cure="Keep every group in one split.",
            )
