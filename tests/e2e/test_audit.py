"""From a camera's stream through labels to its accuracy: the figure is the stream's, and corrects the estimate."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from label_parts import post
from page_client import get

from edgecv import artifact
from edgecv.camera import open_source
from edgecv.camera.shipped import shipped_profile
from edgecv.cli import cli
from edgecv.drift import DriftProfile, Monitor, MonitorOptions
from edgecv.drift.labeling import NONE, read_audit
from edgecv.drift.making import store_profile
from edgecv.preprocess import load_rgb
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, load_bundle

pytest.importorskip("ai_edge_litert")

#: Two nights of one camera: noise from some time on, and things that are no digit.
NIGHTS = (
    "synth:?rate=0&hold=1&seed=1&frames=500&noise=200-@3&unknown=420-",
    "synth:?rate=0&hold=1&seed=2&frames=400&noise=0-150@3&unknown=370-",
)
MAIN = "from edgecv.cli import main; main()"


@dataclass(frozen=True)
class Stream:
    """What the two nights hold: every frame's truth by its pixels, and the accuracy on all of them."""

    truth: dict[str, str]
    accuracy: float
    frames: list[tuple[Any, Any]]


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # a shell starts what runs in its background, such as these tests, with SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def digest(pixels: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped digits as a file, with their drift profile."""
    path = tmp_path_factory.mktemp("model") / "digits.tflite"
    path.write_bytes(load_bundle().files[MODELS["tflite"]])
    store_profile(path, DriftProfile.from_json(shipped_profile()), overwrite=True)
    return path


