"""Records: valid against their schema, immutable, read back strictly; compared and collated honestly."""

from __future__ import annotations

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from boards import machine
from cases import sealed

from edgecv.bench import BenchOptions, Cell, run_cells
from edgecv.bench.collate import collate, to_csv, to_html, to_markdown
from edgecv.bench.compare import compare
from edgecv.bench.model import BenchResult, CameraRecord
from edgecv.bench.record import build, load, save, schema
from edgecv.errors import InputError, InvalidMeasurementError


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchResult, BenchOptions]:
    """The tiny classifier, really measured."""
    folder = tmp_path_factory.mktemp("models")
    cells = []
    for precision in ("int8", "float32"):
        body = sealed("tflite", precision)
        assert isinstance(body, bytes)
        path = folder / f"tiny.{precision}.tflite"
        path.write_bytes(body)
        cells.append(Cell(precision, path))
    options = BenchOptions(blocks=4, runs=160, max_seconds=1, stages=True)
    return run_cells(cells, options), options


@pytest.fixture
def document(measured: tuple[BenchResult, BenchOptions]) -> dict[str, Any]:
    result, options = measured
    made = build(result, result.records[0], options)
    made["validity"] = {"valid": True, "reasons": []}
    return made


def _slower(document: dict[str, Any], factor: float) -> dict[str, Any]:
    other = copy.deepcopy(document)
    other["samples_ns"] = [[round(ns * factor) for ns in b] for b in document["samples_ns"]]
    other["model"]["name"] = "other.tflite"
    return other


def test_a_record_is_what_the_schema_says(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(json.loads(json.dumps(document)))
    assert document["engine"]["backend"] == "litert"
    assert document["model"]["precision"] == "int8"
    assert document["scenario"]["runs"] == 160
    assert document["latency_ms"]["p95"]["stated"]
    assert not document["latency_ms"]["p99"]["stated"]  # 160 runs are too few
    assert set(document["stages_ms"]) == {"preprocess", "infer", "postprocess", "end_to_end"}
    assert document["memory"]["rss_anonymous_bytes"] > 0
    assert document["throughput_per_s"] > 0


def test_a_camera_record(measured: tuple[BenchResult, BenchOptions]) -> None:
    from dataclasses import replace

    result, _ = measured
    camera = CameraRecord(100, 90, 10, 30.0, 27.0, (5, 6))
    record = replace(result.records[0], camera=camera)
    made = build(result, record, BenchOptions(scenario="camera"))
    jsonschema.Draft202012Validator(schema()).validate(json.loads(json.dumps(made)))
    assert (made["scenario"]["frames"], made["scenario"]["dropped"]) == (100, 10)


def test_a_board_is_named_and_its_owner_is_not(
    measured: tuple[BenchResult, BenchOptions], tmp_path: Path
) -> None:
    result, options = measured
    texts = []
    for serial in ("10000000abcd", "10000000ffff"):
        pi = machine(tmp_path / serial, "pi4")
        info = tmp_path / serial / "proc/cpuinfo"
        info.write_text(info.read_text().replace("10000000abcd", serial))
        texts.append(build(result, result.records[0], options, pi))
        assert serial not in json.dumps(texts[-1])
    assert texts[0]["board_id"] == texts[1]["board_id"]
    other = build(result, result.records[0], options, machine(tmp_path / "5", "pi5"))
    assert other["board_id"] != texts[0]["board_id"]


def test_saved_once_and_read_back(document: dict[str, Any], tmp_path: Path) -> None:
    first = save(document, tmp_path / "new" / "folder")
    assert save(document, first.parent) == first
    assert load(first) == json.loads(json.dumps(document))
    other = save(_slower(document, 2), first.parent)
    assert other != first
    assert len(list(first.parent.iterdir())) == 2


def test_a_folder_that_cannot_be_written(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save(document, tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "edgecv.bench/2.0"}, "this edgecv reads edgecv.bench/1.0"),
        ({"schema": "other/1.0"}, "its schema is 'other/1.0'"),
        ({"schema": None}, "schema is"),
        ({"model": {}}, r"model\.name"),
        ({"engine": []}, "engine is"),
        ({"validity": {"valid": "yes"}}, "not true or false"),
        ({"samples_ns": []}, "samples_ns"),
        ({"samples_ns": [[1, -1]]}, "samples_ns"),
        ({"samples_ns": [[1.5]]}, "samples_ns"),
        ({"samples_ns": [[True]]}, "samples_ns"),
        ({"samples_ns": [[]]}, "samples_ns"),
        ({"latency_ms": {}}, r"latency_ms\.p50"),
        ({"memory": None}, "memory is"),
    ],
)
def test_what_is_no_record(
    document: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**document, **change}))
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\x00\xff"])
def test_hostile_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(InputError):
        load(path)


