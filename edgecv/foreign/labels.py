"""Lists of class names: given by the caller, in a text file, or in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecv.errors import InputError
from edgecv.foreign.edge import count_classes
from edgecv.foreign.files import read_text
from edgecv.foreign.reading import LabelsSource
from edgecv.spec.types import TensorSpec

__all__ = ["check_count", "parse_lines", "read_label_file", "read_labels"]

_FORMS = 'Use a list of names, or an object of index and name: {"0": "cat", "1": "dog"}.'


def read_labels(source: LabelsSource, outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The caller's labels, as many as the model has classes.

    Args:
        source: Names, or the path of a file of them; see :func:`read_label_file`.
        outputs: Of the model.

    Raises:
        InputError: Unreadable, not names, or another number of them than classes.
    """
    if isinstance(source, str | Path):
        labels, where = read_label_file(source), f"'{source}'"
    else:
        labels, where = _names(source, "labels"), "labels"
    classes = count_classes(outputs)
    if classes is None:
        shapes = ", ".join(f"{spec.name!r} {list(spec.shape)}" for spec in outputs)
        raise InputError(
            f"labels are for a classifier, which has one output of scores; this model has {shapes}",
            cure="Leave the labels out, and run arrays with .infer.",
        )
    check_count(labels, classes, where)
    return labels


def read_label_file(path: str | Path) -> tuple[str, ...]:
    """Labels from a file.

    Text has one label per line (UTF-8, with or without BOM; CRLF or LF); JSON has a list of names or
    an object of index and name, and is known by its first character or its suffix ``.json``.

    Raises:
        InputError: Unreadable, empty, an empty line between labels, or JSON of another form.
    """
    text = read_text(path)
    suffix_json = Path(path).suffix.lower() == ".json"
    if suffix_json or text.lstrip()[:1] in ("[", "{"):
        try:
            return _from_json(json.loads(text, object_pairs_hook=_once), f"'{path}'")
        except (ValueError, RecursionError) as error:
            # a list of labels may begin with a bracket
            if suffix_json:
                raise InputError(f"'{path}' is not JSON: {error}", cure=_FORMS) from error
    return parse_lines(text, f"'{path}'")


def parse_lines(text: str, where: str) -> tuple[str, ...]:
    """One label per line; empty lines at the end do not count.

    Args:
        text: The file.
        where: What to call it in errors.

    Raises:
        InputError: No label, or an empty line before the last one; it is named.

    >>> parse_lines("cat\\r\\ngreat white shark\\r\\n", "labels.txt")
    ('cat', 'great white shark')
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")
    labels = tuple(line.strip() for line in lines)
    if labels == ("",):
        raise InputError(f"{where} is empty", cure="Write one label per line.")
    if "" in labels:
        raise InputError(
            f"{where} has an empty line {labels.index('') + 1} of {len(labels)}",
            cure="Every line is a class: fill it, or remove it if it is none.",
        )
    return labels


def check_count(labels: Sequence[str], classes: int, where: str) -> None:
    """Refuse labels that are not one per class.

    Raises:
        InputError: Another number; the case of ImageNet's background class says what to do.
    """
    if len(labels) == classes:
        return
    what = f"{where}: {len(labels)} labels for a model with {classes} classes"
    if (len(labels), classes) == (1001, 1000):
        raise InputError(
            f"{what}: this is TensorFlow's ImageNet list with the extra class 0 'background' (its first"
            f" label is {labels[0]!r}), and the model has no such class",
            cure="Remove the first line.",
        )
    if (len(labels), classes) == (1000, 1001):
        raise InputError(
            f"{what}: the model has TensorFlow's extra class 0 'background' of ImageNet, and the list"
            f" begins with {labels[0]!r}",
            cure="Put a first line 'background' before the others.",
        )
    raise InputError(what, cure="Give the list that belongs to this model, one label per class.")


class _DuplicateError(ValueError):
    """A key that an object has twice; JSON readers would take the last in silence."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateError(f"the key {max(keys, key=keys.count)!r} is there twice")
    return found


def _from_json(values: Any, where: str) -> tuple[str, ...]:
    if isinstance(values, list):
        return _names(values, where)
    if not isinstance(values, dict):
        raise InputError(f"{where} holds {type(values).__name__}, not labels", cure=_FORMS)
    wanted = [str(index) for index in range(len(values))]
    missing = next((index for index in wanted if index not in values), None)
    if missing is not None:
        odd = next(key for key in values if key not in wanted)
        raise InputError(
            f"{where} has {len(values)} labels and no index {missing} (it has {odd!r})", cure=_FORMS
        )
    return _names([values[index] for index in wanted], where)


def _names(values: Sequence[Any], where: str) -> tuple[str, ...]:
    if not isinstance(values, Sequence) or isinstance(values, bytes):
        raise InputError(f"{where} is {type(values).__name__}, not a list of names", cure=_FORMS)
    odd = next((i for i, v in enumerate(values) if not isinstance(v, str) or not v.strip()), None)
    if odd is not None:
        raise InputError(f"{where}: label {odd} is {values[odd]!r}, not a name", cure=_FORMS)
    if not values:
        raise InputError(f"{where} holds no label", cure=_FORMS)
    return tuple(values)