@pytest.fixture(scope="module")
def stream(model: Path) -> Stream:
    truth, right, frames = {}, [], []
    with Runtime(model) as runtime:
        for night in NIGHTS:
            source = open_source(night, runtime.info.labels)
            source.open()
            while (raw := source.grab()) is not None:
                shot = source.decode(raw)
                answer = runtime.classify(shot.pixels)
                truth[digest(shot.pixels)] = shot.label or NONE
                right.append(answer.top.label == shot.label)
                frames.append((answer.probs.data, shot.pixels))
    return Stream(truth, float(np.mean(right)), frames)


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera keeps of both nights; between them it was started anew."""
    folder = tmp_path_factory.mktemp("field") / "audit"
    for night in NIGHTS:
        words = ["camera", str(model), "--source", night, "--view", "none", "--audit", str(folder)]
        result = CliRunner().invoke(cli, [*words, "--audit-frames", "160"])
        assert result.exit_code == 0, result.output
    assert f"edgecv drift label {folder} --page" in result.output
    audited = read_audit(folder)
    # hold=1: every frame is a scene of its own
    assert sum(audited.offered.values()) == 900
    assert 160 <= len(audited.frames) <= 240
    return folder


def copy_of(folder: Path, model: Path, place: Path) -> tuple[Path, Path]:
    shutil.copytree(folder, place / "audit")
    shutil.copy(model, place / "digits.tflite")
    return place / "audit", place / "digits.tflite"


def said_accuracy(text: str) -> tuple[float, float, float]:
    found = re.search(r"accuracy in the field: ([\d.]+) % \[([\d.]+), ([\d.]+)\]", text)
    assert found is not None, text
    value, low, high = (float(part) / 100 for part in found.groups())
    return value, low, high


def label_by_page(audit: Path, stream: Stream, process: subprocess.Popen[str]) -> dict[str, Any]:
    """All frames, as a person would but quicker; the last state of the page."""
    assert process.stderr is not None
    found = re.match(r"http://127\.0\.0\.1:(\d+)/ ", process.stderr.readline())
    assert found is not None
    page: Any = SimpleNamespace(port=int(found[1]))
    classes = json.loads(get(page, "/api/classes")[2])
    state: dict[str, Any] = json.loads(get(page, "/api/state")[2])
    undone = 0
    while state["current"] is not None:
        number = state["current"]["number"]
        kept = audit / f"{number:07d}.png"
        if state["labeled"] < 9:
            assert get(page, f"/picture/{number}")[2] == kept.read_bytes()
        name = stream.truth[digest(load_rgb(kept))]
        values = {"number": number, "class": None if name == NONE else classes.index(name)}
        if undone < 3:
            # a slip, seen and taken back
            undone += 1
            assert post(page, "/api/label", values | {"class": 0})[0] == 200
            assert json.loads(post(page, "/api/undo", {})[2])["current"]["number"] == number
        status, _, body = post(page, "/api/label", values)
        assert status == 200
        state = json.loads(body)
        time.sleep(0.05)  # no person is quicker than the page's limit of requests
    assert post(page, "/api/done", {})[0] == 200
    return state


def label_by_terminal(audit: Path, stream: Stream, *words: str) -> Result:
    audited = read_audit(audit)
    typed = []
    for frame in audited.waiting:
        name = stream.truth[digest(load_rgb(audit / frame.file))]
        typed.append("n" if name == NONE else str(audited.labels.index(name)))
    return CliRunner().invoke(
        cli, ["drift", "label", str(audit), *words], input="\n".join(typed) + "\n"
    )


def test_labels_on_the_page_and_in_the_terminal_give_the_streams_accuracy(
    folder: Path, model: Path, stream: Stream, tmp_path: Path
) -> None:
    audit, mine = copy_of(folder, model, tmp_path)
    words = ("drift", "label", str(audit), "--page", "--port", "0", "--model", str(mine))
    with started(*words) as process:
        state = label_by_page(audit, stream, process)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    value, low, high = said_accuracy(out)
    assert 0.4 < stream.accuracy < 0.9
    assert low <= stream.accuracy <= high
    assert high - low < 0.2
    # what the page showed at last is what the command says
    assert state["accuracy"]["value"] == pytest.approx(value, abs=1e-4)

    other, theirs = copy_of(folder, model, tmp_path / "terminal")
    result = label_by_terminal(other, stream, "--model", str(theirs))
    assert result.exit_code == 0, result.output
    assert said_accuracy(result.output) == (value, low, high)
    assert read_audit(other).given == read_audit(audit).given
    assert artifact.read(theirs).manifest == artifact.read(mine).manifest


def test_the_estimate_is_corrected(
    folder: Path, model: Path, stream: Stream, tmp_path: Path
) -> None:
    audit, mine = copy_of(folder, model, tmp_path)
    result = label_by_terminal(audit, stream, "--model", str(mine))
    assert result.exit_code == 0, result.output
    manifest = artifact.read(mine).manifest
    assert manifest is not None
    assert manifest.identity == artifact.read(model).identity

    def estimate(profile: dict[str, Any]) -> float:
        """Of all frames, in an order by chance: one long window."""
        monitor = Monitor(profile, MonitorOptions(window=400))
        order = np.random.default_rng(0).permutation(len(stream.frames))
        for place, number in enumerate(order):
            monitor.observe(*stream.frames[number], float(place))
        return float(monitor.state["estimated_top1"])

    assert manifest.drift_profile is not None
    before, after = estimate(shipped_profile()), estimate(dict(manifest.drift_profile))
    assert abs(before - stream.accuracy) > 0.05
    assert abs(after - stream.accuracy) < 0.6 * abs(before - stream.accuracy)


def test_half_of_the_labels_are_enough_for_an_interval_that_holds(
    folder: Path, model: Path, stream: Stream, tmp_path: Path
) -> None:
    audit, _ = copy_of(folder, model, tmp_path)
    audited = read_audit(audit)
    half = audited.waiting[: len(audited.frames) // 2]
    typed = []
    for frame in half:
        name = stream.truth[digest(load_rgb(audit / frame.file))]
        typed.append("n" if name == NONE else str(audited.labels.index(name)))
    result = CliRunner().invoke(
        cli, ["drift", "label", str(audit)], input="\n".join([*typed, "q"]) + "\n"
    )
    assert result.exit_code == 0, result.output
    assert f"from {len(half)} of {len(audited.frames)} frames" in result.output
    _, low, high = said_accuracy(result.output)
    assert low <= stream.accuracy <= high


def test_a_picture_that_is_gone_meanwhile_is_passed_over(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    audit, _ = copy_of(folder, model, tmp_path)
    first, second = read_audit(audit).waiting[:2]
    (audit / first.file).unlink()
    result = CliRunner().invoke(cli, ["drift", "label", str(audit)], input="0\nq\n")
    assert result.exit_code == 0, result.output
    assert "its picture is gone" in result.output
    assert list(read_audit(audit).given) == [second.file]


def test_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "audit")
    result = CliRunner().invoke(
        cli,
        ["camera", "--backend", "onnxruntime", "--source", "synth:", "--view", "none",
         "--audit", str(tmp_path / "audit"),
         "--audit-frames", "160"],
    )  # fmt: skip
    assert getattr(result.exception, "exit_code", None) == 2
    assert "another model's" in str(result.exception)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_however_it_ends_the_audit_goes_on(number: int, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    words = [
        "camera",
        "--source",
        "synth:?rate=200&hold=1",
        "--view",
        "none",
        "--audit",
        str(folder),
    ]
    with started(*words, "--audit-frames", "8") as process:
        deadline = time.monotonic() + 30
        while len(list(folder.glob("*.png"))) < 8:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == code
    before = sum(read_audit(folder).offered.values())
    if number != signal.SIGKILL:
        assert f"frames kept of {before} offered" in out
    again = CliRunner().invoke(
        cli,
        ["camera", "--source", "synth:?rate=0&hold=1&frames=20", "--view", "none", "--audit", str(folder),
         "--audit-frames", "8"],
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    audited = read_audit(folder)
    assert sum(audited.offered.values()) == before + 20
    assert {p.name for p in folder.glob("*.png")} == {f.file for f in audited.frames}


def test_nothing_is_stored_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        cli, ["camera", "--source", "synth:?rate=0&frames=20", "--view", "none"]
    )
    assert result.exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_unit_of_systemds_may_keep_an_audit() -> None:
    result = CliRunner().invoke(
        cli,
        ["service-unit", "--user", "pi", "/m.tflite", "--source", "picam:0", "--audit", "audit",
         "--audit-frames", "300"],
    )  # fmt: skip
    assert (
        "edgecv camera /m.tflite --source picam:0 --audit audit --audit-frames 300\n"
        in result.output
    )
    # a folder of its own, which it may write and which lies there after a restart
    assert "\nWorkingDirectory=%S/edgecv-camera\n" in result.output


def test_the_page_says_what_it_needs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.errors.find_spec", lambda name: None)
    result = CliRunner().invoke(cli, ["drift", "label", str(folder), "--page"])
    assert type(result.exception).__name__ == "MissingExtraError"
    assert "pip install 'edgecv[camera]'" in str(result.exception)


def test_a_round_without_labels_says_so(folder: Path) -> None:
    with started("drift", "label", str(folder), "--page", "--port", "0") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "has a label" in err
