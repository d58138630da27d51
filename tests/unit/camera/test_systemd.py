"""systemd: what is told to it, and the unit that is printed for it."""

from __future__ import annotations

import configparser
import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from edgecv.camera.systemd import Watchdog, notify, unit


def test_the_watchdog_is_fed_at_half_of_its_limit(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        watchdog = Watchdog({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        said = []
        began = time.monotonic()
        while time.monotonic() - began < 0.8:
            watchdog()
            time.sleep(0.002)
            with contextlib.suppress(BlockingIOError):
                said.append(manager.recv(100))
        assert said[:2] == [b"READY=1", b"WATCHDOG=1"]
        # every 0.1 s; a loaded machine may miss some, and none comes early
        assert set(said[1:]) == {b"WATCHDOG=1"}
        assert 3 <= len(said[1:]) <= 9


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0edgecv-test-notify")
        assert notify("READY=1", {"NOTIFY_SOCKET": "@edgecv-test-notify"})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    assert not notify("READY=1", {"NOTIFY_SOCKET": address})
    Watchdog({"NOTIFY_SOCKET": address})()


def test_arguments_reach_the_command_as_they_were() -> None:
    words = [
        "/usr/bin/edgecv",
        "camera",
        "a b",
        "100%",
        "$HOME",
        'say "x"',
        "back\\slash",
        "--token=it's",
    ]
    line = next(x for x in unit(words, user="pi").splitlines() if x.startswith("ExecStart="))
    assert line == (
        'ExecStart=/usr/bin/edgecv camera "a b" 100%% $$HOME "say \\"x\\"" "back\\\\slash" "--token=it\'s"'
    )


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "edgecv-camera.service"
    path.write_text(unit(["/bin/true", "camera", "a b%"], user="root"))
    parsed = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(path)
    assert parsed.sections() == ["Unit", "Service", "Install"]
    assert parsed["Service"]["NotifyAccess"] == "main"
    if shutil.which("systemd-analyze"):
        words = ["systemd-analyze", "verify", "--man=no", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "edgecv-camera.service:" not in done.stderr
