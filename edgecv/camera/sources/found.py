"""What cameras this machine has, for the error of a source that does not open."""

from __future__ import annotations

from edgecv.board import system
from edgecv.board.probe import Machine
from edgecv.camera.sources.base import SourceError

__all__ = ["cameras_found", "not_opened"]


def cameras_found(machine: Machine | None = None) -> str:
    """One sentence on the video devices and the Raspberry Pi cameras that are there.

    >>> from pathlib import Path
    >>> cameras_found(Machine(Path("/nowhere"), run=lambda *_, **__: open("/nowhere")))
    'No video device and no Raspberry Pi camera was found.'
    """
    machine = machine or Machine()
    devices = system.cameras(machine).value or ()
    parts = [f"video devices: {', '.join(devices)}"] if devices else []
    for program in ("rpicam-hello", "libcamera-hello"):
        listed = machine.command(program, "--list-cameras").value
        if listed and "No cameras" not in listed:
            names = [line.strip() for line in listed.splitlines() if line[:1].isdigit()]
            if names:
                parts.append(f"Raspberry Pi cameras: {'; '.join(names)}")
            break
    if not parts:
        return "No video device and no Raspberry Pi camera was found."
    return f"Found {'; '.join(parts)}."


def not_opened(uri: str, why: str, machine: Machine | None = None) -> SourceError:
    """The error for a camera that cannot be opened."""
    return SourceError(
        f"the source {uri} cannot be opened: {why}",
        cure=f"{cameras_found(machine)} Without a camera: --source synth:",
    )
