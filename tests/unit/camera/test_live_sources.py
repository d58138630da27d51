"""Cameras that are none: fake programs, fake devices, servers of pictures, broken streams."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from camera_parts import Collect, shipped_runtime
from stream_servers import RtspServer, gray, grays, jpeg, run

from edgecv.board.probe import Machine
from edgecv.camera import Pipeline, SourceError, open_source
from edgecv.camera import capture as capture_module
from edgecv.camera.sources.found import cameras_found, not_opened
from edgecv.errors import InputError, MissingExtraError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "BACKOFF_S", (0.02, 0.1))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def fake(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport sys, time, os\nout = sys.stdout.buffer\n{textwrap.dedent(body)}"
    )
    path.chmod(0o755)


def pictures(folder: Path, *values: int) -> str:
    for value in values:
        (folder / f"{value}.jpg").write_bytes(jpeg(value))
    return str(folder)


class TestPicam:
    def test_the_pipe_of_rpicam_vid(self, programs: Path, tmp_path: Path) -> None:
        where = pictures(tmp_path, 30, 90)
        fake(
            programs, "rpicam-vid",
            f"""
            open({str(tmp_path / "words")!r}, "w").write(" ".join(sys.argv[1:]))
            for n in range(10**6):
                data = open({where!r} + ("/30.jpg", "/90.jpg")[n % 2], "rb").read()
                out.write(data[:50]); out.flush(); time.sleep(0.002); out.write(data[50:]); out.flush()
                time.sleep(0.01)
            """,
        )  # fmt: skip
        source = open_source("picam:1?size=320x240&fps=15")
        summary, seen, _ = run(source, frames=8)
        assert set(seen) == {30, 90}
        assert summary["frames_out"] == 8
        words = (tmp_path / "words").read_text()
        for part in (
            "--codec mjpeg",
            "--camera 1",
            "--width 320 --height 240",
            "--framerate 15",
            "--output -",
        ):
            assert part in words
        assert source._process is None  # type: ignore[attr-defined]

    def test_a_camera_that_is_not_there_shows_the_programs_words(self, programs: Path) -> None:
        fake(
            programs,
            "rpicam-vid",
            "sys.stderr.write('ERROR: *** no cameras available ***\\n'); sys.exit(255)",
        )
        fake(
            programs,
            "rpicam-hello",
            "print('Available cameras\\n0 : imx219 [3280x2464] (/base/x)')",
        )
        with pytest.raises(SourceError) as caught:
            run(open_source("picam:7"))
        assert "ended with code 255: ERROR: *** no cameras available ***" in str(caught.value)
        assert "Raspberry Pi cameras: 0 : imx219" in str(caught.value)

    def test_a_program_that_dies_is_started_again(self, programs: Path, tmp_path: Path) -> None:
        where = pictures(tmp_path, 30)
        fake(
            programs, "libcamera-vid",
            f"""
            for n in range(3):
                out.write(open({where!r} + "/30.jpg", "rb").read()); out.flush(); time.sleep(0.02)
            sys.stderr.write("device disappeared\\n"); sys.exit(1)
            """,
        )  # fmt: skip
        summary, _, pipeline = run(open_source("picam:0"), frames=5)
        assert summary["frames_out"] == 5
        assert pipeline.counts.losses >= 1
        assert "ended with code 1: device disappeared" in " ".join(
            e.text for e in pipeline.events.since(0)
        )

    def test_a_program_that_hangs_is_killed_and_started_again(
        self, programs: Path, tmp_path: Path
    ) -> None:
        where = pictures(tmp_path, 30)
        fake(
            programs, "rpicam-vid",
            f"""
            out.write(open({where!r} + "/30.jpg", "rb").read()); out.flush(); time.sleep(60)
            """,
        )  # fmt: skip
        source = open_source("picam:0")
        source.stall_s = 0.3
        began = time.monotonic()
        summary, _, pipeline = run(source, frames=2)
        assert summary["frames_out"] == 2
        assert pipeline.counts.losses == 1
        assert time.monotonic() - began < 8

    def test_picamera2_where_there_is_no_program(
        self, programs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[Any] = []

        class Picamera2:
            def __init__(self, number: int) -> None:
                calls.append(number)

            def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
                return main

            def configure(self, main: dict[str, Any]) -> None:
                calls.append(main)

            def start(self) -> None:
                calls.append("start")

            def stop(self) -> None:
                calls.append("stop")

            def close(self) -> None:
                calls.append("close")

            def capture_array(self, name: str) -> np.ndarray:
                return np.full((48, 64, 3), 66, np.uint8)

        library = ModuleType("picamera2")
        library.Picamera2 = Picamera2  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "picamera2", library)
        source = open_source("picam:2")
        source.open()
        assert grays(source, 2) == [66, 66]
        source.close()
        assert calls == [2, {"format": "BGR888", "size": (640, 480)}, "start", "stop", "close"]

    def test_without_either_both_are_named(
        self, programs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "picamera2", None)
        with pytest.raises(
            SourceError, match=r"no rpicam-vid, and picamera2 cannot be imported.*synth:"
        ):
            open_source("picam:").open()


class FakeCapture:
    """cv2.VideoCapture of a camera that gives so many frames per opening."""

    def __init__(self, frames: int = 3, opened: bool = True) -> None:
        self.set_to: dict[int, float] = {}
        self._left, self._opened, self.released = frames, opened, False

    def set(self, name: int, value: float) -> None:
        self.set_to[name] = value

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._opened

    def grab(self) -> bool:
        time.sleep(0.02)
        self._left -= 1
        return self._left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 0], frame[..., 2] = 10, 200  # blue, red
        return True, frame

    def release(self) -> None:
        self.released = True


class TestUsb:
    def test_red_stays_red_and_a_pulled_plug_is_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import cv2

        opened: list[FakeCapture] = []

        def video_capture(device: str, api: int) -> FakeCapture:
            assert (device, api) == (str(tmp_path / "video0"), cv2.CAP_V4L2)
            opened.append(FakeCapture(4))
            return opened[-1]

        (tmp_path / "video0").touch()
        monkeypatch.setattr(cv2, "VideoCapture", video_capture)
        sink = Collect()
        with shipped_runtime() as runtime:
            source = open_source(f"v4l2:{tmp_path / 'video0'}?size=320x240&fps=15")
            pipeline = Pipeline(source, runtime, sinks=[sink])
            pipeline.run(frames=5)
        assert sink.answers[0].frame.shot.pixels[0, 0].tolist() == [200, 0, 10]
        assert pipeline.counts.losses >= 1
        assert opened[0].set_to[cv2.CAP_PROP_FRAME_WIDTH] == 320
        assert opened[0].set_to[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
        assert all(capture.released for capture in opened)

    def test_what_is_there_is_listed(self, tmp_path: Path) -> None:
        for number, name in enumerate(("HD Pro Webcam C920", "bcm2835-isp")):
            entry = tmp_path / f"sys/class/video4linux/video{number}"
            entry.mkdir(parents=True)
            (entry / "name").write_text(name + "\n")

        def no_programs(*_: Any, **__: Any) -> Any:
            raise FileNotFoundError

        machine = Machine(tmp_path, run=no_programs)
        assert cameras_found(machine) == (
            "Found video devices: /dev/video0 (HD Pro Webcam C920), /dev/video1 (bcm2835-isp)."
        )
        error = not_opened("usb:9", "there is no /dev/video9", machine)
        assert "C920" in str(error)
        assert "--source synth:" in str(error)

    def test_a_missing_device_and_a_device_that_is_no_camera(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="there is no /dev/video99"):
            open_source("usb:99").open()
        (tmp_path / "x").write_bytes(b"no camera")
        with pytest.raises(SourceError, match="gives no frame"):
            open_source(f"v4l2:{tmp_path / 'x'}").open()

    @pytest.mark.parametrize(
        "uri", ["usb:front", "usb:0?zoom=2", "picam:x", "picam:0?size=big", "usb:0?size=640"]
    )
    def test_what_cannot_be_meant_is_refused(self, uri: str) -> None:
        with pytest.raises(InputError):
            open_source(uri)

    def test_without_opencv_the_command_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "edgecv.errors.find_spec", lambda name: None if name == "cv2" else SimpleNamespace()
        )
        with pytest.raises(MissingExtraError, match=r"pip install 'edgecv\[opencv\]'"):
            open_source("usb:0")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of growing gray."""
    import cv2

    path = tmp_path_factory.mktemp("video") / "ten.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number + 20, np.uint8))
    writer.release()
    return path


