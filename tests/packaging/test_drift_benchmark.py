"""The page of the drift benchmark is what its record says."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_made_of_the_record() -> None:
    page = runpy.run_path(str(ROOT / "benchmarks" / "drift" / "page.py"))["page"]
    record = json.loads((ROOT / "benchmarks" / "drift" / "record.json").read_text(encoding="utf-8"))
    found = (ROOT / "docs" / "drift-benchmark.md").read_text(encoding="utf-8")
    assert found == page(record)
