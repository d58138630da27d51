"""What a measurement was taken on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgecv.board import Board
from edgecv.errors import InvalidMeasurementError

__all__ = ["environment", "peak_rss_bytes", "rss_bytes"]

_PACKAGES = ("edgecv", "numpy", "pillow", "ai-edge-litert", "openvino", "onnxruntime")


def environment(board: Board | None = None) -> dict[str, Any]:
    """Hardware and software of this machine, JSON-ready; None where the machine does not tell.

    It names neither host nor user.
    """
    board = board or Board()
    return {
        "machine": platform.machine(),
        "board": board.board_model(),
        "cpu": board.cpu_model(),
        "int8_instructions": None if (found := board.int8_instructions()) is None else list(found),
        "cores": available_cores(),
        "memory_bytes": board.memory_bytes(),
        "governor": board.governor(),
        "frequency_hz": board.frequency_hz(),
        "temperature_c": board.temperature_c(),
        "throttled_flags": board.throttled_flags(),
        "load_1min": board.load_1min(),
        "emulated": board.emulated(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": _versions(),
    }


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_rss_bytes(board: Board | None = None) -> int:
    """Peak resident memory of this process (VmHWM), in bytes.

    Raises:
        InvalidMeasurementError: The system does not tell.
    """
    return _memory("VmHWM", board)


def rss_bytes(board: Board | None = None) -> int:
    """Resident memory of this process now (VmRSS), in bytes.

    Raises:
        InvalidMeasurementError: The system does not tell.
    """
    return _memory("VmRSS", board)


def _memory(field: str, board: Board | None) -> int:
    value = (board or Board()).process_bytes(field)
    if value is None:
        raise InvalidMeasurementError(
            f"/proc/self/status has no {field}", cure="Measure memory on Linux."
        )
    return value


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
