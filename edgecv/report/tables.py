"""The tables of a report: one text for the terminal and the HTML page, so that they cannot disagree."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from edgecv.report.model import BackendRecord, FileRecord, MethodRow, Report
from edgecv.stats import Estimate, PairedRecord, non_inferiority

__all__ = ["Table", "print_table", "report_tables"]

NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        title: Above it.
        columns: Headings; the first column names the rows.
        rows: Cells, as many as columns in each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(estimate: Estimate | None) -> str:
    """Rate with its interval, in percent.

    >>> percent(Estimate(0.974, 0.96, 0.985, n=500, method="wilson"))
    '97.40 % [96.00, 98.50]'
    """
    if estimate is None:
        return NOTHING
    bounds = f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"
    return f"{100 * estimate.value:.2f} % {bounds}"


def points(estimate: Estimate) -> str:
    """Difference of rates with its interval, in percentage points.

    >>> points(Estimate(-0.001, -0.004, 0.002, n=500, method="tango"))
    '-0.10 [-0.40, +0.20]'
    """
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:+.2f} [{low:+.2f}, {high:+.2f}]"


def size(count: int | None) -> str:
    """Bytes for people.

    >>> size(123), size(123_456), size(12_345_678), size(None)
    ('123 B', '123.5 kB', '12.3 MB', '-')
    """
    if count is None:
        return NOTHING
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def milliseconds(value: float | None) -> str:
    """Three significant digits.

    >>> milliseconds(0.12345), milliseconds(12.345), milliseconds(1234.5), milliseconds(None)
    ('0.123 ms', '12.3 ms', '1234 ms', '-')
    """
    if value is None:
        return NOTHING
    if value <= 0:
        return "0 ms"
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{digits}f} ms"


def _flips(record: PairedRecord) -> str:
    return f"{record.to_wrong} / {record.to_right} / {record.wrong_to_other_wrong}"


def _agreement(row: BackendRecord) -> str:
    return percent(row.agreement.rate) if row.agreement else NOTHING


def _largest(row: BackendRecord) -> str:
    if row.agreement is None:
        return NOTHING
    steps = row.agreement.largest_steps
    plain = f"{row.agreement.largest_difference:.3g}"
    return plain if steps is None else f"{plain} ({steps:.1f} steps)"


def _ties(row: BackendRecord) -> str:
    if row.agreement is None:
        return NOTHING
    return f"{row.agreement.disagreements} ({row.agreement.near_ties} near-ties)"


def _latency(which: str) -> Callable[[FileRecord], str]:
    def cell(record: FileRecord) -> str:
        return (
            NOTHING
            if record.latency is None
            else milliseconds(getattr(record.latency, which).value)
        )

    return cell


def _ratio(row: BackendRecord) -> str:
    whole, small = row.float_file.latency, row.int8_file.latency
    if whole is None or small is None or not whole.p50.value:
        return NOTHING
    return f"{small.p50.value / whole.p50.value:.2f}"


def _both(cell: Callable[[FileRecord], str]) -> Callable[[BackendRecord], str]:
    """int8 first, float after a slash."""
    return lambda row: f"{cell(row.int8_file)} / {cell(row.float_file)}"


def _main_rows(report: Report) -> list[tuple[str, Callable[[BackendRecord], str]]]:
    rows: list[tuple[str, Callable[[BackendRecord], str]]] = [
        ("top-1 float", lambda row: percent(row.float_file.top1)),
        ("top-1 int8", lambda row: percent(row.int8_file.top1)),
        ("int8 - float, points", lambda row: points(row.paired.difference)),
        (f"loss under {100 * report.margin:g} point", lambda row: _gate(row, report.margin)),
        ("flips to wrong/right/other", lambda row: _flips(row.paired)),
        ("agreement with torch int8", _agreement),
        ("disagreements", _ties),
        ("largest score difference", _largest),
        ("file int8 / float", _both(lambda file: size(file.model_bytes))),
        ("load int8 / float", _both(lambda file: milliseconds(file.load_ms))),
        ("p50 int8 / float", _both(_latency("p50"))),
        ("p90 int8 / float", _both(_latency("p90"))),
        ("p99 int8 / float", _both(_latency("p99"))),
        ("p50 int8 : float", _ratio),
        ("peak RSS int8 / float", _both(lambda file: size(file.peak_rss_bytes))),
        ("executed, int8 file", lambda row: row.int8_file.executed_precision),
        ("executed, float file", lambda row: row.float_file.executed_precision),
    ]
    # a row that nobody measured is noise
    return [
        (name, cell)
        for name, cell in rows
        if any(set(cell(row)) - {" ", "/", NOTHING} for row in report.backends)
    ]


def _gate(row: BackendRecord, margin: float) -> str:
    decision = non_inferiority(row.paired, margin)
    return (
        decision.outcome if decision.needed is None else f"undecided, needs N = {decision.needed}"
    )


def report_tables(report: Report) -> tuple[Table, ...]:
    """Tables of a report: engines first, then ways to quantize."""
    tables = []
    if report.backends:
        rows = tuple(
            (name, *(cell(row) for row in report.backends)) for name, cell in _main_rows(report)
        )
        heading = ("", *(row.backend for row in report.backends))
        tables.append(Table(f"{report.model}, {report.pictures} test pictures", heading, rows))
    if report.methods:
        columns = ("", "bits", "top-1", "minus float, points", "flips to wrong/right/other")
        methods = tuple(_method(row) for row in report.methods)
        tables.append(Table("QAT beside post-training quantization", columns, methods))
    return tuple(tables)


def _method(row: MethodRow) -> tuple[str, ...]:
    return (
        row.method,
        str(row.bits),
        percent(row.top1),
        points(row.paired.difference),
        _flips(row.paired),
    )


def print_table(what: Report | Table | Sequence[Table], stream: TextIO | None = None) -> None:
    """Print tables, with rich when it is installed and *stream* is a terminal, else as plain text.

    Args:
        what: A report, one table or several.
        stream: Standard output by default.
    """
    out = sys.stdout if stream is None else stream
    tables = report_tables(what) if isinstance(what, Report) else what
    for table in [tables] if isinstance(tables, Table) else tables:
        if not (out.isatty() and _print_rich(table, out)):
            out.write(_plain(table, getattr(out, "encoding", None) or "utf-8"))


def _print_rich(table: Table, out: TextIO) -> bool:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "rich":
            return False
        raise
    # Text, not str: a class named "[red]" is a name, not markup
    drawn = RichTable(title=Text(table.title), box=box.SIMPLE_HEAD, title_justify="left")
    for number, heading in enumerate(table.columns):
        drawn.add_column(Text(heading), justify="left" if number == 0 else "right")
    for row in table.rows:
        drawn.add_row(*(Text(_printable(cell, out.encoding or "utf-8")) for cell in row))
    Console(file=out).print(drawn)
    return True


def _printable(text: str, encoding: str) -> str:
    """What the stream's encoding cannot carry, as escapes."""
    return text.encode(encoding, errors="backslashreplace").decode(encoding)


def _plain(table: Table, encoding: str) -> str:
    """Aligned columns."""
    cells = [[_printable(c, encoding) for c in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(table.columns))]
    lines = [_printable(table.title, encoding)]
    for number, row in enumerate(cells):
        parts = [row[0].ljust(widths[0])]
        parts += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(parts).rstrip())
        if number == 0:
            lines.append("-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(lines) + "\n\n"
