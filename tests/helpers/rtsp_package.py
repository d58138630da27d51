"""An RTSP server that is not ours: Debian's rtsp-server-perl, installed or unpacked, and a camera that feeds it H.264.

The server takes one stream from a camera (RTSP ANNOUNCE and RECORD) and gives it to viewers; both over UDP only, like
many a cheap network camera. Nothing is installed: the packages (2 MB) are unpacked into a folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["SHADES", "PackagedServer", "UnavailableError", "fetch"]

#: Gray levels that the camera shows, half a second each.
SHADES = tuple(range(30, 230, 40))
_PROGRAM = "rtsp-server-perl"
_CAMERA = """\
import sys, time
from fractions import Fraction
import av, numpy as np
out = av.open(sys.argv[1], "w", format="rtsp", options={"rtsp_transport": "udp"})
video = out.add_stream("libx264", rate=20, options={"preset": "ultrafast", "tune": "zerolatency", "g": "5"})
video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
shades, began = [int(word) for word in sys.argv[2:]], time.monotonic()
for number in range(10**6):
    gray = np.full((96, 128, 3), shades[number // 10 % len(shades)], np.uint8)
    frame = av.VideoFrame.from_ndarray(gray, format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, 20)
    for packet in video.encode(frame):
        out.mux(packet)
    time.sleep(max(0.0, began + number / 20 - time.monotonic()))
"""


class UnavailableError(RuntimeError):
    """The server cannot be had here."""


def fetch(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the server; its packages are unpacked into *folder* unless it is installed.

    Raises:
        UnavailableError: No Debian, no mirror, or no perl.
    """
    installed = shutil.which(_PROGRAM)
    if installed:
        return [installed], {}
    missing = [tool for tool in ("apt-get", "dpkg", "perl") if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"{', '.join(missing)} not found")
    plan = _run("apt-get", "-s", "--no-install-recommends", "install", _PROGRAM).splitlines()
    names = [line.split()[1] for line in plan if line.startswith("Inst ")]
    archives, root = folder / "archives", folder / "root"
    archives.mkdir(parents=True)
    _run("apt-get", "-q", "download", *names, cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        _run("dpkg", "-x", str(archive), str(root))
    found = root / "usr/bin" / _PROGRAM
    if not found.exists():
        raise UnavailableError(f"{_PROGRAM} is not among {names}")
    modules = [root / "usr/share/perl5", *root.glob("usr/lib/*/perl5/*")]
    return ["perl", str(found)], {"PERL5LIB": ":".join(map(str, modules))}


def _run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=120)
    if done.returncode:
        raise UnavailableError(f"{' '.join(words[:4])}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class PackagedServer:
    """The server and its camera as processes; a context manager.

    Args:
        command: As :func:`fetch` gives it.
        environment: Likewise.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.port, self._intake = _free_port(), _free_port()
        local = ("--client_listen_address", "127.0.0.1", "--source_listen_address", "127.0.0.1")
        ports = ("-c", str(self.port), "-s", str(self._intake))
        self._command = [*command, *ports, *local]
        self._environment = {**os.environ, **environment}
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def uri(self) -> str:
        """Of its stream."""
        return f"rtsp://127.0.0.1:{self.port}/live"

    def start(self) -> None:
        """Both, until the stream is there."""
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(self._command, env=self._environment, stdout=quiet, stderr=quiet)
        self._processes.append(server)
        _until_open(self._intake, server)
        address = f"rtsp://127.0.0.1:{self._intake}/live"
        words = [sys.executable, "-c", _CAMERA, address, *map(str, SHADES)]
        self._processes.append(subprocess.Popen(words, stdout=quiet, stderr=quiet))
        _until_open(self.port, server)
        time.sleep(1.0)  # the camera announces itself

    def kill(self) -> None:
        """As a power cut."""
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """The connection stays, nothing comes."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        for process in self._processes:
            process.send_signal(signal.SIGCONT)

    def __enter__(self) -> PackagedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not listen on {port} (exit code {process.poll()})")
