"""What each target and its engines accept, as versioned data beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from edgecv.errors import UnsupportedError

__all__ = ["TARGETS", "Engine", "TargetSpec", "load"]

#: Known targets.
TARGETS: Final = ("tflite", "openvino", "onnx")


@dataclass(frozen=True)
class Engine:
    """One engine of a target.

    Attributes:
        name: As in ``edgecv.backends``.
        delegate: What runs the fast kernels, or "".
        inside: dtype → operators that it takes; everything else falls back to slower kernels, silently.
        limits: Named bounds beyond which an operator that it takes falls back.
        reads: The form of ONNX that it reads, where it reads ONNX itself; else "".
        source: Where all of this was read or measured.
    """

    name: str
    delegate: str
    inside: Mapping[str, frozenset[str]]
    limits: Mapping[str, Any]
    reads: str = ""
    source: str = ""


@dataclass(frozen=True)
class TargetSpec:
    """One target.

    Attributes:
        target: Its name.
        suffixes: Of the files it consists of, the main one first.
        leave_out: Groups of quantizers that it leaves out (:mod:`edgecv_converters.leave_out`).
        engines: By name.
        operator_versions: Operator → dtype or feature → lowest version that carries the meaning.
    """

    target: str
    suffixes: tuple[str, ...]
    leave_out: tuple[str, ...]
    engines: Mapping[str, Engine]
    operator_versions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@cache
def load(target: str) -> TargetSpec:
    """Read the description of *target*.

    Raises:
        UnsupportedError: There is none.

    >>> load("tflite").suffixes, load("openvino").leave_out
    (('.tflite',), ('inside_silu', 'inside_gelu', 'before_softmax'))
    """
    if target not in TARGETS:
        raise UnsupportedError(f"unknown target {target!r}", cure=f"Targets: {', '.join(TARGETS)}.")
    text = files("edgecv_converters.targets").joinpath(f"{target}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    engines = {
        name: Engine(
            name,
            said.get("delegate", ""),
            {dtype: frozenset(ops) for dtype, ops in said["inside"].items()},
            said["limits"],
            said.get("reads", ""),
            said.get("source", ""),
        )
        for name, said in data["engines"].items()
    }
    return TargetSpec(
        data["target"],
        tuple(data["suffixes"]),
        tuple(data["leave_out"]),
        engines,
        data.get("operator_versions", {}).get("versions", {}),
    )
