"""Which frames a camera offers to an audit, and what becomes of errors."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_parts import ListSource, shipped_runtime

from edgecv import artifact
from edgecv.camera import Answer, Frame, Pipeline, Shot, open_source
from edgecv.camera.auditing import Auditor, identity_of
from edgecv.drift.audit import INDEX, AuditOptions
from edgecv.drift.labeling import read_audit
from edgecv.errors import InputError
from edgecv.results import Classification, Prediction, Timings
from edgecv.results.classification import Probabilities
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, load_bundle


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("audit", "audit_index"):
        monkeypatch.setattr(f"edgecv.drift.{module}.write_atomically", Path.write_bytes)


def answer_at(seconds: float, scene: int | None = None, classes: int = 13) -> Answer:
    scores = np.zeros(classes, np.float32)
    scores[0] = 0.9
    given = Classification(
        (Prediction(0, "x", 0.9),), "probability", Timings(1, 1, 1), Probabilities(scores)
    )
    shot = Shot(np.zeros((8, 8, 3), np.uint8), scene=scene)
    return Answer(Frame(shot, 0, round(seconds * 1e9) + 1, 1), given, 1, 0)


def offered(folder: Path, answers: list[Answer], **words: Any) -> int:
    """Of so many frames the audit draws."""
    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource([1]), runtime)
        with Auditor(folder, pipeline, **words) as auditor:
            for answer in answers:
                auditor.take(answer)
    return sum(read_audit(folder).offered.values())


class Watching:
    """A monitor of which only the distance of its samples matters."""

    def __init__(self, stride_s: float, *, learning: bool) -> None:
        self.stride_s, self.learning = stride_s, learning
        self.state: dict[str, Any] = {}

    def observe(self, *_: object) -> None: ...


def test_one_frame_per_scene_where_scenes_are_known(tmp_path: Path) -> None:
    scenes = [1, 1, 1, 2, 2, 3, 3, 3, 3, 4]
    assert offered(tmp_path / "a", [answer_at(n / 10, s) for n, s in enumerate(scenes)]) == 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, 12),  # a minute at ten per second: one in five seconds
        ({"every_s": 0.0}, 600),
        ({"every_s": 20.0}, 3),
        ({"monitor": Watching(2.0, learning=False)}, 30),
        ({"monitor": Watching(0.0, learning=False)}, 600),
        ({"monitor": Watching(0.0, learning=True)}, 12),
        ({"monitor": Watching(30.0, learning=True)}, 2),
        ({"monitor": Watching(2.0, learning=False), "every_s": 20.0}, 3),
    ],
)  # fmt: skip
def test_elsewhere_frames_lie_apart(words: dict[str, Any], expected: int, tmp_path: Path) -> None:
    answers = [answer_at(n / 10) for n in range(600)]
    options = AuditOptions(by_chance=5)
    assert offered(tmp_path / "a", answers, options=options, **words) == expected


def test_seconds_that_are_asked_for_come_before_scenes(tmp_path: Path) -> None:
    answers = [answer_at(float(n), n) for n in range(20)]
    assert offered(tmp_path / "a", answers, every_s=10.0) == 2


def test_the_pipeline_fills_an_audit_of_its_model(tmp_path: Path) -> None:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(
            open_source("synth:?rate=0&frames=300&hold=5", runtime.info.labels), runtime
        )
        with Auditor(
            tmp_path / "a", pipeline, options=AuditOptions(by_chance=10, unsure=5)
        ) as auditor:
            pipeline.add(auditor)
            pipeline.run()
        labels = runtime.info.labels
        assert runtime.info.manifest is not None
        identity = runtime.info.manifest.identity
    audited = read_audit(tmp_path / "a")
    assert (audited.identity, audited.labels) == (identity, labels)
    assert sum(audited.offered.values()) > 40
    assert 10 <= len(audited.frames) <= 15
    rows = json.loads((tmp_path / "a" / INDEX).read_text())["frames"]
    assert all(len(row["probabilities"]) == 13 for row in rows)
    # a wall clock, for people
    assert all(row["at_s"] > 1.6e9 for row in rows)


def test_a_restart_says_that_it_goes_on(tmp_path: Path) -> None:
    for _ in range(2):
        with shipped_runtime() as runtime:
            pipeline = Pipeline(ListSource([1]), runtime)
            with Auditor(tmp_path / "a", pipeline) as auditor:
                auditor.take(answer_at(0))
    said = [event.text for event in pipeline.events.since(0)]
    assert said == [f"The audit in '{tmp_path / 'a'}' goes on: 1 frames kept of 1 offered."]


def test_a_full_disk_is_an_event_and_its_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource([1]), runtime)
        with Auditor(tmp_path / "a", pipeline, every_s=0.0) as auditor:
            auditor.take(answer_at(0))
            auditor._offers.join()
            for module in ("audit", "audit_index"):
                monkeypatch.setattr(f"edgecv.drift.{module}.write_atomically", full)
            for n in range(5):
                auditor.take(answer_at(n))
            auditor._offers.join()
            for module in ("audit", "audit_index"):
                monkeypatch.setattr(f"edgecv.drift.{module}.write_atomically", Path.write_bytes)
            auditor.take(answer_at(9))
            auditor._offers.join()
            monkeypatch.setattr("edgecv.drift.audit_index.write_atomically", full)
    said = [event.text.partition("' are ")[2] for event in pipeline.events.since(0)]
    # the last one at the end, where the index cannot be written
    assert said == [
        "not kept: No space left on device.", "kept again.", "not kept: No space left on device.",
    ]  # fmt: skip
    assert [f.inclusion for f in read_audit(tmp_path / "a").frames] == [1.0, 1.0]


class Live(ListSource):
    live = True  # type: ignore[misc]


@pytest.mark.parametrize(("kind", "expected"), [(ListSource, 6), (Live, 3)])
def test_a_live_camera_does_not_wait_for_the_disk(
    kind: type[ListSource], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Semaphore(0)

    def slow(path: Path, content: bytes) -> None:
        assert disk.acquire(timeout=20)
        path.write_bytes(content)

    with shipped_runtime() as runtime:
        pipeline = Pipeline(kind([1]), runtime)
        with Auditor(tmp_path / "a", pipeline, every_s=0.0) as auditor:
            monkeypatch.setattr("edgecv.drift.audit.write_atomically", slow)
            if kind is ListSource:
                disk.release(6)
            auditor.take(answer_at(0))
            while auditor._offers.full():
                time.sleep(0.001)
            # one is being written and one waits; the next three are not even offered
            for n in range(1, 5):
                auditor.take(answer_at(n))
            disk.release(6)
            auditor._offers.join()
            auditor.take(answer_at(9))
    assert sum(read_audit(tmp_path / "a").offered.values()) == expected


def test_scores_of_another_model_reach_the_loop(tmp_path: Path) -> None:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource([1]), runtime)
        with Auditor(tmp_path / "a", pipeline, every_s=0.0) as auditor:
            auditor.take(answer_at(0, classes=3))
            auditor._offers.join()
            with pytest.raises(InputError, match="3"):
                auditor.take(answer_at(1))


def test_frames_that_never_fit_are_said_once(tmp_path: Path) -> None:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource([1]), runtime)
        options = AuditOptions(most_bytes=5)
        with Auditor(tmp_path / "a", pipeline, options=options, every_s=0.0) as auditor:
            for n in range(5):
                auditor.take(answer_at(n))
    [event] = pipeline.events.since(0)
    assert "not even one fits" in event.text


def test_an_exception_leaves_a_whole_index(tmp_path: Path) -> None:
    class Broken:
        def take(self, answer: Answer) -> None:
            if answer.frame.number == 50:
                raise RuntimeError("a sink broke")

    def crash() -> None:
        with shipped_runtime() as runtime:
            source = open_source("synth:?rate=0&hold=1", runtime.info.labels)
            pipeline = Pipeline(source, runtime)
            options = AuditOptions(by_chance=3)
            with Auditor(tmp_path / "a", pipeline, options=options) as auditor:
                pipeline.add(auditor)
                pipeline.add(Broken())
                pipeline.run()

    with pytest.raises(RuntimeError):
        crash()
    # frame 50 itself was offered, too: the audit is the sink before the broken one
    assert sum(read_audit(tmp_path / "a").offered.values()) == 51


def test_a_file_without_a_manifest_has_the_digest_of_its_content(
    outside_data: Path, tmp_path: Path
) -> None:
    path = outside_data / "models" / "vww_96_int8.tflite"
    with Runtime(path, labels=["no person", "person"], preprocess="unit") as runtime:
        assert runtime.info.manifest is None
        assert identity_of(runtime) == artifact.identity("tflite", path.read_bytes())
        Auditor(tmp_path / "a", Pipeline(ListSource([1]), runtime))


def test_a_sealed_file_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "digits.tflite"
    path.write_bytes(load_bundle().files[MODELS["tflite"]])
    with Runtime(path) as runtime, shipped_runtime() as shipped:
        assert identity_of(runtime) == identity_of(shipped) == artifact.read(path).identity


def test_scores_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource([1]), runtime)

        class Unsaid:
            class info:  # noqa: N801 - stands for the runtime's
                score_kind = ""

        pipeline._runtime = Unsaid()  # type: ignore[assignment]
        with pytest.raises(InputError, match="logits or probabilities"):
            Auditor(tmp_path / "a", pipeline)
    assert not (tmp_path / "a").exists()
