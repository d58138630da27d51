"""``picam:0``: a Raspberry Pi camera by the pipe of ``rpicam-vid``.

Not by picamera2 in the first place: the one of Raspberry Pi OS is built for NumPy 1, and importing it in a
virtual environment with NumPy 2 fails (picamera2 issues 1088, 1170, 1211).
"""

from __future__ import annotations

import importlib
import os
import re
import select
import shutil
import subprocess
import tempfile
from typing import IO, Any, ClassVar, Final

from edgecv.camera.frame import Shot
from edgecv.camera.sources.base import Source, SourceError
from edgecv.camera.sources.found import not_opened
from edgecv.camera.sources.jpegs import JpegSplitter
from edgecv.camera.sources.uri import SourceURI, parse_frame_size
from edgecv.errors import InputError
from edgecv.preprocess import load_rgb

__all__ = ["PicamSource"]

#: Bookworm and later, then bullseye.
_PROGRAMS: Final = ("rpicam-vid", "libcamera-vid")
_FIRST_S: Final = 10.0


class PicamSource(Source):
    """A camera on the CSI connector.

    Args:
        uri: The place is its number; options ``size`` (640x480) and ``fps`` (30).
        labels: Not used.
    """

    live: ClassVar[bool] = True

    def __init__(self, uri: SourceURI, labels: tuple[str, ...] = ()) -> None:
        uri.refuse_unknown("size", "fps")
        if not re.fullmatch(r"\d{0,2}", uri.place):
            raise InputError(f"'picam:{uri.place}' names no camera", cure="For example picam:0.")
        self._number = int(uri.place or 0)
        self.uri: str = f"picam:{self._number}"
        self._size = parse_frame_size(uri.options.get("size", "640x480"))
        self._fps = uri.number("fps", 30, 1, 240)
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._splitter = JpegSplitter()
        self._camera: Any = None

    def open(self) -> None:
        """Start the program, and wait for its first bytes.

        Raises:
            SourceError: Neither it nor picamera2 gives frames.
        """
        self.close()
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        if program is None:
            self._open_picamera2()
            return
        width, height = self._size
        words = [
            program, "--nopreview", "--timeout", "0", "--codec", "mjpeg", "--camera", str(self._number),
            "--width", str(width), "--height", str(height), "--framerate", f"{self._fps:g}", "--output", "-",
        ]  # fmt: skip
        self._splitter = JpegSplitter()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=0,
            )
        except OSError as error:
            raise not_opened(self.uri, f"{program}: {error.strerror or error}") from error
        try:
            self._read(_FIRST_S)
        except SourceError as error:
            self.close()
            raise not_opened(self.uri, error.what) from error

    def _open_picamera2(self) -> None:
        try:
            library = importlib.import_module("picamera2")
        except (ImportError, ValueError) as error:  # ValueError: built for another NumPy
            raise not_opened(
                self.uri, f"there is no rpicam-vid, and picamera2 cannot be imported ({error})"
            ) from error
        try:
            camera = library.Picamera2(self._number)
            # what libcamera calls BGR888 lies in memory as red, green, blue
            main = {"format": "BGR888", "size": self._size}
            camera.configure(camera.create_video_configuration(main=main))
            camera.start()
        except (RuntimeError, IndexError) as error:
            raise not_opened(self.uri, f"picamera2: {error}") from error
        self._camera = camera

    def grab(self) -> Any:
        """The next JPEG file, or an array where picamera2 gives the frames.

        Raises:
            SourceError: The program ended, or nothing came for a while.
        """
        if self._camera is not None:
            return self._camera.capture_array("main")
        while (picture := self._splitter.take()) is None:
            self._read(self.stall_s)
        return picture

    def _read(self, seconds: float) -> None:
        """Some bytes of the program into the splitter."""
        process = self._process
        if process is None or process.stdout is None:
            raise SourceError(f"the source {self.uri} is closed", cure="Open it again.")
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            raise SourceError(
                f"the source {self.uri} gave nothing for {seconds:g} s{self._complaint()}",
                cure="Check the ribbon cable.",
            )
        data = os.read(process.stdout.fileno(), 1 << 18)
        if not data:
            code = process.wait()
            raise SourceError(
                f"the source {self.uri}: the camera's program ended with code {code}{self._complaint()}",
                cure="Is another program using the camera?",
            )
        self._splitter.feed(data)

    def _complaint(self) -> str:
        """The last line that the program said."""
        if self._said is None:
            return ""
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 4096))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()[:160]}" if lines else ""

    def decode(self, raw: Any) -> Shot:
        """Decode it.

        Raises:
            InputError: It is damaged.
        """
        return Shot(load_rgb(raw))

    def interrupt(self) -> None:
        """End the program; a read of its pipe then ends, too."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def close(self) -> None:
        """End the program, or stop picamera2."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._said is not None:
            self._said.close()
            self._said = None
        if self._camera is not None:
            self._camera.stop()
            self._camera.close()
            self._camera = None
