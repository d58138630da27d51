"""``edgecv drift`` as a user runs it, on the shipped digits model: profile, stream, audit, labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgecv import artifact
from edgecv.camera.monitor import shipped_monitor
from edgecv.camera.sources.synth import SynthSource
from edgecv.camera.sources.uri import parse_uri
from edgecv.cli import cli
from edgecv.demo.pictures import PictureOptions, draw_tree
from edgecv.drift import AuditSampler, Monitor, MonitorOptions
from edgecv.drift.corruptions import FAMILIES
from edgecv.drift.labeling import read_audit
from edgecv.errors import EdgecvError
from edgecv.preprocess import load_rgb
from edgecv.runtime import Runtime
from edgecv.selftest import load_bundle
from edgecv.selftest.bundle import MODELS

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    draw_tree(folder / "digits", PictureOptions(train_per_digit=1, held_out_per_digit=1))
    load_bundle().unpack(folder)
    return folder


@pytest.fixture(scope="module")
def profiled(place: Path) -> tuple[Path, Result]:
    """A model with a profile, and what the command said."""
    model = place / MODELS["tflite"]
    line = ["drift", "profile", str(model), "--data", str(place / "digits"), "--split", "val",
            "--pictures", "160", "--per-condition", "40", "--json", str(place / "profile.json"),
            "--float", str(place / MODELS["onnx"])]  # fmt: skip
    return model, CliRunner().invoke(cli, line)


def test_the_profile_is_in_the_manifest_and_the_model_is_the_same(
    profiled: tuple[Path, Result], place: Path
) -> None:
    model, result = profiled
    assert result.exit_code == 0, result.output + repr(result.exception)
    manifest = artifact.read(model).manifest
    assert manifest is not None
    assert manifest.drift_profile is not None
    assert manifest.drift_profile == json.loads((place / "profile.json").read_text())
    shipped = load_bundle().files[MODELS["tflite"]]
    assert artifact.identity("tflite", shipped) == manifest.identity
    assert manifest.drift_profile["identity"] == manifest.identity
    assert model.stat().st_size - len(shipped) < 100_000
    assert manifest.drift_profile["against_float"]["pictures"] == 160
    for word in (
        "cbpe",
        "atc",
        "ridge",
        "trees",
        "both",
        "<- chosen",
        "against float, paired, n=160",
    ):
        assert word in result.output


def test_nothing_is_replaced_unasked(profiled: tuple[Path, Result], place: Path) -> None:
    model, _ = profiled
    result = CliRunner().invoke(
        cli, ["drift", "profile", str(model), "--data", str(place / "digits")]
    )
    assert isinstance(result.exception, EdgecvError)
    assert "has a drift profile" in str(result.exception)


def test_too_few_pictures_are_one_error(place: Path, tmp_path: Path) -> None:
    load_bundle().unpack(tmp_path)
    few = tmp_path / "few"
    for name in ("zero", "two"):
        (few / name).mkdir(parents=True)
        source = sorted((place / "digits" / "val" / name).glob("*.png"))[:5]
        for file in source:
            (few / name / file.name).write_bytes(file.read_bytes())
    model = tmp_path / MODELS["tflite"]
    before = model.read_bytes()
    result = CliRunner().invoke(cli, ["drift", "profile", str(model), "--data", str(few)])
    assert "too few" in str(result.exception)
    assert model.read_bytes() == before


def test_a_stream_through_the_runtime(profiled: tuple[Path, Result], place: Path) -> None:
    model, _ = profiled
    files = sorted((place / "digits" / "test").rglob("*.png"))
    frames = [load_rgb(files[i]) for i in np.random.default_rng(0).permutation(len(files))]
    dark = next(f.make for f in FAMILIES if f.name == "dark")
    rng = np.random.default_rng(1)
    with Runtime(model) as runtime:
        manifest = runtime.info.manifest
        assert manifest is not None
        assert manifest.drift_profile is not None
        monitor = Monitor(manifest.drift_profile, MonitorOptions(window=60))
        reports = []
        for number in range(2000):
            frame = frames[number % len(frames)]
            if number >= 1000:
                frame = dark(frame, 0.6, rng)
            answer = runtime.classify(frame)
            report = monitor.observe(answer.probs.data, frame, number / 10)
            reports += [] if report is None else [report]
    early = [r for r in reports if r.end_s < 100]
    assert early
    assert not any(r.raised for r in early)
    assert all(r.estimate.top1 > 0.85 for r in early)
    assert "dark" in monitor.state["causes"]
    assert any("dark" in alarm for alarm in monitor.state["alarms"])


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("", ()),
        ("&mix=0-", ("class-mix shift",)),
        ("&dark=0-", ("dark",)),
        ("&dark=0-@5", ("dark",)),
        ("&mix=0-&dark=0-", ("dark",)),
        ("&blur=0-", ("blur",)),
    ],
)
def test_causes_on_the_shipped_digits(fault: str, expected: tuple[str, ...], place: Path) -> None:
    # class and ink hang together: three classes only are another class mix, and no other picture
    monitor = shipped_monitor()
    assert isinstance(monitor, Monitor)
    with Runtime(place / MODELS["tflite"]) as runtime:
        source = SynthSource(parse_uri(f"synth:?rate=0&hold=1&seed=3{fault}"), runtime.info.labels)
        source.open()
        reports = []
        for number in range(500):
            raw = source.grab()
            assert raw is not None
            frame = source.decode(raw).pixels
            report = monitor.observe(runtime.classify(frame).probs.data, frame, number / 20)
            reports += [] if report is None else [report]
    assert [report.causes for report in reports] == [expected] * len(reports)
    assert reports


def test_labels_give_accuracy_and_correct_the_profile(
    profiled: tuple[Path, Result], place: Path
) -> None:
    model, _ = profiled
    folder = place / "audit"
    files = sorted((place / "digits" / "test").rglob("*.png"))
    with Runtime(model) as runtime:
        manifest = runtime.info.manifest
        assert manifest is not None
        with AuditSampler(folder, manifest.labels, manifest.identity) as sampler:
            for number, file in enumerate(files[:45]):
                frame = load_rgb(file)
                sampler.offer(runtime.classify(frame).probs.data, frame, float(number))
    kept = json.loads((folder / "audit.json").read_text())["frames"]
    shown = {row["file"]: files[int(row["at_s"])].parent.name for row in kept}
    truth = [shown[frame.file] for frame in read_audit(folder).waiting]
    # the first by number, one skipped, one nonsense before its answer, one none of the classes
    typed = [str(manifest.labels.index(truth[0])), "s", "nonsense", truth[2], "n", *truth[4:]]
    line = ["drift", "label", str(folder), "--model", str(model)]
    result = CliRunner().invoke(cli, line, input="\n".join(typed) + "\n")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "0 classes fit 'nonsense'" in result.output
    assert f"from 44 of {len(kept)} frames" in result.output
    changed = artifact.read(model).manifest
    assert changed is not None
    assert changed.drift_profile is not None
    assert changed.drift_profile["audit"]["frames"] == 44
    assert changed.identity == manifest.identity
    # a second round asks for the skipped one only, and the end of input keeps what is there
    again = CliRunner().invoke(cli, ["drift", "label", str(folder)], input="")
    assert again.exit_code == 0
    assert "1 frames to label" in again.output


def test_the_device_side_needs_numpy_alone() -> None:
    code = (
        "import sys; from edgecv.drift import Monitor, MonitorOptions, DriftProfile, Shadow; Monitor\n"
        "print(sorted({'PIL', 'scipy', 'sklearn', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
