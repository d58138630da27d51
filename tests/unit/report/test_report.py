"""report.json, report.html and the table in the terminal."""

from __future__ import annotations

import builtins
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.data import Item
from edgecv.errors import InputError, MissingExtraError
from edgecv.evaluate import compare, from_scores
from edgecv.report import (
    Confusion,
    Report,
    Table,
    agreement,
    class_rows,
    confusion,
    print_table,
    render_html,
    report_tables,
    to_json,
    write_html,
    write_json,
)

MakeReport = Callable[..., Report]
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=y>',
    "{{ 7*7 }}",
    "$x^{$",
    "[red]",
    "été",
)

BACKEND_KEYS = {
    "backend", "version", "target", "float_top1", "float_top1_interval", "int8_top1",
    "int8_top1_interval", "paired", "non_inferiority", "agreement_with_torch",
    "agreement_with_torch_interval", "disagreements", "disagreements_near_tie",
    "largest_score_difference", "largest_score_difference_steps", "model_bytes", "import_ms", "load_ms",
    "first_inference_ms", "latency_ms", "latency_ms_intervals", "peak_rss_bytes", "executed_precision",
    "float_model_bytes", "float_import_ms", "float_load_ms", "float_first_inference_ms",
    "float_latency_ms", "float_latency_ms_intervals", "float_peak_rss_bytes",
    "float_executed_precision", "int8_path", "float_path",
}  # fmt: skip
TOP_KEYS = {
    "schema", "title", "model", "created", "test_folder", "test_pictures", "test_groups", "classes",
    "torch", "margin", "backends", "qat_vs_ptq", "per_class", "confusion", "environment", "validity",
    "notes",
}  # fmt: skip


