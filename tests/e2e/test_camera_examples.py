"""The camera's examples run on the made stream, and the documentation shows what is tested."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import click
import numpy as np
import pytest
import yaml
from camera_parts import shipped_runtime
from PIL import Image

from edgecv.camera import SCHEMES, Pipeline, open_source
from edgecv.camera.sources.faults import FAULTS, STREAM_FAULTS
from edgecv.camera.web.metrics import Metrics
from edgecv.cli import cli

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "camera"


def run(name: str, *words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words], cwd=cwd, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def table_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_documentation_shows_the_source_of_ones_own_in_forty_lines(tmp_path: Path) -> None:
    text = (EXAMPLES / "own_source.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    shown = re.search(
        r"```python\n(.*?)```", (ROOT / "docs" / "camera.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert shown is not None
    assert shown[1] == text
    lines = run("own_source.py", cwd=tmp_path).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "20 answers, accuracy 100%"


def test_the_doorbell_rings_once_per_visit(tmp_path: Path) -> None:
    got: list[dict[str, object]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        said = run(
            "doorbell.py", "--source", "synth:?rate=0&frames=1500&hold=20", "--label", "zero",
            "--webhook", f"http://127.0.0.1:{server.server_port}/door", cwd=tmp_path,
        )  # fmt: skip
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    source = open_source("synth:?rate=0&frames=1500&hold=20")
    source.open()
    scenes: dict[int, str] = {}
    while (raw := source.grab()) is not None:
        shot = source.decode(raw)
        assert shot.scene is not None
        scenes[shot.scene] = str(shot.label)
    visits = list(scenes.values()).count("zero")
    assert visits >= 4
    assert said == f"rang {len(got)} times\n"
    # short scenes do not ring, and two in a row are one visit
    assert visits / 2 <= len(got) <= visits
    assert {event["label"] for event in got} == {"zero"}


def test_a_webhook_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    said = run(
        "doorbell.py", "--source", "synth:?rate=0&frames=300", "--label", "zero",
        "--webhook", "http://127.0.0.1:9/door", cwd=tmp_path,
    )  # fmt: skip
    assert "rang " in said


def test_visits_are_counted_by_the_hour(tmp_path: Path) -> None:
    said = run(
        "people_counter.py", "--source", "synth:?rate=40&frames=240&hold=60&seed=3", "--label", "four",
        "--out", "visits.csv", cwd=tmp_path,
    )  # fmt: skip
    rows = table_of(tmp_path / "visits.csv")
    assert said.startswith(f"{sum(int(row['visits']) for row in rows)} visits")


def test_people_are_counted_with_their_own_model(outside_data: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("no person\nperson\n")
    model = outside_data / "models" / "vww_96_int8.tflite"
    pictures, data = tmp_path / "pictures", outside_data / "datasets" / "vww96"
    pictures.mkdir()
    shown: dict[str, list[str]] = {"0": [], "1": []}
    for name, _, person in csv.reader((data / "y_labels.csv").read_text().splitlines()):
        shown[person.strip()].append(name.strip())
    # somebody, nobody, somebody, nobody: 50 pictures each
    order = shown["1"][:50] + shown["0"][:50] + shown["1"][50:] + shown["0"][50:]
    for number, name in enumerate(order):
        pixels = np.fromfile(data / name, np.uint8).reshape(96, 96, 3)
        Image.fromarray(pixels).save(pictures / f"{number:04}.png")
    said = run(
        "people_counter.py", "--model", str(model), "--labels", "labels.txt", "--preprocess", "unit",
        "--source", f"dir:{pictures}?rate=40", cwd=tmp_path,
    )  # fmt: skip
    assert re.match(r"2 visits in \d+ s; visits.csv", said), said


def test_the_quality_check_knows_its_accuracy(tmp_path: Path) -> None:
    run(
        "quality_check.py", "run", "--source", "synth:?rate=0&frames=1200&hold=4", "--audit", "audit",
        "--share", "0.3", cwd=tmp_path,
    )  # fmt: skip
    table = table_of(tmp_path / "audit" / "audit.csv")
    assert 50 <= len(table) <= 140
    assert all((tmp_path / "audit" / row["file"]).stat().st_size > 500 for row in table)
    said = run("quality_check.py", "judge", "audit", cwd=tmp_path)
    right = sum(row["answer"] == row["label"] for row in table)
    assert f"accuracy {right / len(table):.1%} (95 % interval" in said
    assert f"{len(table)} labeled frames" in said
    assert said.count("was taken for") == len(table) - right


def test_the_documentation_names_every_source_fault_field_and_option() -> None:
    text = (ROOT / "docs" / "camera.md").read_text(encoding="utf-8")
    with shipped_runtime() as runtime:
        summary = Pipeline(open_source("synth:?rate=0"), runtime).run(frames=1)
    schemes = [f"`{name}" for name in SCHEMES if name not in ("https", "rtsps")]
    for word in (*schemes, *(f"`{name}`" for name in (*FAULTS, *STREAM_FAULTS, *summary))):
        assert word in text, word
    command = cli.get_command(click.Context(cli), "camera")
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--user", "--now", "--data"}
    assert used <= known, used - known
    assert {"--source", "--float", "--summary", "--keep", "--log", "--token"} <= used


@pytest.fixture(scope="module")
def exposition() -> str:
    """The metrics of a pipeline with everything there is."""

    class Monitor:
        state: ClassVar = {
            "estimated_top1": 0.9, "interval": [0.8, 0.95], "reference_top1": 0.95, "effective_samples": 9,
            "inside_calibrated_range": True, "causes": [], "alarms": [],
        }  # fmt: skip

        def observe(self, *_: object) -> None: ...

    with shipped_runtime() as runtime, shipped_runtime() as reference:
        metrics = Metrics()
        source = open_source("synth:?rate=0", runtime.info.labels)
        pipeline = Pipeline(
            source, runtime, sinks=[metrics], reference=reference, monitor=Monitor()
        )
        pipeline.run(frames=20)
        text, _ = metrics.text(pipeline.stats() | {"temperature_c": 50.0})
    return text.decode()


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus.yml"])
def test_they_ask_for_metrics_that_exist(name: str, exposition: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    wanted = set(re.findall(r"edgecv_camera_\w+", text))
    assert len(wanted) >= 3
    there = set(re.findall(r"^(edgecv_camera_\w+)", exposition, re.MULTILINE))
    assert wanted <= there
    if name.endswith(".json"):
        panels = json.loads(text)["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels) == 10
    else:
        [job] = yaml.safe_load(text)["scrape_configs"]
        assert job["authorization"]["type"] == "Bearer"
