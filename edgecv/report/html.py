"""``report.html``: one file, no outside resources, readable on a phone, light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv.report.confusion_table import confusions, matrix
from edgecv.report.json_form import write_text
from edgecv.report.model import BackendRecord, ClassRow, Report
from edgecv.report.plots import plots
from edgecv.report.rendering import render
from edgecv.report.tables import milliseconds, percent, report_tables, size
from edgecv.stats import Estimate, non_inferiority

__all__ = ["render_html", "write_html"]

#: Above this many classes only the classes that lose most are listed.
_CLASS_LIMIT = 40


@dataclass(frozen=True)
class _Fact:
    """A number worth a box of its own."""

    name: str
    value: str
    detail: str
    mood: str = ""


def write_html(report: Report, path: Path) -> None:
    """Write the page atomically; a file of that name is replaced.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        InputError: The folder cannot be written.
    """
    write_text(render_html(report), path)


def render_html(report: Report) -> str:
    """The page as text; every name in it is escaped.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    confusion = report.confusion
    return render(
        "report.html.j2",
        report=report,
        facts=_facts(report),
        plots=plots(report),
        tables=report_tables(report),
        classes=_classes(report),
        hidden_classes=max(0, len(report.per_class) - _CLASS_LIMIT),
        matrix=[] if confusion is None else matrix(report.classes, confusion.counts),
        confusions=[] if confusion is None else confusions(report.classes, confusion.counts),
        environment=list(_flatten(report.environment)),
    )


def _facts(report: Report) -> list[_Fact]:
    """The headline numbers: the worst engine of each kind."""
    rows = report.backends
    if not rows:
        return []
    worst = min(rows, key=lambda row: row.paired.difference.value)
    outcomes = [non_inferiority(row.paired, report.margin).outcome for row in rows]
    mood = "bad" if "failed" in outcomes else "unsure" if "undecided" in outcomes else "good"
    facts = [
        _Fact(
            "int8 minus float",
            f"{100 * worst.paired.difference.value:+.2f} points",
            f"{_bounds(worst.paired.difference)}; {worst.backend}, the lowest of {len(rows)}",
            mood,
        )
    ]
    agreeing = [(row.agreement.rate, row.backend) for row in rows if row.agreement is not None]
    if agreeing:
        rate, backend = min(agreeing, key=lambda pair: pair[0].value)
        detail = f"{_bounds(rate)}; {backend}, the lowest of {len(agreeing)}"
        facts.append(_Fact("agreement with torch", f"{100 * rate.value:.2f} %", detail))
    smallest = min(rows, key=lambda row: row.int8_file.model_bytes)
    ratio = smallest.float_file.model_bytes / max(1, smallest.int8_file.model_bytes)
    detail = f"{ratio:.1f} times smaller than float, {smallest.target}"
    facts.append(_Fact("int8 file", size(smallest.int8_file.model_bytes), detail))
    fastest = min(rows, key=_median)
    if fastest.int8_file.latency is not None:
        facts.append(
            _Fact(
                "p50 latency",
                milliseconds(_median(fastest)),
                f"int8, {fastest.backend}, the fastest",
            )
        )
    return facts


def _bounds(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.confidence:g} % interval {low:.2f} to {high:.2f}"


def _median(row: BackendRecord) -> float:
    return row.int8_file.latency.p50.value if row.int8_file.latency else math.inf


@dataclass(frozen=True)
class _ClassLine:
    label: str
    float_text: str
    int8_text: str
    float_width: float
    int8_width: float
    change: str


def _classes(report: Report) -> list[_ClassLine]:
    """Per-class lines; of very many classes those that lose most."""
    rows = list(report.per_class)
    if len(rows) > _CLASS_LIMIT:
        rows = sorted(rows, key=_change)[:_CLASS_LIMIT]
    return [
        _ClassLine(
            row.label,
            percent(row.float_recall),
            percent(row.int8_recall),
            100 * row.float_recall.value if row.float_recall else 0.0,
            100 * row.int8_recall.value if row.int8_recall else 0.0,
            f"{100 * _change(row):+.1f}" if row.float_recall and row.int8_recall else "",
        )
        for row in rows
    ]


def _change(row: ClassRow) -> float:
    return _number(row.int8_recall) - _number(row.float_recall)


def _number(estimate: Estimate | None) -> float:
    return 0.0 if estimate is None else estimate.value


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON values as (dotted name, text) pairs."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flatten(part, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)):
        yield prefix, ", ".join(map(str, value)) or "none"
    else:
        yield prefix, "unknown" if value is None else str(value)
