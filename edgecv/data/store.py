"""Identity of a data set and its record in the run folder (``data.json``)."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from edgecv.artifact import write_atomically
from edgecv.data.model import SPLITS, Dataset, Item
from edgecv.errors import InputError

__all__ = ["SCHEMA", "fingerprint", "load_json", "save_json"]

#: Version of ``data.json``; the first number changes when old readers must refuse.
SCHEMA = "1.0"


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 over the sorted (relative path, class name, content digest) of every picture.

    It depends neither on where the folder lies nor on splits, groups or the order of classes.
    """
    digest = hashlib.sha256()
    for item in sorted(dataset.items, key=dataset.relative):
        row = [dataset.relative(item), dataset.classes[item.label], item.sha256]
        # JSON keeps fields apart whatever a name contains, and is ASCII even for undecodable names
        digest.update(json.dumps(row).encode("ascii") + b"\n")
    return digest.hexdigest()


def save_json(dataset: Dataset, path: Path) -> None:
    """Write ``data.json`` atomically: root, classes, fingerprint, and every picture.

    Raises:
        InputError: The folder of *path* cannot be written.
    """
    record = {
        "schema": SCHEMA,
        "root": str(dataset.root),
        "classes": list(dataset.classes),
        "fingerprint": fingerprint(dataset),
        "items": [
            {
                "file": dataset.relative(item),
                "label": item.label,
                "split": item.split,
                "group": item.group,
                "sha256": item.sha256,
            }
            for item in dataset.items
        ],
    }
    try:
        write_atomically(path, (json.dumps(record, indent=1) + "\n").encode("ascii"))
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written: {error.strerror}", cure="Choose another folder."
        ) from error


def load_json(path: Path, *, root: str | Path | None = None) -> Dataset:
    """Read a record of :func:`save_json`; the pictures themselves are not read.

    Args:
        path: The record.
        root: Where the pictures lie now; by default where they lay then.

    Raises:
        InputError: Missing, damaged, of a newer version, or its fingerprint does not fit its
        content.
    """
    try:
        record = json.loads(path.read_text(encoding="ascii"))
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be read: {error.strerror}", cure="Check the path."
        ) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(record, dict):
        raise _damaged(path, "no JSON object")
    version = str(record.get("schema", ""))
    if version.split(".")[0] != SCHEMA.split(".")[0]:
        raise InputError(
            f"'{path}' has the schema {version!r}; this edgecv reads {SCHEMA}",
            cure="Upgrade with: pip install --upgrade edgecv",
        )
    try:
        dataset = _parse(record, root)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if fingerprint(dataset) != record.get("fingerprint"):
        raise _damaged(path, "its fingerprint does not fit its content")
    return dataset


def _parse(record: dict[str, Any], root: str | Path | None) -> Dataset:
    base = Path(os.path.abspath(record["root"] if root is None else root))  # noqa: PTH100
    classes = tuple(str(name) for name in record["classes"])
    items = tuple(_parse_item(row, base, len(classes)) for row in record["items"])
    return Dataset(base, classes, items)


def _parse_item(row: dict[str, Any], base: Path, classes: int) -> Item:
    relative = PurePosixPath(row["file"])
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"'{relative}' leads out of the folder")
    if type(row["label"]) is not int or not 0 <= row["label"] < classes:
        raise ValueError(f"label {row['label']!r} of {classes} classes")
    if row["split"] not in ("", *SPLITS):
        raise ValueError(f"split {row['split']!r}")
    return Item(base / relative, row["label"], row["split"], str(row["group"]), str(row["sha256"]))


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"'{path}' is not a data record: {reason}", cure="Scan the folder again.")
