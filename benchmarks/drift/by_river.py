"""Detectors of river on streams of one number per frame; run by ``run.py`` in an environment of its own.

Usage: ``python by_river.py STREAMS.npz OUT.json``. STREAMS holds float64 [frames] each; for every setting of
every detector the frames at which it fired are written. A detector begins anew after it fired.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: Library defaults first; then less and less sensitive.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "ADWIN": [{"delta": d} for d in (0.002, 1e-40, 1e-80, 1e-160)],
    "PageHinkley": [{"threshold": t, "delta": 0.005} for t in (50.0, 200.0, 400.0, 800.0)],
}


def fired(kind: Any, setting: dict[str, Any], stream: np.ndarray[Any, Any]) -> list[int]:
    """Frames at which a detector fires."""
    found, detector = [], kind(**setting)
    for frame, value in enumerate(stream.tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(frame)
            detector = kind(**setting)
    return found


def main() -> None:
    from river import drift

    rows = []
    with np.load(sys.argv[1]) as streams:
        for name, settings in SETTINGS.items():
            for setting in settings:
                frames = {
                    key: fired(getattr(drift, name), setting, streams[key]) for key in streams.files
                }
                rows.append({"detector": name, "setting": setting, "fired": frames})
    Path(sys.argv[2]).write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
