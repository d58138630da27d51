"""What Ultralytics writes into its exports: ``names``, ``task`` and ``imgsz``.

In ONNX every value is Python's ``repr``; a TFLite file has them as JSON in ``metadata.json``, attached.
Its classifiers take pixels / 255 in RGB, the largest centered square, bilinear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from edgecv.artifact import ModelFile, Preprocess, onnx_entry
from edgecv.errors import InputError
from edgecv.foreign.attached import attached
from edgecv.foreign.labels import check_count
from edgecv.foreign.metadata import Edge

__all__ = ["read_attached", "read_onnx"]

_MEMBER: Final = "metadata.json"
_MAX_CHARACTERS: Final = 4 * 2**20
#: One entry of the repr of a dictionary of names; no backtracking over a text that is none.
_ENTRY = re.compile(
    r"\s*(\d{1,7})\s*:\s*(?:'((?:[^'\\\n]|\\[^\n])*+)'|\"((?:[^\"\\\n]|\\[^\n])*+)\")\s*(,|\})"
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_CONTROL: Final = {"n": "\n", "t": "\t", "r": "\r"}
_CURE: Final = "Give labels and preprocessing."

_Read = tuple[tuple[str, ...], Preprocess | None, tuple[str, ...]]


def read_onnx(file: ModelFile, edge: Edge) -> _Read:
    """Labels and preprocessing from ``metadata_props``.

    Raises:
        InputError: They do not fit the model.
        ValueError: They are damaged.
    """
    entries = onnx_entry.entries(file.body)
    if "names" not in entries:
        return (), None, ()
    said = {key: entries.get(key, b"").decode("utf-8", "replace") for key in ("task", "imgsz")}
    names = _parse_names(entries["names"].decode("utf-8", "replace"))
    return _read(names, said["task"], re.findall(r"\d{1,7}", said["imgsz"]), edge)


def read_attached(file: ModelFile, edge: Edge) -> _Read:
    """Labels and preprocessing from ``metadata.json``.

    Raises:
        InputError: They do not fit the model.
        ValueError: They are damaged.
    """
    content = attached(file).get(_MEMBER)
    if content is None:
        return (), None, ()
    values = json.loads(content)
    if not isinstance(values, dict) or "names" not in values:
        return (), None, ()
    names = values["names"]
    if isinstance(names, str):
        names = _parse_names(names)
    elif isinstance(names, list):
        names = {str(index): name for index, name in enumerate(names)}
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError("its names are no dictionary of texts")
    size = values.get("imgsz")
    sizes = re.findall(r"\d{1,7}", json.dumps(size)) if size is not None else []
    return _read(names, str(values.get("task", "")), sizes, edge)


def _read(names: Mapping[str, Any], task: str, sizes: list[str], edge: Edge) -> _Read:
    if task != "classify":
        raise InputError(f"its task is {task!r}, not 'classify'", cure=_CURE)
    labels: tuple[str, ...] = ()
    notes: list[str] = []
    if edge.classes is not None and names:
        wanted = [str(index) for index in range(len(names))]
        if set(wanted) != set(names):
            raise InputError("its names are not numbered from 0", cure=_CURE)
        try:
            check_count(names, edge.classes, "names")  # type: ignore[arg-type]
            labels = tuple(names[index] for index in wanted)
        except InputError as error:
            notes.append(error.what)
    preprocess = None
    if edge.picture is not None:
        said = tuple(map(int, sizes if len(sizes) != 1 else sizes * 2))
        if said in ((), edge.size):
            preprocess = Preprocess(edge.size, interpolation="bilinear")
        else:
            notes.append(f"its imgsz is {list(said)}, and the input takes {list(edge.size)}")
    return labels, preprocess, tuple(notes)


def _parse_names(text: str) -> dict[str, str]:
    """The repr of ``{0: 'cat', 1: "dog"}``, without evaluating anything.

    Raises:
        ValueError: It is something else.

    >>> _parse_names("{0: 'cat', 1: \\"dog's\\"}")
    {'0': 'cat', '1': "dog's"}
    """
    inner = text.strip()
    if len(inner) > _MAX_CHARACTERS or not inner.startswith("{"):
        raise ValueError(f"its names are {inner[:40]!r}, not a dictionary")
    found: dict[str, str] = {}
    at, behind = 1, "}" if inner == "{}" else ","
    while behind != "}":
        entry = _ENTRY.match(inner, at)
        if entry is None:
            raise ValueError(f"its names are damaged at {inner[at : at + 40]!r}")
        number, single, double, behind = entry.groups()
        found[number] = _ESCAPE.sub(_unescape, single if single is not None else double)
        at = entry.end()
    return found


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        # halves of a pair and numbers beyond Unicode are no characters
        return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
    return _CONTROL.get(code, code)
