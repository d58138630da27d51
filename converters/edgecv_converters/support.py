"""Which operators each target takes, from the registry itself: what ``--list-ops`` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgecv_converters.folding import FOLDABLE
from edgecv_converters.passes.drop_noops import NOOPS
from edgecv_converters.reader import OPSETS
from edgecv_converters.targets import TARGETS, load
from edgecv_converters.tflite.rules import Rule, default_registry

__all__ = ["FORMATS", "Row", "rows", "to_markdown", "to_text"]

#: Names of the forms of the list.
FORMATS: Final = ("table", "markdown")
_WHOLE_MODELS = "tests/unit/converters/test_opsets.py"
_HEAD = ("operator", "dtype", "target", "ONNX definitions", "verified by", "nearest supported form")


@dataclass(frozen=True)
class Row:
    """One operator, in one type, for one target.

    Attributes:
        op: ONNX operator, its domain in front where it is not ONNX's own.
        dtype: ``"int8"`` or ``"float32"``.
        target: Name of the target.
        versions: since_version of the definitions that are known.
        tests: Files that hold it against ONNX Runtime.
        nearest: The form that is supported.
        kernel: Where the kernel's conditions were read.
    """

    op: str
    dtype: str
    target: str
    versions: tuple[int, ...]
    tests: tuple[str, ...]
    nearest: str
    kernel: str


def rows() -> tuple[Row, ...]:
    """Every operator that has a rule, by name and type, and a row for each engine that needs no rules."""
    rules: dict[int, Rule] = {id(rule): rule for _, rule in default_registry()}
    found = [
        Row(
            f"{rule.domain}::{rule.op}" if rule.domain else rule.op,
            dtype,
            "tflite",
            rule.versions,
            tuple(test.strip() for test in tests.split(",")),
            rule.nearest,
            rule.kernel,
        )
        for rule in rules.values()
        for dtype, tests in rule.verified.items()
    ]
    whole = [_engines_own(target) for target in TARGETS if target != "tflite"]
    return (*sorted(found, key=lambda row: (row.op, row.dtype)), *whole)


def _engines_own(target: str) -> Row:
    """The operators stay as they are: what is verified is whole models, not operators."""
    engine, said = next(iter(load(target).engines.items()))
    form = f"whatever {engine} reads: it takes ONNX operators itself ({said.reads})"
    return Row("any", "int8, float32", target, (), (_WHOLE_MODELS,), form, said.source)


def to_text() -> str:
    """The list for a terminal."""
    lines = [_HEAD, *(_cells(row) for row in rows())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD) - 1)]
    table = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]])
        for line in lines
    ]
    return "\n".join([*table, "", *_beside_the_table()])


def to_markdown() -> str:
    """The list as ``docs/support.md``."""
    head = (*_HEAD, "kernel")
    table = [
        _line(head),
        _line(["---"] * len(head)),
        *(_line([*_cells(row), row.kernel]) for row in rows()),
    ]
    beside = [f"- {text}" for text in _beside_the_table()]
    return "\n".join(
        [
            "# Operators",
            "",
            "Made by `edgecv convert --list-ops markdown`; a test compares. A row says that the named tests hold",
            "the operator, in that type, against ONNX Runtime. A rule refuses with the value that it found.",
            "",
            *table,
            "",
            *beside,
            "",
        ]
    )


def _cells(row: Row) -> list[str]:
    versions = ", ".join(map(str, row.versions)) or f"{OPSETS[0]} to {OPSETS[1]}"
    return [row.op, row.dtype, row.target, versions, ", ".join(row.tests), row.nearest]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _beside_the_table() -> list[str]:
    """What no row says."""
    first, last = OPSETS
    return [
        f"ONNX operator sets {first} to {last}; for tflite a definition that is not listed is refused.",
        "DequantizeLinear and QuantizeLinear of int8 and uint8 become parameters of tensors, Constant a constant.",
        "Read as one operator: the nine of a layer normalization (ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div,"
        " Mul, Add) as LayerNormalization; x * 0.5 * (1 + Erf(x / sqrt(2))) as Gelu, without the quantizers inside.",
        f"Dropped where they do nothing: {', '.join(sorted(NOOPS))}.",
        f"Computed at conversion where the result is constant: {', '.join(sorted(FOLDABLE))}. An If with a constant"
        " condition is the branch that it takes.",
    ]