class TestVideo:
    def test_every_frame_in_order_and_again_on_request(self, video: Path) -> None:
        summary, seen, _ = run(open_source(f"file:{video}"))
        assert seen == pytest.approx([20 * n + 20 for n in range(10)], abs=2)
        assert (summary["frames_in"], summary["frames_dropped"]) == (10, 0)
        assert summary["latency_ms"]["capture"]["p50"] > 0

    def test_what_is_no_video_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "x.mp4").write_bytes(b"no video")
        with pytest.raises(SourceError, match="is no video"):
            open_source(f"file:{tmp_path / 'x.mp4'}").open()
        with pytest.raises(InputError, match="there is no file"):
            open_source("file:nowhere.mp4")

    def test_a_bare_path_gets_a_hint(self, video: Path) -> None:
        with pytest.raises(InputError, match=f"For the video: file:{video}"):
            open_source(str(video))
        with pytest.raises(InputError, match=f"For the folder: dir:{video.parent}"):
            open_source(str(video.parent))


class TestRtsp:
    def test_pictures_come_and_a_server_that_was_gone_is_found_again(self) -> None:
        first = RtspServer()
        source = open_source(f"rtsp://me:secret@127.0.0.1:{first.port}/x?y=z")
        assert source.uri == f"rtsp://***@127.0.0.1:{first.port}/x?***"
        source.stall_s = 3.0
        servers = [first]

        class Restart(Collect):
            def take(self, answer: Any) -> None:
                super().take(answer)
                if len(self.answers) == 5:
                    first.__exit__()
                    servers.append(RtspServer(first.port))

        sink = Restart()
        with shipped_runtime() as runtime:
            pipeline = Pipeline(source, runtime, sinks=[sink])
            pipeline.run(frames=12, seconds=40)
        for server in servers:
            server.__exit__()
        assert len(sink.answers) == 12
        assert pipeline.counts.losses >= 1
        shades = {gray(answer.frame.shot.pixels) for answer in sink.answers}
        assert len(shades) >= 3
        assert all(min(abs(shade - v) for v in range(20, 240, 20)) <= 3 for shade in shades)
        assert "interleaved" in " ".join(first.requests)

    def test_nobody_there_is_said_without_the_password(self) -> None:
        server = RtspServer()
        server.__exit__()
        with pytest.raises(SourceError, match="no stream answers") as caught:
            open_source(f"rtsp://me:secret@127.0.0.1:{server.port}/x").open()
        assert "secret" not in str(caught.value)


def test_nothing_of_a_camera_is_left_running(programs: Path, tmp_path: Path) -> None:
    where = pictures(tmp_path, 30)
    fake(
        programs, "rpicam-vid",
        f"""
        open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
        while True:
            out.write(open({where!r} + "/30.jpg", "rb").read()); out.flush(); time.sleep(0.02)
        """,
    )  # fmt: skip
    run(open_source("picam:0"), seconds=0.3)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
