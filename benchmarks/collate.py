"""Make ``docs/benchmarks.md`` of the records that are committed, the rows where we are behind among them.

Run: ``python benchmarks/collate.py``; ``--check`` only says whether the page is what it would be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from record import Record, Row, machine, read

ROOT = Path(__file__).resolve().parents[1]
RECORDS, PAGE = ROOT / "benchmarks" / "records", ROOT / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Made by `python benchmarks/collate.py` from the records in `benchmarks/records`; a test holds it to them. In every row
less is better. A bar is what the row has to stay at or below. Ratios and differences are taken within one run,
against the yardstick that the row names, so that they mean something on a busy machine, too; absolute times belong to
the machine above them and are not compared across machines.
"""


def records(folder: Path) -> list[Record]:
    """All of a folder, by machine and name."""
    found = [read(path) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda record: (machine(record.environment), record.benchmark))


def page(found: Iterable[Record]) -> str:
    """The page, Markdown."""
    lines = [HEAD]
    found = list(found)
    behind = [(record, row) for record in found for row in record.rows if row.behind]
    lines.append("## Where we are behind\n")
    if behind:
        lines += ["| benchmark | row | measured | bar | machine |", "|---|---|---|---|---|"]
        for record, row in behind:
            cells = [record.benchmark, row.name, quantity(row), number(row.bar or 0.0)]
            lines.append(table_row([*cells, machine(record.environment)]))
    else:
        lines.append("Nowhere: every bar below is held.")
    lines.append("")
    last = ""
    for record in found:
        if machine(record.environment) != last:
            last = machine(record.environment)
            lines += [f"## {last}", "", *hardware(record.environment), ""]
        lines += section(record)
    return "\n".join(lines).rstrip("\n") + "\n"


def section(record: Record) -> Iterator[str]:
    """One benchmark on one machine."""
    yield f"### {record.benchmark}"
    yield ""
    yield f"`{record.command}`, {record.date}; {software(record.environment)}."
    if not record.valid:
        yield ""
        yield f"**Absolute times are not to be trusted:** {' '.join(record.reasons)}"
    yield ""
    yield from ("| what | measured | bar | |", "|---|---|---|---|")
    for row in record.rows:
        bar = "" if row.bar is None else number(row.bar)
        verdict = "" if row.bar is None else "**missed**; " if row.behind else "held; "
        yield table_row([row.name, quantity(row), bar, (verdict + row.note).rstrip("; ")])
    yield ""


def hardware(env: dict[str, Any]) -> list[str]:
    """What decides how fast a machine is, as far as it says."""
    int8 = env["int8_instructions"]
    facts = [
        f"{env['memory_bytes'] / 2**30:.1f} GiB of memory" if env["memory_bytes"] else "",
        f"int8 instructions: {', '.join(int8) or 'none'}" if int8 is not None else "",
        f"governor {env['governor']}" if env["governor"] else "",
        env["system"],
        "**emulated**" if env["emulated"] else "",
    ]
    return ["; ".join(fact for fact in facts if fact) + "."]


def software(env: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in sorted(env["packages"].items()))
    return f"Python {env['python']}, {packages}"


def quantity(row: Row) -> str:
    return number(row.value) if row.unit == "ratio" else f"{number(row.value)} {row.unit}"


def number(value: float) -> str:
    """Three significant digits, never in scientific notation.

    >>> [number(v) for v in (0.5134, 12.345, 143.07, 1234.5, 7.0, 0.0)]
    ['0.513', '12.3', '143', '1234', '7', '0']
    """
    if value == 0:
        return "0"
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.4f}" if "e" in text else text


def table_row(cells: Iterable[str]) -> str:
    """Cells of a Markdown table; a bar inside one would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where they differ")
    options = parser.parse_args()
    made = page(records(RECORDS))
    if options.check:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == made
        print(f"{PAGE.relative_to(ROOT)} {'is up to date' if same else 'is not; run me'}")
        return 0 if same else 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
