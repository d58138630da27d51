"""The page of benchmarks is what its records say, and records read back as they were written."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from edgecv.measure import Watch

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("record", "collate"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import record

    yield record
    sys.modules.pop("record", None)
    sys.modules.pop("collate", None)


@pytest.fixture
def collate(record: Any) -> Any:
    import collate

    return collate


def test_the_page_is_made_of_the_records(collate: Any) -> None:
    found = collate.records(collate.RECORDS)
    assert {"preprocess", "runtime_cost"} <= {record.benchmark for record in found}
    assert collate.PAGE.read_text(encoding="utf-8") == collate.page(found)


def test_a_record_reads_back(record: Any, tmp_path: Path) -> None:
    rows = [record.Row("a", 0.5, "ratio", 1.0, "note", {"x_ms": 1.0}), record.Row("b", 3.0, "µs")]
    path = record.write(tmp_path, "example", "python example.py", rows, Watch())
    found = record.read(path)
    assert (found.benchmark, found.command, found.rows) == (
        "example", "python example.py", tuple(rows),
    )  # fmt: skip
    assert found.valid == (not found.reasons)
    assert "node" not in found.environment
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "format": 2}), encoding="utf-8")
    with pytest.raises(ValueError, match="format 1"):
        record.read(path)


def test_rows_behind_come_first(record: Any, collate: Any, tmp_path: Path) -> None:
    rows = [
        record.Row("slow thing", 1.2, "ratio", 1.0, "a | b"),
        record.Row("good thing", 4.0, "µs", 5.0),
        record.Row("bare fact", 123.4, "MB"),
    ]
    record.write(tmp_path, "example", "python example.py", rows, Watch())
    text = collate.page(collate.records(tmp_path))
    behind, rest = text.split("### example")
    assert "| example | slow thing | 1.2 | 1 |" in behind
    assert "good thing" not in behind
    assert "| slow thing | 1.2 | 1 | **missed**; a \\| b |" in rest
    assert "| good thing | 4 µs | 5 | held |" in rest
    assert "| bare fact | 123 MB |  |  |" in rest
    [one] = collate.records(tmp_path)
    assert collate.machine(one.environment) in text


def test_figures_of_two_machines_are_not_compared(record: Any) -> None:
    hooks = runpy.run_path(str(BENCHMARKS / "conftest.py"))
    compare = hooks["pytest_benchmark_compare_machine_info"]
    here = record.full_environment()
    compare(None, None, here, {"machine_info": dict(here)})
    for change in ({"cpu": "another"}, {"cores": here["cores"] + 1}, {"machine": "aarch64"}):
        other = {**here, "board": None, **change}
        with pytest.raises(pytest.UsageError, match="not comparable"):
            compare(None, None, here, {"machine_info": other})
