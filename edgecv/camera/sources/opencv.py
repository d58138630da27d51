"""``usb:0``, ``v4l2:/dev/video0``, ``rtsp://…`` and ``file:video.mp4``, by OpenCV."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from edgecv.camera.frame import Shot
from edgecv.camera.sources.base import Source, SourceError
from edgecv.camera.sources.found import not_opened
from edgecv.camera.sources.uri import SourceURI, parse_frame_size, redacted
from edgecv.errors import InputError, MissingExtraError, require
from edgecv.measure import Timer

__all__ = ["NetworkSource", "UsbSource", "VideoSource"]

_FFMPEG_OPTIONS: Final = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def _opencv() -> Any:
    try:
        require("cv2", extra="opencv")
    except MissingExtraError as error:
        raise MissingExtraError.of("opencv-python-headless", "opencv") from error
    # what goes wrong is said by our events, once; FFmpeg would say it per packet (-8: AV_LOG_QUIET)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)  # its threads would take the cores of the model
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return cv2


class _LiveSource(Source):
    """A camera that OpenCV reads: a frame is decoded where it is grabbed."""

    live: ClassVar[bool] = True

    def __init__(self) -> None:
        self._cv2 = _opencv()
        self._capture: Any = None

    def grab(self) -> tuple[Any, int]:
        """The next frame, with the time that its decoding took.

        Raises:
            SourceError: None came; OpenCV waits ten seconds.
        """
        if self._capture is None or not self._capture.grab():
            raise SourceError(
                f"the source {self.uri} gives no more frames", cure="Is it plugged in?"
            )
        with Timer() as timer:
            there, frame = self._capture.retrieve()
        if not there or frame is None:
            raise SourceError(
                f"the source {self.uri} gave an empty frame", cure="Is it plugged in?"
            )
        return frame, timer.wall_ns

    def decode(self, raw: tuple[Any, int]) -> Shot:
        """Put its colors in order."""
        frame, decoding_ns = raw
        return Shot(_rgb(self._cv2, frame), decoding_ns=decoding_ns)

    def close(self) -> None:
        """Give the device back."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _rgb(cv2: Any, frame: Any) -> Any:
    """RGB of what OpenCV gives: BGR, or grey of a camera without color."""
    code = cv2.COLOR_GRAY2RGB if frame.ndim == 2 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(frame, code)


class UsbSource(_LiveSource):
    """A USB camera, or any other video device of the kernel.

    Args:
        uri: The place is a number or a path; options ``size`` and ``fps``, else what the camera likes.
        labels: Not used.
    """

    def __init__(self, uri: SourceURI, labels: tuple[str, ...] = ()) -> None:
        uri.refuse_unknown("size", "fps")
        place = uri.place or "0"
        if uri.scheme == "usb" and not re.fullmatch(r"\d{1,3}", place):
            raise InputError(
                f"'usb:{place}' names no camera", cure="For example usb:0, or v4l2:/dev/video0."
            )
        self._device = f"/dev/video{place}" if place.isdigit() else place
        self.uri: str = f"{uri.scheme}:{place}"
        self._size = parse_frame_size(uri.options["size"]) if "size" in uri.options else None
        self._fps = uri.number("fps", 0, 0, 1000)
        super().__init__()

    def open(self) -> None:
        """Open the device.

        Raises:
            SourceError: It is not there, or gives no frame.
        """
        self.close()
        if not Path(self._device).exists():
            raise not_opened(self.uri, f"there is no {self._device}")
        cv2 = self._cv2
        capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
        # compressed by the camera: raw frames of this size do not fit through USB 2 at full rate
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if self._size is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        if self._fps:
            capture.set(cv2.CAP_PROP_FPS, self._fps)
        if not capture.isOpened() or not capture.grab():
            capture.release()
            raise not_opened(
                self.uri,
                f"{self._device} gives no frame; is another program using it, or is it no camera?",
            )
        self._capture = capture


class NetworkSource(_LiveSource):
    """A network camera that speaks RTSP. User and password may stand in the URI; they are not shown.

    Args:
        uri: The whole URI.
        labels: Not used.
    """

    def __init__(self, uri: SourceURI, labels: tuple[str, ...] = ()) -> None:
        self.uri: str = redacted(uri.place)
        self._address = uri.place
        self._transport = "tcp"
        super().__init__()

    def open(self) -> None:
        """Connect over TCP, or over UDP where the camera has nothing else.

        ``OPENCV_FFMPEG_CAPTURE_OPTIONS`` in the environment decides instead where it is set.

        Raises:
            SourceError: Nobody answers within ten seconds.
        """
        self.close()
        if _FFMPEG_OPTIONS in os.environ:
            capture = self._connect()
        else:
            # lost packets of UDP show as smeared pictures, which would be taken for drift
            for transport in ("udp", "tcp") if self._transport == "udp" else ("tcp", "udp"):
                with Timer() as timer, _ffmpeg_options(f"rtsp_transport;{transport}"):
                    capture = self._connect()
                # a camera that refuses TCP says so at once; one that is silent would be silent again
                if capture is not None or timer.wall_ns > self.stall_s * 0.5e9:
                    break
            if capture is not None:
                self._transport = transport
        if capture is None:
            raise SourceError(
                f"the source {self.uri} cannot be opened: no stream answers",
                cure="Check address, user and password with another program, e.g. ffplay.",
            )
        self._capture = capture

    def _connect(self) -> Any:
        cv2, limit = self._cv2, round(self.stall_s * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, limits)
        if capture.isOpened():
            return capture
        capture.release()
        return None


@contextlib.contextmanager
def _ffmpeg_options(text: str) -> Iterator[None]:
    """OpenCV has no other way to them."""
    os.environ[_FFMPEG_OPTIONS] = text
    try:
        yield
    finally:
        del os.environ[_FFMPEG_OPTIONS]


class VideoSource(Source):
    """A video file; every frame is answered.

    Args:
        uri: The place is a path; option ``rate``: frames per second, 0 as fast as they are answered.
        labels: Not used.
    """

    def __init__(self, uri: SourceURI, labels: tuple[str, ...] = ()) -> None:
        uri.refuse_unknown("rate")
        self.uri: str = f"file:{uri.place}"
        self.rate_hz: float = uri.number("rate", 0, 0, 1000)
        self._path = Path(uri.place)
        if not self._path.is_file():
            raise InputError(f"there is no file '{self._path}'", cure="Check the path.")
        self._cv2 = _opencv()
        self._capture: Any = None

    def open(self) -> None:
        """Open the file.

        Raises:
            SourceError: It is no video that OpenCV reads.
        """
        self.close()
        capture = self._cv2.VideoCapture(str(self._path), self._cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise SourceError(
                f"'{self._path}' is no video that OpenCV reads", cure="Convert it to MP4 (H.264)."
            )
        self._capture = capture

    def grab(self) -> bool | None:
        """Go to the next frame."""
        return True if self._capture is not None and self._capture.grab() else None

    def decode(self, raw: bool) -> Shot:
        """Decode it.

        Raises:
            InputError: It is damaged.
        """
        there, frame = self._capture.retrieve()
        if not there or frame is None:
            raise InputError(
                f"a frame of '{self._path}' is damaged", cure="Convert the file again."
            )
        return Shot(_rgb(self._cv2, frame))

    def close(self) -> None:
        """Give the file back."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
