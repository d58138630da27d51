"""One frame from the camera of a board, for the proof that there is one that works."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from edgecv.board import system
from edgecv.board.probe import Fact, Machine, absent
from edgecv.errors import InputError
from edgecv.preprocess import Pixels, load_rgb

__all__ = ["grab_frame"]

#: Raspberry Pi OS: bookworm and later, then bullseye.
_STILL: Final = ("rpicam-still", "libcamera-still")
_SECONDS: Final = 20.0
#: Frames that a USB camera needs until its exposure has settled.
_SETTLE: Final = 10


def grab_frame(machine: Machine | None = None) -> Fact[Pixels]:
    """A frame, RGB uint8 [H, W, 3], by the first way that works, or why none does.

    Tries the Raspberry Pi's own program, then OpenCV on a video device of the kernel.
    """
    machine = machine or Machine()
    reasons = []
    for program in _STILL:
        found = _by_program(program, machine)
        if found.value is not None:
            return found
        reasons.append(found.reason)
    usb = _by_opencv(machine)
    return usb if usb.value is not None else absent("; ".join([*reasons, usb.reason]))


def _by_program(program: str, machine: Machine) -> Fact[Pixels]:
    with tempfile.TemporaryDirectory(prefix="edgecv-frame-") as folder:
        path = Path(folder) / "frame.jpg"
        words = [program, "-n", "-t", "1000", "--width", "640", "--height", "480", "-o", str(path)]
        try:
            done = machine.run(
                words, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except FileNotFoundError:
            return absent(f"the program {program!r} is not installed")
        except subprocess.TimeoutExpired:
            return absent(f"{program} gave no frame within {_SECONDS:g} s")
        except OSError as error:
            return absent(f"{program} cannot be run: {error.strerror or error}")
        if done.returncode or not path.is_file():
            complaint = (done.stderr or "").strip().splitlines()
            return absent(f"{program}: {complaint[-1][:120] if complaint else 'no frame'}")
        try:
            return Fact(load_rgb(path))
        except InputError as error:
            return absent(f"{program}: {error.what}")


def _by_opencv(machine: Machine) -> Fact[Pixels]:
    listed = system.cameras(machine)
    if listed.value is None:
        return absent(listed.reason)
    if importlib.util.find_spec("cv2") is None:
        return absent(f"{listed.value[0]} needs OpenCV (pip install opencv-python-headless)")
    cv2 = importlib.import_module("cv2")
    for device in listed.value:
        capture = cv2.VideoCapture(device.split(" ", 1)[0])
        try:
            frames = [frame for ok, frame in (capture.read() for _ in range(_SETTLE)) if ok]
        finally:
            capture.release()
        if frames:
            return Fact(np.ascontiguousarray(frames[-1][..., ::-1]))
    return absent(f"no frame from {', '.join(listed.value)}")
