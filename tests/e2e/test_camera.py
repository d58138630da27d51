"""The command as it is used: made streams and folders, summaries, exit codes, signals."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgecv.artifact import read
from edgecv.cli import cli
from edgecv.selftest.bundle import MODELS, load_bundle


def camera(*words: str) -> Result:
    return CliRunner().invoke(cli, ["camera", "--view", "none", *words])


def code_of(result: Result) -> int:
    return getattr(result.exception, "exit_code", result.exit_code)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle = load_bundle()
    for number, (pixels, label) in enumerate(zip(bundle.pictures, bundle.labels, strict=True)):
        path = tmp_path / "pictures" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "pictures"


def test_a_made_stream_with_the_shipped_model(tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    result = camera("--source", "synth:?rate=0&hold=3", "--frames", "150", "--summary", str(out))
    assert result.exit_code == 0, result.output
    record: dict[str, Any] = json.loads(out.read_text())
    assert (record["frames_in"], record["frames_out"], record["frames_dropped"]) == (150, 150, 0)
    assert record["accuracy"]["true_top1"] > 0.9
    assert record["backend"] == "litert"
    assert "int8" in record["executed_precision"]
    assert "accuracy against labels" in result.output
    again = camera("--source", "synth:?rate=0", "--frames", "5", "--summary", str(out))
    assert code_of(again) == 2
    assert "exists" in str(again.exception)


def test_a_folder_is_answered_whole_and_looped_on_request(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "digits.tflite"
    model.write_bytes(load_bundle().files[MODELS["tflite"]])
    assert read(model).state == "intact"
    words = [str(model), "--source", f"dir:{folder}", "--float", str(model), "--float-every", "2"]
    result = camera(*words, "--summary", str(tmp_path / "one.json"))
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "one.json").read_text())
    assert record["frames_out"] == 20
    assert record["accuracy"] | {"interval": 0} == {"true_top1": 1.0, "n": 20, "interval": 0}
    assert record["against_float"] | {"interval": 0} == {
        "agreement": 1.0, "delta": 0.0, "n": 10, "interval": 0,
    }  # fmt: skip
    looped = camera(*words, "--loop", "--frames", "50", "--summary", str(tmp_path / "two.json"))
    assert looped.exit_code == 0
    assert json.loads((tmp_path / "two.json").read_text())["frames_out"] == 50


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_other_engines_run_the_shipped_model(backend: str, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    result = camera(
        "--backend", backend, "--source", "synth:?rate=0&hold=2", "--frames", "60", "--summary", str(out)
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    assert record["backend"] == backend
    assert record["accuracy"]["true_top1"] > 0.9


def test_a_video_is_answered_whole_by_every_engine(outside_data: Path, tmp_path: Path) -> None:
    records = {}
    for backend in ("litert", "openvino", "onnxruntime"):
        out = tmp_path / f"{backend}.json"
        video = outside_data / "video" / "bottle-detection.mp4"
        words = ("--backend", backend, "--source", f"file:{video}", "--summary", str(out))
        result = camera(*words)
        assert result.exit_code == 0, result.output
        records[backend] = json.loads(out.read_text())
    frames = {record["frames_out"] for record in records.values()}
    assert len(frames) == 1
    assert frames.pop() > 500
    for backend, record in records.items():
        assert record["backend"] == backend
        assert (record["frames_dropped"], record["accuracy"]) == (0, None)
        assert record["frames_in"] == record["frames_out"]
        assert "int8" in record["executed_precision"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "no source is named.*synth:"),
        (["--source", "nowhere"], 2, "names no source"),
        (["--source", "dir:/nowhere"], 2, "does not exist"),
        (["--source", "usb:99"], 2, "there is no /dev/video99.*synth:"),
        (["--source", "http://127.0.0.1:9/x"], 2, "cannot be read: .*refused"),
        (
            ["--source", "synth:?frames=5&rate=0&corrupt=0-", "--frames", "5"],
            3,
            "no frame was answered",
        ),
        (["missing.tflite", "--source", "synth:"], 2, "missing.tflite"),
    ],
)
def test_errors_have_their_codes(words: list[str], code: int, message: str) -> None:
    result = camera(*words)
    assert code_of(result) == code
    import re

    assert re.search(message, f"{result.output}{result.exception}", re.DOTALL)


def test_a_live_stream_drops_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    result = camera("--source", "synth:?rate=1000", "--duration", "0.7", "--summary", str(out))
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    assert record["frames_in"] == record["frames_out"] + record["frames_dropped"]
    assert record["frames_in"] > 100


def test_the_log_becomes_csv(tmp_path: Path) -> None:
    log = tmp_path / "camera.jsonl"
    result = camera("--source", "synth:?rate=50", "--duration", "1.3", "--log", str(log))
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["kind"] for r in records[:2]] == ["start", "event"]
    assert records[-1]["kind"] == "sample"
    rows = list(
        csv.DictReader(io.StringIO(CliRunner().invoke(cli, ["camera", "--csv", str(log)]).output))
    )
    samples = [r for r in records if r["kind"] == "sample"]
    assert len(rows) == len(samples) >= 2
    assert int(rows[-1]["frames_out"]) == samples[-1]["frames_out"] > 0
    assert float(rows[-1]["infer_p50_ms"]) == samples[-1]["infer_p50_ms"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_a_summary(number: int, code: int, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    script = "from edgecv.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "camera", "--source", "synth:", "--view", "none",
         "--log", str(tmp_path / "log"), "--summary", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while '"event"' not in ((tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert json.loads(out.read_text())["frames_in"] >= 0


def test_drift_alarms_fail_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Monitor:
        state: ClassVar = {"alarms": ["dark"]}

        def observe(self, *_: object) -> object:
            return self

    monkeypatch.setattr("edgecv.camera.monitor.shipped_monitor", Monitor)
    words = ["--source", "synth:?rate=0", "--frames", "5"]
    plain, strict = camera(*words), camera(*words, "--fail-on-drift")
    assert (code_of(plain), code_of(strict)) == (0, 1)
    assert "drift alarm: dark" in plain.output


def test_the_unit_names_the_command() -> None:
    result = CliRunner().invoke(
        cli, ["service-unit", "--user", "pi", "--watchdog", "20", "m.tflite", "--source", "usb:0"]
    )
    assert result.exit_code == 0
    assert "edgecv camera m.tflite --source usb:0\n" in result.output
    for line in ("User=pi", "WatchdogSec=20", "Type=notify", "Restart=always"):
        assert f"\n{line}\n" in result.output