class TestCompare:
    def test_a_difference(self, document: dict[str, Any]) -> None:
        found = compare(document, _slower(document, 3))
        assert found.detected
        assert found.ratio.value == pytest.approx(3, rel=0.01)
        assert found.ratio.low <= 3 <= found.ratio.high
        assert "is slower" in str(found)
        assert "is faster" in str(compare(_slower(document, 3), document))

    def test_no_difference(self, document: dict[str, Any]) -> None:
        found = compare(document, copy.deepcopy(document))
        assert not found.detected
        assert "no detectable difference" in str(found)

    def test_boards_scenarios_and_validity(self, document: dict[str, Any]) -> None:
        elsewhere = {**copy.deepcopy(document), "board_id": "0" * 16}
        with pytest.raises(InputError, match="different boards"):
            compare(document, elsewhere)
        assert compare(document, elsewhere, across_boards=True).ratio.n == 4
        camera = copy.deepcopy(document)
        camera["scenario"]["name"] = "camera"
        with pytest.raises(InputError, match="scenarios are 'single' and 'camera'"):
            compare(document, camera)
        invalid = copy.deepcopy(document)
        invalid["validity"] = {"valid": False, "reasons": ["It was busy."]}
        with pytest.raises(InvalidMeasurementError, match="It was busy"):
            compare(document, invalid)
        assert compare(document, invalid, invalid=True)

    def test_what_else_differs_is_said(self, document: dict[str, Any]) -> None:
        other = copy.deepcopy(document)
        other["engine"]["threads"] = 4
        other["engine"]["version"] = "0.0"
        other["created_utc"] = "2020-01-01T00:00:00+00:00"
        text = str(compare(document, other))
        assert "Threads differs: 1 and 4." in text
        assert "version differs" in text
        assert "not measured in one interleaved run" in text


class TestCollate:
    @pytest.fixture
    def folder(self, document: dict[str, Any], tmp_path: Path) -> Path:
        save(document, tmp_path)
        invalid = _slower(document, 2)
        invalid["model"]["name"] = "<script>|evil.tflite"
        invalid["validity"] = {"valid": False, "reasons": ["Someone | else <b>ran</b>."]}
        save(invalid, tmp_path / "pi")
        (tmp_path / "notes.json").write_text("{}")
        return tmp_path

    def test_every_record_once_and_others_named(self, folder: Path) -> None:
        found = collate(folder)
        assert len(found.rows) == 2
        assert list(found.refused) == ["notes.json"]
        rows = list(csv.DictReader(io.StringIO(to_csv(found))))
        assert {row["valid"] for row in rows} == {"True", "False"}
        assert all(float(row["p50_ms"]) > 0 for row in rows)
        assert {row["p99_ms"] for row in rows} == {""}  # not stated
        plain, in_folder = sorted((row["board"] for row in rows), key=len)
        assert in_folder == f"{plain} (pi)", "two boards of one model are told apart"

    def test_markdown_stays_a_table(self, folder: Path) -> None:
        text = to_markdown(collate(folder))
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
        assert "~~" in text
        assert "<script>" not in text
        assert "Left out: notes.json" in text

    def test_html_escapes(self, folder: Path) -> None:
        page = to_html(collate(folder))
        assert "<script>" not in page
        assert "<b>ran" not in page
        assert 'class="invalid"' in page
        assert page.count("<svg") == 2

    def test_nothing_to_collate(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="holds no benchmark record"):
            collate(tmp_path)
        with pytest.raises(InputError, match="is not a folder"):
            collate(tmp_path / "none")