class _Tags(HTMLParser):
    """Open tags, attributes and balance of a page."""

    VOID = frozenset({"meta", "br", "img", "input", "link", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class TestJson:
    def test_names_are_pinned(self, make_report: MakeReport, tmp_path: Path) -> None:
        form = to_json(make_report(("a", "b")), tmp_path)
        assert set(form) == TOP_KEYS
        assert len(form["backends"]) == 3
        for row in form["backends"]:
            assert set(row) == BACKEND_KEYS
            assert (
                set(row["latency_ms"]) == set(row["latency_ms_intervals"]) == {"p50", "p90", "p99"}
            )
            assert set(row["paired"]["flips"]) == {
                "total", "to_wrong", "to_right", "wrong_to_other_wrong",
            }  # fmt: skip
        assert form["schema"] == "1.0"

    def test_values_are_fractions_numbers_and_relative_paths(
        self, make_report: MakeReport, tmp_path: Path
    ) -> None:
        path = tmp_path / "out" / "report.json"
        path.parent.mkdir()
        report = make_report(("a", "b"))
        write_json(report, path)
        form = json.loads(path.read_text(), parse_constant=pytest.fail)
        row = form["backends"][0]
        assert 0.5 < row["int8_top1"] <= 1
        assert row["int8_top1"] - row["float_top1"] == pytest.approx(row["paired"]["difference"])
        assert row["int8_top1_interval"]["low"] < row["int8_top1"]
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p90"] <= row["latency_ms"]["p99"]
        assert row["largest_score_difference_steps"] == pytest.approx(0.31 / 0.115)
        assert form["test_folder"] == "../pictures/test"
        assert (path.parent / row["int8_path"]).resolve() == report.backends[0].int8_file.path

    def test_what_was_not_measured_is_null(self, make_report: MakeReport, tmp_path: Path) -> None:
        report = make_report(("a", "b"), timed=False)
        bare = replace(report.backends[0], agreement=None)
        form = to_json(
            replace(report, backends=(bare,), confusion=None, float_model=None), tmp_path
        )
        assert form["backends"][0]["latency_ms"] is None
        assert form["backends"][0]["agreement_with_torch"] is None
        assert form["torch"]["float_top1"] is None
        json.dumps(form, allow_nan=False)

    def test_a_folder_that_cannot_be_written(self, make_report: MakeReport, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be written"):
            write_json(make_report(("a", "b")), tmp_path / "none" / "report.json")

    def test_a_failed_write_leaves_the_old_file(
        self, make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "report.json"
        path.write_text("old")

        def full(self: Path, target: Path) -> Path:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(InputError, match="No space left"):
            write_json(make_report(("a", "b")), path)
        assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
        assert path.read_text() == "old"


class TestHtml:
    def test_hostile_names_stay_text(self, make_report: MakeReport) -> None:
        report = make_report(HOSTILE)
        report = replace(
            report,
            title="<b>bold</b>",
            notes=("<i>note</i>",),
            backends=(replace(report.backends[0], backend="<u>$ {{ 1 }}"),),
            environment={"<s>": "<s>"},
        )
        tags = _Tags(render_html(report))
        assert tags.stack == []
        kinds = {tag for tag, _ in tags.seen}
        assert not kinds & {"script", "img", "b>", "u", "s", "link", "iframe", "object"}
        text = "".join(tags.text)
        for name in (*HOSTILE, "<b>bold</b>", "<u>$ {{ 1 }}"):
            assert name in text
        assert not any(a.startswith("on") for _, attrs in tags.seen for a in attrs)

    def test_nothing_is_fetched(self, make_report: MakeReport) -> None:
        page = render_html(make_report(("a", "b")))
        tags = _Tags(page)
        loading = [
            (tag, name, value)
            for tag, attrs in tags.seen
            for name, value in attrs.items()
            if name in {"src", "href", "xlink:href", "srcset", "data", "action"}
        ]
        assert all(str(value).startswith("#") for _, _, value in loading)
        assert "@import" not in page
        assert all(u.startswith(("url(#", "url('#")) for u in _urls(page))

    def test_the_plots_are_there_and_follow_light_and_dark(self, make_report: MakeReport) -> None:
        page = render_html(make_report(("a", "b")))
        assert page.count("<svg ") == 4
        assert "var(--int8)" in page.split("<svg ")[1]
        assert "prefers-color-scheme: dark" in page
        assert "#00010" not in page
        without = render_html(replace(make_report(("a", "b"), timed=False), methods=()))
        assert without.count("<svg ") == 2

    def test_the_same_report_gives_the_same_bytes(
        self, make_report: MakeReport, tmp_path: Path
    ) -> None:
        report = make_report(("a", "b", "c"))
        write_html(report, tmp_path / "one.html")
        write_html(report, tmp_path / "two.html")
        assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()

    def test_an_invalid_measurement_says_so_first(self, make_report: MakeReport) -> None:
        page = render_html(make_report(("a", "b"), valid=False))
        assert page.index("cannot be trusted") < page.index("<svg ")
        assert "CPU pressure was 61 %." in page
        assert "cannot be trusted" not in render_html(make_report(("a", "b")))

    def test_many_classes_are_shortened(self, make_report: MakeReport) -> None:
        page = render_html(make_report(tuple(f"c{i:03d}" for i in range(90))))
        assert "50 more are in report.json" in page
        assert 'class="matrix"' not in page

    def test_a_report_without_engines(self, make_report: MakeReport) -> None:
        empty = replace(
            make_report(("a", "b")), backends=(), methods=(), per_class=(), confusion=None
        )
        assert _Tags(render_html(empty)).stack == []

    def test_undecodable_names_are_escaped(self, make_report: MakeReport, tmp_path: Path) -> None:
        report = make_report((os.fsdecode(b"\xff"), "b"))
        write_html(report, tmp_path / "report.html")
        write_json(report, tmp_path / "report.json")
        assert "\\udcff" in (tmp_path / "report.html").read_text("utf-8")
        assert json.loads((tmp_path / "report.json").read_text())["classes"][0] == "\udcff"

    @pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
    def test_an_absent_package_is_named(
        self, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch, package: str
    ) -> None:
        report = make_report(("a", "b"))
        _hide(monkeypatch, package)
        with pytest.raises(
            MissingExtraError, match=rf"'{package}' is not installed.*edgecv\[report\]"
        ):
            render_html(report)


class TestTable:
    def test_plain_text_is_aligned_and_complete(self, make_report: MakeReport) -> None:
        stream = io.StringIO()
        print_table(make_report(("a", "b")), stream)
        text = stream.getvalue()
        for name in ("top-1 float", "top-1 int8", "int8 - float", "flips", "agreement", "p50", "p90",
                     "p99", "peak RSS", "executed", "load", "file", "QAT", "post-training"):  # fmt: skip
            assert name in text
        lines = text.split("\n\n")[0].splitlines()[1:]
        assert len({len(line) for line in lines}) == 1

    def test_rows_without_numbers_are_left_out(self, make_report: MakeReport) -> None:
        rows = {row[0] for row in report_tables(make_report(("a", "b"), timed=False))[0].rows}
        assert "p50 int8 / float" not in rows
        assert "load int8 / float" in rows

    def test_without_rich_a_terminal_gets_plain_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _hide(monkeypatch, "rich")
        stream = _Terminal()
        print_table(Table("t", ("", "x"), (("a", "1"),)), stream)
        assert stream.getvalue() == "t\n   x\n----\na  1\n\n"

    def test_with_rich_names_are_no_markup(self) -> None:
        stream = _Terminal()
        print_table(Table("[bold]t", ("", "[x]"), (("[red]a[/red]", "1"),)), stream)
        assert "[red]a[/red]" in stream.getvalue()
        assert "[bold]t" in stream.getvalue()

    def test_a_narrow_encoding_gets_escapes(self) -> None:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        print_table(Table("é", ("", "x"), (("\udcff", "1"),)), stream)
        stream.flush()
        assert b"\\xe9" in raw.getvalue()
        assert b"\\udcff" in raw.getvalue()


def test_parts_from_evaluations() -> None:
    items = tuple(Item(Path(f"/x/{n}.png"), n % 2, "", str(n), "") for n in range(6))
    whole = np.array([[2, 0], [0, 2]] * 3, np.float32)
    small = whole.copy()
    small[0] = [0.9, 1.0]
    a = from_scores("float", items, ("a", "b"), whole)
    b = from_scores("int8 on x", items, ("a", "b"), small)
    part = agreement(compare(a, b), output_step=0.5, limit=0.1)
    assert (part.disagreements, part.near_ties) == (1, 0)
    assert part.largest_steps == pytest.approx(2.2)
    assert agreement(compare(a, b)).largest_steps is None
    rows = class_rows(a, b)
    assert [(r.label, r.float_recall.value, r.int8_recall.value) for r in rows] == [
        ("a", 1.0, pytest.approx(2 / 3)),
        ("b", 1.0, 1.0),
    ]
    assert confusion(b) == Confusion("int8 on x", ((2, 1), (0, 3)))


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def _urls(page: str) -> list[str]:
    return [f"url({part.split(')')[0]})" for part in page.split("url(")[1:]]


def _hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make imports of *package* fail as if it were not installed."""
    for name in list(sys.modules):
        if name.split(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def hidden(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", hidden)
