"""``model_info``, as openvino-model-api writes and reads it in OpenVINO's ``rt_info`` and in ONNX.

Values are in units of a grey level, and apply after the channels were put in order; the reader gets
OpenCV's BGR, and ``reverse_input_channels`` makes RGB of it. Labels are joined by spaces. The xml is
searched, never parsed, so that nothing in a hostile one can act.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from typing import Final

from edgecv.artifact import ModelFile, Preprocess, onnx_entry
from edgecv.errors import InputError
from edgecv.foreign.edge import picture_size
from edgecv.foreign.labels import check_count
from edgecv.foreign.metadata import Edge

__all__ = ["read_onnx", "read_xml"]

_OPEN, _CLOSE = b"<model_info>", b"</model_info>"
_VALUE = re.compile(rb'<([A-Za-z_]\w{0,63})\s+value="([^"]*)"\s*/>')
_PREFIX: Final = "model_info "
#: model-api's reading of a boolean.
_TRUE: Final = ("True", "YES")
#: How its names of resizing are said here; "crop" is the largest centered square.
_RESIZE: Final = {"standard": "stretch", "crop": "shortest"}
_CURE: Final = "Give the preprocessing."
#: Keys without which nothing is said of preprocessing.
_TELLING: Final = ("mean_values", "scale_values", "reverse_input_channels", "resize_type")

_Read = tuple[tuple[str, ...], Preprocess | None, tuple[str, ...]]


def read_xml(file: ModelFile, edge: Edge) -> _Read:
    """Labels and preprocessing from an IR's ``rt_info``, and why something was not used."""
    start = file.body.rfind(_OPEN)
    end = file.body.find(_CLOSE, start)
    if start < 0 or end < 0:
        return (), None, ()
    pairs = _VALUE.findall(file.body, start, end)
    return _read({_text(name): html.unescape(_text(value)) for name, value in pairs}, edge)


def read_onnx(file: ModelFile, edge: Edge) -> _Read:
    """Labels and preprocessing from ONNX's ``metadata_props``, and why something was not used.

    Raises:
        ValueError: The file is damaged.
    """
    entries = onnx_entry.entries(file.body)
    own = {key: value for key, value in entries.items() if key.startswith(_PREFIX)}
    return _read({key.removeprefix(_PREFIX): _text(own[key]) for key in own}, edge)


def _read(info: Mapping[str, str], edge: Edge) -> _Read:
    notes: list[str] = []
    labels: tuple[str, ...] = ()
    preprocess = None
    try:
        labels = _labels(info, edge)
    except InputError as error:
        notes.append(error.what)
    try:
        preprocess = _preprocess(info, edge)
    except InputError as error:
        notes.append(error.what)
    return labels, preprocess, tuple(notes)


def _labels(info: Mapping[str, str], edge: Edge) -> tuple[str, ...]:
    labels = tuple(info.get("labels", "").split())
    if labels and edge.classes is not None:
        check_count(labels, edge.classes, "model_info")
        return labels
    return ()


def _preprocess(info: Mapping[str, str], edge: Edge) -> Preprocess | None:
    if edge.picture is None or not any(key in info for key in _TELLING):
        return None
    kind = info.get("model_type", "Classification")
    # Ultralytics says YOLO of every task, and resize_type only where it is no classifier
    if kind not in ("Classification", "YOLO"):
        raise InputError(f"its model_type is {kind!r}, no classifier", cure=_CURE)
    if info.get("embedded_processing") in _TRUE:
        raise InputError("its preprocessing is a part of the graph", cure=_CURE)
    resize = info.get("resize_type", "crop" if kind == "YOLO" else "standard")
    if resize not in _RESIZE:
        raise InputError(f"its resize_type is {resize!r}, which edgecv does not do", cure=_CURE)
    mean, std = _triple(info, "mean_values", 0.0), _triple(info, "scale_values", 1.0)
    if min(std) <= 0:
        raise InputError(f"its scale_values are {std}", cure=_CURE)
    return Preprocess(
        size=picture_size(edge.picture),
        resize=_RESIZE[resize],
        interpolation="bilinear",
        color="rgb" if info.get("reverse_input_channels") in _TRUE else "bgr",
        mean=mean,
        std=std,
    )


def _triple(info: Mapping[str, str], key: str, default: float) -> tuple[float, float, float]:
    texts = info.get(key, "").replace(",", " ").split() or [str(default)]
    try:
        values = [float(text) / 255 for text in texts[:4]]
    except ValueError as error:
        raise InputError(f"its {key} are {info[key]!r}", cure=_CURE) from error
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise InputError(f"its {key} are {info[key]!r}", cure=_CURE)
    one, two, three = values if len(values) == 3 else values * 3
    return one, two, three


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
