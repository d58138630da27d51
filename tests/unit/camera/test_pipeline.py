"""The pipeline: what it counts, compares and tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_parts import Collect, ListSource, shipped_runtime
from PIL import Image

from edgecv.camera import Frame, Pipeline, PipelineOptions, Shot, open_source
from edgecv.camera.meters import STAGES
from edgecv.camera.monitor import FIELDS
from edgecv.camera.summary import headline
from edgecv.camera.truth import Paired, Tally
from edgecv.errors import InputError
from edgecv.selftest.bundle import MODELS, load_bundle
from edgecv.stats import wilson

SUMMARY = {
    "frames_in", "frames_out", "frames_dropped", "fps_out", "latency_ms", "rss_bytes", "peak_rss_bytes", "backend",
    "executed_precision", "threads", "accuracy", "against_float", "drift", "valid", "invalid_reasons",
}  # fmt: skip


class Watcher:
    """A monitor of the shape that the drift package has."""

    def __init__(self, alarm_at: int = 10) -> None:
        self.seen: list[tuple[Any, Any, float]] = []
        self._alarm_at = alarm_at

    def observe(self, scores: Any, frame: Any, at_s: float) -> object | None:
        self.seen.append((scores, frame, at_s))
        return "a report" if len(self.seen) % 5 == 0 else None

    @property
    def state(self) -> Mapping[str, Any]:
        alarms = ["dark since frame 10"] if len(self.seen) in range(self._alarm_at, 20) else []
        return {
            "estimated_top1": 0.8, "interval": [0.7, 0.9], "reference_top1": 0.97, "effective_samples": 40.0,
            "inside_calibrated_range": True, "causes": ["dark"] if alarms else [], "alarms": alarms, "more": 1,
        }  # fmt: skip


def test_the_summary_has_exactly_its_fields() -> None:
    with shipped_runtime() as runtime, shipped_runtime() as reference:
        source = open_source("synth:?rate=0", runtime.info.labels)
        pipeline = Pipeline(source, runtime, reference=reference, monitor=Watcher())
        summary = json.loads(json.dumps(pipeline.run(frames=40)))
    assert set(summary) == SUMMARY
    assert set(summary["latency_ms"]) == set(STAGES)
    assert all(set(v) == {"p50", "p90", "p99"} for v in summary["latency_ms"].values())
    assert set(summary["accuracy"]) == {"true_top1", "interval", "n"}
    assert set(summary["against_float"]) == {"agreement", "delta", "interval", "n"}
    assert set(summary["drift"]) == set(FIELDS)
    assert (summary["frames_out"], summary["accuracy"]["n"], summary["against_float"]["n"]) == (
        40,
        40,
        4,
    )
    assert summary["against_float"]["agreement"] == 1.0
    assert summary["against_float"]["delta"] == 0.0
    parts = sum(summary["latency_ms"][stage]["p50"] for stage in STAGES[:-1])
    assert parts * 0.5 < summary["latency_ms"]["glass"]["p50"]
    assert summary["peak_rss_bytes"] >= summary["rss_bytes"] > 1e7


def test_accuracy_is_what_was_right(tmp_path: Path) -> None:
    bundle = load_bundle()
    wrong = 0
    for number, (pixels, label) in enumerate(zip(bundle.pictures, bundle.labels, strict=True)):
        if number % 5 == 0:  # filed under another class on purpose
            label, wrong = next(name for name in bundle.labels if name != label), wrong + 1
        folder = tmp_path / label
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "other things").mkdir()
    Image.fromarray(bundle.pictures[0]).save(tmp_path / "other things" / "x.png")
    with shipped_runtime() as runtime:
        sink = Collect()
        source = open_source(f"dir:{tmp_path}", runtime.info.labels)
        summary = Pipeline(source, runtime, sinks=[sink]).run()
    assert summary["frames_out"] == 21
    assert [a.right for a in sink.answers].count(None) == 1
    assert summary["accuracy"]["n"] == 20
    assert summary["accuracy"]["true_top1"] == pytest.approx(1 - wrong / 20)
    expected = wilson(20 - wrong, 20)
    assert summary["accuracy"]["interval"] == pytest.approx([expected.low, expected.high])


def test_every_picture_of_a_folder_comes_once_and_those_that_are_none_are_counted(
    tmp_path: Path,
) -> None:
    for number in range(12):
        Image.fromarray(np.full((50, 60, 3), number * 20, np.uint8)).save(
            tmp_path / f"{number:02}.png"
        )
    (tmp_path / "06.png").write_bytes(b"no picture")
    with shipped_runtime() as runtime:
        sink = Collect(0.002)
        pipeline = Pipeline(open_source(f"dir:{tmp_path}"), runtime, sinks=[sink])
        summary = pipeline.run()
    assert (summary["frames_in"], summary["frames_out"], summary["frames_dropped"]) == (12, 11, 1)
    assert [a.frame.shot.name for a in sink.answers] == [f"{n:02}.png" for n in range(12) if n != 6]


def test_a_missing_folder_and_an_empty_one_say_so(tmp_path: Path) -> None:
    with shipped_runtime() as runtime:
        for folder, message in ((tmp_path / "none", "does not exist"), (tmp_path, "no pictures")):
            with pytest.raises(InputError, match=message):
                Pipeline(open_source(f"dir:{folder}"), runtime).run()


def test_alarms_become_events_once_and_end() -> None:
    watcher = Watcher()
    with shipped_runtime() as runtime:
        pipeline = Pipeline(open_source("synth:?rate=0"), runtime, monitor=watcher)
        pipeline.run(frames=30)
    told = [event.text for event in pipeline.events.since(0) if event.kind == "drift"]
    assert told == ["Alarm: dark since frame 10", "Over: dark since frame 10"]
    assert pipeline.alarmed
    scores, frame, _ = watcher.seen[0]
    assert scores.dtype == np.float32
    assert scores.shape == (13,)
    assert scores.sum() == pytest.approx(1, abs=1e-4)
    assert (frame.dtype, frame.shape) == (np.uint8, (45, 54, 3))
    times = [at_s for _, _, at_s in watcher.seen]
    assert times == sorted(times)


def test_an_alarm_whose_cause_is_named_later_is_not_over() -> None:
    class Later(Watcher):
        @property
        def state(self) -> Mapping[str, Any]:
            texts = {5: "the stream changed: cause unknown", 10: "the stream changed: dark"}
            return {**super().state, "alarms": [texts[n] for n in (len(self.seen),) if n in texts]}

    with shipped_runtime() as runtime:
        source = open_source("synth:?rate=0", runtime.info.labels)
        pipeline = Pipeline(source, runtime, monitor=Later())
        pipeline.run(frames=18)
    told = [event.text for event in pipeline.events.since(0) if event.kind == "drift"]
    assert told == [
        "Alarm: the stream changed: cause unknown",
        "Now: the stream changed: dark",
        "Over: the stream changed: dark",
    ]


def test_frames_that_the_monitor_cannot_read_are_said_and_no_end() -> None:
    class Blind(Watcher):
        bad_frames = 0

        def observe(self, scores: Any, frame: Any, at_s: float) -> object | None:
            self.bad_frames += 1
            return None

    with shipped_runtime() as runtime:
        pipeline = Pipeline(
            open_source("synth:?rate=0", runtime.info.labels), runtime, monitor=Blind()
        )
        assert pipeline.run(frames=20)["frames_out"] == 20
    told = [event.text for event in pipeline.events.since(0) if event.kind == "drift"]
    assert [text.rsplit("; ", 1)[1] for text in told] == [f"{n} so far." for n in (1, 2, 4, 8, 16)]


def test_a_float_file_of_other_classes_is_refused() -> None:
    names = tuple(f"class {n}" for n in range(13))
    from edgecv.runtime import Runtime

    with (
        shipped_runtime() as runtime,
        Runtime(load_bundle().files[MODELS["tflite"]], labels=names) as other,
        pytest.raises(InputError, match="other classes"),
    ):
        Pipeline(ListSource([1]), runtime, reference=other)


def test_a_model_without_labels_is_refused_before_the_source_is_opened() -> None:
    from tiny_models import tflite_add

    from edgecv.runtime import Runtime

    source = ListSource([1])
    with (
        Runtime(tflite_add()) as runtime,
        pytest.raises(InputError, match=r"called|takes no single"),
    ):
        Pipeline(source, runtime).run()
    assert source.opened == 0


def test_a_pipeline_runs_once() -> None:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource([1]), runtime)
        pipeline.run()
        with pytest.raises(InputError, match="run before"):
            pipeline.run()


def test_warm_up_is_not_measured() -> None:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource(range(5)), runtime, options=PipelineOptions(warmup=50))
        pipeline.run()
        assert pipeline._meters._rings["infer"].total == 5


def test_frames_of_one_scene_do_not_count_as_many() -> None:
    alike, apart = Tally(), Tally()
    for number in range(200):
        alike.add(number // 20 != 3, number // 20)
        apart.add(number // 20 != 3, number)
    wide, narrow = alike.rate(), apart.rate()
    assert wide is not None
    assert narrow is not None
    assert wide.value == narrow.value == 0.9
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)
    assert narrow.low == pytest.approx(wilson(180, 200).low, abs=1e-3)


def test_what_was_lately_is_told_apart() -> None:
    tally = Tally()
    for number in range(3000):
        tally.add(number < 2000, number // 5)
    whole, lately = tally.rate(), tally.rate(100)
    assert whole is not None
    assert lately is not None
    assert (whole.value, whole.n) == (pytest.approx(2 / 3), 3000)
    assert (lately.value, lately.n) == (0.0, 500)
    assert lately.high < 0.05


def test_the_tally_is_bounded_and_keeps_counting() -> None:
    tally = Tally()
    for number in range(10_000):
        tally.add(number % 2, number)
    estimate = tally.rate()
    assert estimate is not None
    assert (estimate.value, estimate.n, len(tally._groups)) == (0.5, 10_000, 4096)
    assert estimate.high - estimate.low == pytest.approx(
        wilson(5000, 10_000).high - wilson(5000, 10_000).low, rel=0.02
    )


def _answer(mine: str, theirs: str, label: str | None, scene: int) -> Any:
    from types import SimpleNamespace

    frame = Frame(Shot(np.zeros((1, 1, 3), np.uint8), label, scene), scene, 0, 0)
    given = SimpleNamespace(top=SimpleNamespace(label=mine))
    right = None if label is None else mine == label
    return SimpleNamespace(frame=frame, classification=given, right=right, reference=theirs)


def test_int8_against_float_is_paired() -> None:
    paired = Paired()
    for number in range(100):
        lost, won = number in (10, 20, 30), number == 40
        paired.add(_answer("b" if lost else "a", "b" if won else "a", "a", number))
    found = paired.to_json()
    assert found is not None
    assert found["agreement"] == pytest.approx(0.96)
    assert found["delta"] == pytest.approx(-0.02)
    low, high = found["interval"]
    assert low < -0.02 < 0 < high


def test_without_labels_the_interval_is_what_disagreement_leaves_possible() -> None:
    paired = Paired()
    for number in range(100):
        paired.add(_answer("a", "b" if number < 5 else "a", None, number))
    found = paired.to_json()
    assert found is not None
    assert found["delta"] is None
    bound = 1 - wilson(95, 100).low
    assert found["interval"] == pytest.approx([-bound, bound], abs=1e-6)


def test_what_is_true_leads_then_what_is_paired_then_what_is_estimated() -> None:
    truth = wilson(9, 10)
    paired = {"agreement": 0.99, "delta": None, "interval": [-0.02, 0.02], "n": 100}
    drift = {"estimated_top1": 0.8, "interval": [0.7, 0.9], "inside_calibrated_range": True}
    assert headline(truth, paired, drift)["kind"] == "true"
    assert headline(None, paired, drift)["kind"] == "paired"
    estimated = headline(None, None, drift)
    assert (estimated["kind"], estimated["value"]) == ("estimated", 0.8)
    assert "without labels" in estimated["says"]
    outside = headline(None, None, {**drift, "inside_calibrated_range": False})
    assert outside["value"] is None
    assert outside["says"].startswith("Cannot tell")
    assert headline(None, None, None)["kind"] == "none"
