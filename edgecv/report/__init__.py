"""One record of a run, written three ways: ``report.json``, ``report.html`` and a table in the terminal."""

from __future__ import annotations

from edgecv.report.build import agreement, class_rows, confusion
from edgecv.report.html import render_html, write_html
from edgecv.report.json_form import SCHEMA, to_json, write_json
from edgecv.report.model import (
    Agreement,
    BackendRecord,
    ClassRow,
    Confusion,
    FileRecord,
    Latency,
    MethodRow,
    Report,
    Validity,
)
from edgecv.report.tables import Table, print_table, report_tables

__all__ = [
    "SCHEMA",
    "Agreement",
    "BackendRecord",
    "ClassRow",
    "Confusion",
    "FileRecord",
    "Latency",
    "MethodRow",
    "Report",
    "Table",
    "Validity",
    "agreement",
    "class_rows",
    "confusion",
    "print_table",
    "render_html",
    "report_tables",
    "to_json",
    "write_html",
    "write_json",
]
