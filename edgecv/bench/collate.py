"""The records of a folder as one table: Markdown, CSV, HTML."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgecv.bench.record import load
from edgecv.errors import EdgecvError, InputError, MissingExtraError

__all__ = ["Collation", "collate", "to_csv", "to_html", "to_markdown"]

_COLUMNS = (
    "board", "model", "precision", "engine", "threads", "scenario", "p50_ms", "p90_ms", "p99_ms", "throughput_per_s",
    "cpu_ms", "peak_rss_mb", "file_mb", "valid", "created_utc", "record",
)  # fmt: skip


@dataclass(frozen=True)
class Collation:
    """What a folder holds.

    Attributes:
        rows: One per record, sorted by board, model, engine; None where a figure is not stated.
        records: The records, in the same order.
        refused: File name → why it is not among them.
    """

    rows: tuple[dict[str, Any], ...]
    records: tuple[dict[str, Any], ...]
    refused: dict[str, str]


def collate(folder: Path) -> Collation:
    """Read every ``*.json`` below a folder; one that is no record is named, not fatal.

    Raises:
        InputError: No folder, or no record in it.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder", cure="Name the folder of the records.")
    found, refused = [], {}
    for path in sorted(folder.rglob("*.json")):
        try:
            record = load(path)
        except EdgecvError as error:
            refused[path.relative_to(folder).as_posix()] = str(error)
            continue
        found.append((_row(record, path.relative_to(folder).as_posix()), record))
    if not found:
        raise InputError(
            f"'{folder}' holds no benchmark record"
            + (f" ({len(refused)} other JSON files)" if refused else ""),
            cure="Make some with 'edgecv bench run'.",
        )
    found.sort(key=lambda pair: [str(pair[0][key]) for key in _COLUMNS[:6]])
    return Collation(tuple(r for r, _ in found), tuple(d for _, d in found), refused)


def _row(record: dict[str, Any], name: str) -> dict[str, Any]:
    facts = record.get("board", {}).get("facts", {})
    latency = record["latency_ms"]

    def stated(key: str) -> float | None:
        return latency[key]["value"] if latency[key].get("stated", True) else None

    peak, size = record["memory"].get("peak_rss_bytes"), record["model"].get("file_bytes")
    board = facts.get("model") or facts.get("cores") or "unnamed"
    place = Path(name).parent
    return {
        # a fleet has several boards of one model, each with a folder of its own
        "board": board if place == Path() else f"{board} ({place.as_posix()})",
        "model": record["model"]["name"],
        "precision": record["model"].get("precision") or "",
        "engine": f"{record['engine']['backend']} {record['engine']['version']}",
        "threads": record["engine"].get("threads"),
        "scenario": record.get("scenario", {}).get("name", ""),
        "p50_ms": latency["p50"]["value"],
        "p90_ms": stated("p90"),
        "p99_ms": stated("p99"),
        "throughput_per_s": record.get("throughput_per_s"),
        "cpu_ms": record.get("cpu_ms_per_inference"),
        "peak_rss_mb": None if peak is None else peak / 1e6,
        "file_mb": None if size is None else size / 1e6,
        "valid": record["validity"]["valid"],
        "created_utc": record.get("created_utc", ""),
        "record": name,
    }


def to_csv(collation: Collation) -> str:
    """One line per record; names with units in the first line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(collation.rows)
    return stream.getvalue()


def to_markdown(collation: Collation) -> str:
    """A table per board; invalid measurements are struck out, their reasons below."""
    parts = []
    for board in dict.fromkeys(row["board"] for row in collation.rows):
        parts.append(f"## {_cell(board)}\n")
        head = [
            "model",
            "engine",
            "threads",
            "scenario",
            "p50 ms",
            "p90",
            "p99",
            "1/s",
            "peak MB",
            "file MB",
        ]
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for row in collation.rows:
            if row["board"] != board:
                continue
            cells = [row["model"], row["engine"], row["threads"], row["scenario"]]
            cells += [_figure(row[k], 3) for k in ("p50_ms", "p90_ms", "p99_ms")]
            cells += [_figure(row[k], 1) for k in ("throughput_per_s", "peak_rss_mb", "file_mb")]
            texts = [_cell(cell) for cell in cells]
            if not row["valid"]:
                texts = [f"~~{text}~~" for text in texts]
            lines.append("| " + " | ".join(texts) + " |")
        parts.append("\n".join(lines) + "\n")
    notes = _notes(collation)
    if notes:
        parts.append("\n".join(f"- {_cell(note)}" for note in notes) + "\n")
    return "\n".join(parts)


def to_html(collation: Collation) -> str:
    """One file without outside resources; every name in it is escaped.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise MissingExtraError.of("jinja2", "report") from error
    from edgecv.report.plots import block_medians, latency_ranges

    boards = {row["board"] for row in collation.rows}
    names = [
        f"{row['model']}\n{row['engine']}, {row['threads']} thread(s), {row['scenario']}"
        + (f"\n{row['board']}" if len(boards) > 1 else "")
        for row in collation.rows
    ]
    marks = [_marks(record["latency_ms"]) for record in collation.records]
    colors = ["int8" if row["precision"] == "int8" else "float" for row in collation.rows]
    plots = [
        latency_ranges(names, marks, colors),
        block_medians(names, [record.get("block_p50_ms") or [m[0]] for record, m in
                              zip(collation.records, marks, strict=True)]),
    ]  # fmt: skip
    source = resources.files("edgecv.bench").joinpath("collate.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(source).render(
        rows=collation.rows,
        # one board is named above the table
        columns=_COLUMNS[1 if len(boards) == 1 else 0 : -2],
        board=boards.pop() if len(boards) == 1 else "",
        plots=plots,
        notes=_notes(collation),
        figure=_shown,
    )


def _marks(latency: dict[str, Any]) -> tuple[float, float, float]:
    p50, p90, p99 = (float(latency[name]["value"]) for name in ("p50", "p90", "p99"))
    return p50, p90, p99


def _notes(collation: Collation) -> list[str]:
    """Reasons of invalid measurements, and files that were left out."""
    found = []
    for row, record in zip(collation.rows, collation.records, strict=True):
        if not row["valid"]:
            reasons = " ".join(map(str, record["validity"].get("reasons", [])))
            found.append(f"Not valid: {row['record']}: {reasons}")
    return found + [f"Left out: {name}: {reason}" for name, reason in collation.refused.items()]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _figure(value, 3) if isinstance(value, float) or value is None else str(value)


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _cell(value: Any) -> str:
    """Text that cannot break a Markdown table or become markup."""
    text = " ".join(str(value).split())
    for mark in "\\|*_`<>[]~":
        text = text.replace(mark, f"\\{mark}")
    return text
