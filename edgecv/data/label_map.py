"""From the names of folders to the classes of a model, which are rarely written alike."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edgecv.data.model import Dataset
from edgecv.errors import InputError
from edgecv.foreign.files import read_text

__all__ = ["map_classes", "match_classes", "read_label_map"]

_FORMS: Final = (
    'Use JSON, {"folder": "label"}, or lines of two columns: folder,label (a tab in .tsv files).'
)
_HEADERS: Final = (("folder", "label"), ("folder", "class"), ("class", "label"))
_SHOWN: Final = 5


def read_label_map(path: str | Path) -> dict[str, str | int]:
    """Folder name → label, or index of the class.

    JSON is an object; CSV (commas) and TSV (tabs) have two columns, and may begin with a line
    ``folder,label``.

    Raises:
        InputError: Unreadable, of another form, or a folder that is there twice.
    """
    text = read_text(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".json" or (suffix not in (".csv", ".tsv") and text.lstrip()[:1] == "{"):
        pairs = _from_json(text, path)
    else:
        tabs = suffix == ".tsv" or (suffix != ".csv" and "\t" in text.partition("\n")[0])
        pairs = _from_table(text, "\t" if tabs else ",", path)
    found: dict[str, str | int] = {}
    for folder, label in pairs:
        if not isinstance(label, str | int) or isinstance(label, bool) or label == "":
            raise InputError(f"'{path}' maps {folder!r} to {label!r}, no label", cure=_FORMS)
        if folder in found:
            raise InputError(f"'{path}' names the folder {folder!r} twice", cure="Name it once.")
        found[folder] = label
    if not found:
        raise InputError(f"'{path}' maps no folder", cure=_FORMS)
    return found


def map_classes(
    dataset: Dataset, labels: Sequence[str], mapping: Mapping[str, str | int]
) -> Dataset:
    """The pictures with labels that index a model's classes, by a map that names every folder.

    Several folders may be the same class.

    Args:
        dataset: Pictures by folder.
        labels: Of the model, in order.
        mapping: Folder → label or index; folders that *dataset* does not have do not matter.

    Raises:
        InputError: A folder without an entry, or an entry that is no class of the model, or several.
    """
    missing = [name for name in dataset.classes if name not in mapping]
    if missing:
        shown = ", ".join(map(repr, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
        raise InputError(
            f"the label map lacks {len(missing)} of {len(dataset.classes)} folders: {shown}",
            cure="Map every folder, or remove the folder.",
        )
    index = [_find(mapping[name], labels, name) for name in dataset.classes]
    items = tuple(replace(item, label=index[item.label]) for item in dataset.items)
    return replace(dataset, classes=tuple(labels), items=items)


def match_classes(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """The pictures with labels that index a model's classes, by name alone.

    A folder is the label of that name, or the only one whose first synonym it is: ``garbage_truck``
    finds "garbage truck, dustcart".

    Raises:
        InputError: A folder whose name is no label of the model, or several.
    """
    plain: dict[str, set[str]] = {}
    for label in labels:
        plain.setdefault(_plain(label), set()).add(label)
    exact = set(labels)
    mapping: dict[str, str | int] = {}
    for name in dataset.classes:
        near = plain.get(_plain(name), set())
        mapping[name] = name if name in exact or len(near) != 1 else next(iter(near))
    return map_classes(dataset, labels, mapping)


def _plain(name: str) -> str:
    return name.split(",")[0].strip().lower().replace("_", " ")


def _find(label: str | int, labels: Sequence[str], folder: str) -> int:
    if isinstance(label, int):
        if not 0 <= label < len(labels):
            raise InputError(
                f"the folder {folder!r} is class {label}, and the model has {len(labels)}",
                cure=f"Use 0 to {len(labels) - 1}.",
            )
        return label
    places = [i for i, name in enumerate(labels) if name == label]
    if len(places) == 1:
        return places[0]
    if places:
        raise InputError(
            f"the folder {folder!r} is {label!r}, which the model has as classes"
            f" {', '.join(map(str, places))}",
            cure=f'Say which one, by its index, in --label-map FILE: {{"{folder}": {places[0]}}}.',
        )
    near = difflib.get_close_matches(label, labels, n=3, cutoff=0.5) or list(labels[:_SHOWN])
    raise InputError(
        f"the model does not know the class {label!r} of the folder {folder!r}",
        cure=f"Among its {len(labels)} classes are {', '.join(map(repr, near))}. Say which class each"
        " folder is with --label-map FILE, or name the folders like the classes.",
    )


def _from_json(text: str, path: str | Path) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not JSON: {error}", cure=_FORMS) from error
    # an object has become a list of pairs, so that one inside it shows as a list
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise InputError(f"'{path}' is not an object of folders and labels", cure=_FORMS)
    return pairs


def _from_table(text: str, separator: str, path: str | Path) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"'{path}' is not a table: {error}", cure=_FORMS) from error
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        if len(row) != 2:
            raise InputError(
                f"row {number} of '{path}' has {len(row)} columns, not 2",
                cure=f'{_FORMS} A label that holds a comma stands in quotes: tench,"tench, fish".',
            )
        pairs.append((row[0].strip(), row[1].strip()))
    if pairs and tuple(text.lower() for text in pairs[0]) in _HEADERS:
        del pairs[0]
    return pairs
