"""The camera's examples run on the made stream, and the documentation shows what is tested."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import click
import numpy as np
import pytest
import yaml
from camera_parts import shipped_runtime
from click.testing import CliRunner
from PIL import Image

from edgecv.camera import SCHEMES, Pipeline, open_source
from edgecv.camera.sources.faults import FAULTS, STREAM_FAULTS
from edgecv.camera.web.metrics import Metrics
from edgecv.cli import cli
from edgecv.drift.labeling import read_audit
from edgecv.preprocess import load_rgb
from edgecv.runtime import Runtime

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


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Its address, and what it was told."""
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
        yield f"http://127.0.0.1:{server.server_port}/door", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "words",
    [
        ["doorbell.py"], ["people_counter.py"], ["quality_check.py"], ["quality_check.py", "run"],
        ["quality_check.py", "judge"],
    ],
)  # fmt: skip
def test_every_example_explains_itself(words: list[str], tmp_path: Path) -> None:
    assert "usage: " in run(*words, "--help", cwd=tmp_path)
    assert len((EXAMPLES / words[0]).read_text(encoding="utf-8").splitlines()) <= 130
    assert list(tmp_path.iterdir()) == []


def test_the_doorbell_rings_once_per_visit(tmp_path: Path) -> None:
    with webhook() as (address, got):
        said = run(
            "doorbell.py", "--source", "synth:?rate=0&frames=1500&hold=20", "--label", "zero",
            "--webhook", address, cwd=tmp_path,
        )  # fmt: skip
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


def test_the_doorbell_sees_a_bottle_come_twice(outside_data: Path, tmp_path: Path) -> None:
    models = outside_data / "models"
    with webhook() as (address, got):
        said = run(
            "doorbell.py", "--model", str(models / "mobilenet_v2_1.0_224_quant.tflite"),
            "--labels", str(models / "imagenet_labels.txt"), "--preprocess", "signed",
            "--source", f"file:{outside_data / 'video' / 'bottle-detection.mp4'}?rate=1000",
            "--label", "water bottle", "--webhook", address, cwd=tmp_path,
        )  # fmt: skip
    # it stands there, is taken away, and stands there again
    assert said == "rang 2 times\n"
    assert [event["label"] for event in got] == ["water bottle"] * 2


def test_a_class_that_the_model_has_not_is_said(tmp_path: Path) -> None:
    for name, rest in (
        ("doorbell.py", ["--webhook", "http://127.0.0.1:9/"]),
        ("people_counter.py", []),
    ):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), "--source", "synth:", "--label", "person", *rest],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2
        assert "the model has no class 'person'; it has eight-blue" in done.stderr


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


def label_all(folder: Path, truth: dict[bytes, str], *words: str) -> str:
    """As a person would in the terminal, who knows what every frame shows."""
    audited = read_audit(folder)
    names = [truth[load_rgb(folder / frame.file).tobytes()] for frame in audited.waiting]
    typed = [str(audited.labels.index(name)) for name in names]
    result = CliRunner().invoke(
        cli, ["drift", "label", str(folder), *words], input="\n".join(typed) + "\n"
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_the_quality_check_knows_its_accuracy(tmp_path: Path) -> None:
    streams = [f"synth:?rate=0&frames=900&hold=2&seed={seed}&noise=500-@3" for seed in (1, 2)]
    for stream in streams:
        # the second run goes on with the folder of the first
        said = run(
            "quality_check.py", "run", "--source", stream, "--audit", "audit", "--frames", "80",
            cwd=tmp_path,
        )  # fmt: skip
        assert "edgecv drift label audit --page" in said
    truth, right, scene = {}, [], None
    with shipped_runtime() as runtime:
        for stream in streams:
            source = open_source(stream, runtime.info.labels)
            source.open()
            while (raw := source.grab()) is not None:
                shot = source.decode(raw)
                truth[shot.pixels.tobytes()] = str(shot.label)
                if shot.scene != scene:
                    scene = shot.scene
                    right.append(runtime.classify(shot.pixels).top.label == shot.label)
    none = subprocess.run(
        [sys.executable, str(EXAMPLES / "quality_check.py"), "judge", "audit"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert none.returncode == 1
    assert "no frame has a label yet" in none.stderr
    by_command = label_all(tmp_path / "audit", truth)
    said = run("quality_check.py", "judge", "audit", cwd=tmp_path)
    found = re.match(
        r"accuracy ([\d.]+)% \(95 % interval ([\d.]+)% to ([\d.]+)%\), (\d+) labels of (\d+) parts",
        said,
    )
    assert found is not None, said
    assert f"{float(found[1]):.1f}" in by_command
    assert int(found[5]) == len(right)
    accuracy = 100 * sum(right) / len(right)
    assert accuracy < 90
    assert float(found[2]) <= accuracy <= float(found[3])
    audited = read_audit(tmp_path / "audit")
    wrong = sum(audited.labels[f.answer] != audited.given[f.file] for f in audited.frames)
    assert said.count("was taken for") == wrong > 0
    strict = [sys.executable, str(EXAMPLES / "quality_check.py"), "judge", "audit", "--at-least"]
    codes = [
        subprocess.run([*strict, least], cwd=tmp_path, capture_output=True, check=False).returncode
        for least in ("0.2", "0.99")
    ]
    assert codes == [0, 1]


def test_the_quality_check_on_photographs(outside_data: Path, tmp_path: Path) -> None:
    """ResNet-8 of MLPerf Tiny on CIFAR-10: its accuracy on all 1,200 pictures from 100 to 150 labels."""
    pictures = outside_data / "datasets" / "cifar10_jpg" / "test"
    model = outside_data / "models" / "pretrainedResnet_quant.tflite"
    names = sorted(path.name for path in pictures.iterdir() if path.is_dir())
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n")
    run(
        "quality_check.py", "run", "--model", str(model), "--labels", "labels.txt", "--preprocess", "raw",
        "--source", f"dir:{pictures}?rate=1000", "--apart", "0", "--frames", "100", "--audit", "audit", cwd=tmp_path,
    )  # fmt: skip
    truth, right = {}, []
    with Runtime(model, labels=names, preprocess="raw") as runtime:
        source = open_source(f"dir:{pictures}", runtime.info.labels)
        source.open()
        while (raw := source.grab()) is not None:
            shot = source.decode(raw)
            truth[shot.pixels.tobytes()] = str(shot.label)
            right.append(runtime.classify(shot.pixels).top.label == shot.label)
    label_all(tmp_path / "audit", truth)
    said = run("quality_check.py", "judge", "audit", cwd=tmp_path)
    found = re.match(r"accuracy ([\d.]+)% \(95 % interval ([\d.]+)% to ([\d.]+)%\), (\d+)", said)
    assert found is not None, said
    assert 100 <= int(found[4]) <= 150
    assert float(found[2]) <= 100 * sum(right) / len(right) <= float(found[3])
    assert float(found[3]) - float(found[2]) < 20


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
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {
        "--user",
        "--now",
        "--data",
        "--page",
    }
    assert used <= known, used - known
    assert {"--source", "--float", "--summary", "--keep", "--log", "--token", "--audit"} <= used


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
