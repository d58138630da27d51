"""Frames: none is lost without being counted, and a lost source comes back."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from camera_parts import Collect, ListSource, LiveSource, hang, pause, shipped_runtime

from edgecv.camera import Capture, Events, Pipeline, PipelineOptions, SourceError
from edgecv.camera import capture as capture_module
from edgecv.errors import InputError, InvalidMeasurementError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "BACKOFF_S", (0.01, 0.04))


def run(
    source: Any, seconds: float = 0.0, **options: Any
) -> tuple[dict[str, Any], Collect, Pipeline]:
    sink = Collect(seconds)
    limits = {name: options.pop(name) for name in ("frames", "seconds") if name in options}
    with shipped_runtime() as runtime:
        pipeline = Pipeline(source, runtime, sinks=[sink], options=PipelineOptions(**options))
        return pipeline.run(**limits), sink, pipeline


def said(pipeline: Pipeline) -> str:
    return " ".join(event.text for event in pipeline.events.since(0))


def test_a_list_is_answered_whole_and_in_order() -> None:
    source = ListSource(range(100))
    summary, sink, _ = run(source, seconds=0.001)
    assert [answer.frame.shot.pixels[0, 0, 0] for answer in sink.answers] == list(range(100))
    assert [answer.frame.number for answer in sink.answers] == list(range(100))
    assert (summary["frames_in"], summary["frames_out"], summary["frames_dropped"]) == (100, 100, 0)
    assert source.closed == 1


def test_a_live_source_gives_the_newest_and_counts_the_rest() -> None:
    summary, sink, _ = run(
        LiveSource([x for n in range(200) for x in (n, pause(0.001))]), seconds=0.02
    )
    numbers = [answer.frame.number for answer in sink.answers]
    assert summary["frames_in"] == 200
    assert summary["frames_out"] == len(numbers) < 100
    assert summary["frames_out"] + summary["frames_dropped"] == 200
    assert numbers == sorted(set(numbers))
    # every gap is told with the answer after it
    assert [a.dropped for a in sink.answers[1:]] == [b - a - 1 for a, b in pairwise(numbers)]
    # never a backlog: at each answer the frame had come during the last answer or after it
    assert max(answer.glass_ns for answer in sink.answers[1:]) < 0.5e9


@pytest.mark.parametrize("kind", [ListSource, LiveSource])
def test_what_is_damaged_counts_as_dropped(kind: Any) -> None:
    class Damaged(kind):  # type: ignore[misc]
        def decode(self, raw: Any) -> Any:
            if raw % 3 == 0:
                raise InputError("half a picture", cure="Wait.")
            return super().decode(raw)

    items = [x for n in range(30) for x in ((n,) if kind is ListSource else (n, pause(0.005)))]
    summary, sink, pipeline = run(Damaged(items))
    assert summary["frames_in"] == 30
    assert summary["frames_out"] + summary["frames_dropped"] == 30
    assert pipeline.counts.damaged == 10 or (kind is LiveSource and pipeline.counts.dropped)
    assert all(int(a.frame.shot.pixels[0, 0, 0]) % 3 for a in sink.answers)
    assert "could not be decoded (half a picture)" in said(pipeline)


def test_a_source_that_never_opens_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"no such device. Plug it in"):
        run(LiveSource([1], [SourceError("no such device", cure="Plug it in")]))


def test_a_lost_source_is_opened_again_with_longer_waits() -> None:
    lost = SourceError("the plug was pulled", cure="Wait.")
    source = LiveSource([1, pause(0.02), lost, 2, pause(0.02)], [None, lost, lost, lost, None])
    summary, sink, pipeline = run(source)
    assert [int(a.frame.shot.pixels[0, 0, 0]) for a in sink.answers] == [1, 2]
    assert summary["frames_out"] == 2
    assert (source.opened, pipeline.counts.losses) == (5, 1)
    # doubled, up to the longest
    waits = [b - a for a, b in pairwise(source.openings[1:])]
    assert all(wait >= least for wait, least in zip(waits, (0.02, 0.04, 0.04), strict=True)), waits
    assert "is lost: the plug was pulled" in said(pipeline)
    assert said(pipeline).count("gives frames") == 2


def test_the_state_is_shown_while_it_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "BACKOFF_S", (0.01, 10.0))
    lost = SourceError("gone", cure="Wait.")
    source = LiveSource([1, pause(0.02), lost], [None, *([lost] * 100)])
    with shipped_runtime() as runtime:
        pipeline = Pipeline(source, runtime)
        summary = pipeline.run(seconds=0.5)
        shown = pipeline.stats()["source"]
    assert (shown["state"], shown["losses"]) == ("lost", 1)
    assert "gone; next try in" in shown["detail"]
    # the wait of seconds did not hold up the end
    assert pipeline.seconds < 2
    assert summary["frames_out"] == 1


def test_a_stalled_source_is_interrupted_and_opened_again() -> None:
    source = LiveSource([1, hang, 2, pause(0.05)])
    summary, _, pipeline = run(source)
    assert summary["frames_out"] == 2
    assert "is stalled: no frame for" in said(pipeline)
    assert pipeline.counts.losses == 1


def test_a_clock_that_is_set_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = iter(range(10**9, 0, -(10**5)))
    monkeypatch.setattr(time, "time", lambda: float(next(wall)))
    monkeypatch.setattr(time, "time_ns", lambda: next(wall) * 10**9)
    summary, sink, _ = run(ListSource(range(20)), seconds=0.001)
    assert summary["frames_out"] == 20
    assert all(0 < answer.glass_ns < 5e9 for answer in sink.answers)
    assert 0 < summary["fps_out"] < 1000


def test_a_loop_begins_again_and_an_empty_one_is_refused() -> None:
    source = ListSource(range(3))
    summary, _, _ = run(source, loop=True, frames=8)
    assert (summary["frames_out"], source.opened) == (8, 3)
    with pytest.raises(InvalidMeasurementError, match="holds no frame"):
        run(ListSource([]), loop=True, frames=8)


def test_a_rate_is_held_and_nothing_is_made_up_after_a_pause() -> None:
    source = ListSource(range(20))
    source.rate_hz = 100.0
    began = time.monotonic()
    run(source)
    assert 0.17 <= time.monotonic() - began < 1.5
    source = ListSource(range(12))
    source.rate_hz = 50.0
    with Capture(source, Events()) as capture:
        times = []
        while not capture.ended:
            if capture.take() is not None:
                times.append(time.monotonic())
            if len(times) == 3:
                time.sleep(0.3)
    gaps = [b - a for a, b in pairwise(times)]
    # fifteen were due during the pause; a burst of them would be ten gaps of nothing
    assert sum(gap < 0.005 for gap in gaps) <= 5, gaps


def test_an_error_of_a_file_ends_the_run() -> None:
    with pytest.raises(SourceError, match="broken"):
        run(ListSource([1, SourceError("broken", cure="Mend it.")]))


def test_an_error_that_is_not_ours_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        run(LiveSource([1, pause(0.02), ZeroDivisionError()]))
