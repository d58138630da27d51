"""What a file's drift profile gives a camera: its monitor, and what int8 and float usually agree on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_parts import ListSource
from rich.console import Console

from edgecv import artifact
from edgecv.camera import Pipeline, PipelineOptions
from edgecv.camera.monitor import PARTED, monitor_of
from edgecv.camera.shipped import shipped_profile
from edgecv.camera.summary import headline
from edgecv.camera.terminal import _table
from edgecv.errors import ModelLoadError
from edgecv.results import Classification
from edgecv.results.classification import Probabilities
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, load_bundle

AGREEMENT = {"value": 0.996, "low": 0.99, "high": 0.999, "n": 1000, "method": "wilson"}


def digits(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """The digits model with its drift profile inside."""
    profile = shipped_profile()
    change(profile)
    path = folder / "digits.tflite"
    path.write_bytes(load_bundle().files[MODELS["tflite"]])
    artifact.update(path, lambda manifest: replace(manifest, drift_profile=profile))
    return path


def with_float(profile: dict[str, Any]) -> None:
    profile["against_float"] = {"pictures": 1000, "agreement": AGREEMENT}


def test_a_file_with_a_profile_has_a_monitor(tmp_path: Path) -> None:
    manifest = artifact.read(digits(tmp_path)).manifest
    monitor = monitor_of(manifest)
    assert monitor is not None
    assert monitor.state["reference_top1"] > 0.9
    assert manifest is not None
    assert monitor_of(replace(manifest, drift_profile=None)) is None
    assert monitor_of(None) is None


@pytest.mark.parametrize("identity", ["sha256:" + "0" * 64, None, 7])
def test_the_profile_of_another_model_is_refused(tmp_path: Path, identity: object) -> None:
    path = digits(tmp_path, lambda profile: profile.update(identity=identity))
    with pytest.raises(ModelLoadError, match="made for another model"):
        monitor_of(artifact.read(path).manifest)


class Wrong:
    """The float file, which says something else about dark pictures than the int8 file does.

    Args:
        runtime: Whose answers are given otherwise.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.info = runtime.info

    def classify(self, frame: Any, top_k: int) -> Classification:
        given = self._runtime.classify(frame, top_k)
        if np.mean(frame) > 50:
            return given
        turned = np.roll(np.asarray(given.probs.data), 1)
        other = self.info.labels[int(turned.argmax())]
        first = replace(given.predictions[0], label=other)
        return replace(given, probs=Probabilities(turned), predictions=(first,))

    def warmup(self, times: int) -> None:
        self._runtime.warmup(times)


def run(path: Path, values: list[int]) -> tuple[Pipeline, dict[str, Any]]:
    with Runtime(path, backend="litert") as runtime, Runtime(path, backend="litert") as other:
        pipeline = Pipeline(
            ListSource(values),
            runtime,
            reference=Wrong(other),  # type: ignore[arg-type]
            options=PipelineOptions(reference_every=1),
        )
        pipeline.run()
        return pipeline, pipeline.stats()


def test_int8_and_float_that_part_are_an_alarm_and_its_end(tmp_path: Path) -> None:
    bright = list(np.random.default_rng(0).integers(60, 200, 400))
    path = digits(tmp_path, with_float)
    pipeline, stats = run(path, [*bright, *[20] * 400])
    told = [event.text for event in pipeline.events.since(0) if event.kind == "drift"]
    assert told == [f"Alarm: {PARTED}"]
    assert pipeline.alarmed
    assert stats["shadow"]["apart"]
    assert stats["shadow"]["alarms"] == [PARTED]
    assert stats["shadow"]["recent_agreement"] == 0.0
    assert stats["shadow"]["usual_agreement"] == 0.996
    console = Console(width=120, record=True)
    console.print(_table(stats, []))
    assert "fewer than on the reference pictures" in console.export_text()
    pipeline, stats = run(path, [*bright, *[20] * 400, *bright, *bright])
    told = [event.text for event in pipeline.events.since(0) if event.kind == "drift"]
    assert told == [f"Alarm: {PARTED}", f"Over: {PARTED}"]
    assert not stats["shadow"]["apart"]
    assert stats["shadow"]["alarms"] == []


def test_without_a_known_agreement_nothing_is_claimed(tmp_path: Path) -> None:
    pipeline, stats = run(digits(tmp_path), [20] * 400)
    assert not pipeline.alarmed
    assert stats["shadow"]["usual_agreement"] is None
    assert stats["against_float"]["agreement"] < 0.05


def test_a_damaged_report_ends_the_start(tmp_path: Path) -> None:
    path = digits(tmp_path, lambda profile: profile.update(against_float={"pictures": 3}))
    with pytest.raises(ModelLoadError, match="against_float"):
        run(path, [20])


def test_a_monitor_that_learns_says_so() -> None:
    state = {"estimated_top1": None, "interval": None, "effective_samples": 12.0}
    found = headline(None, None, state)
    assert found["value"] is None
    assert "12 independent frames" in found["says"]
