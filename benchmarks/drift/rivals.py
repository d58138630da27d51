"""Tests that people run per frame on the model's confidence: their false alarms and delays on our streams."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: Frames per Kolmogorov-Smirnov test.
KS_FRAMES = 200


def ks_values(stream: Array, reference: Array, every: int = 1) -> list[tuple[int, float]]:
    """Frames and p-values of two-sample tests of 200 (thinned) frames; windows do not overlap."""
    from scipy.stats import ks_2samp

    thinned = stream[::every]
    return [
        (
            end * every - 1,
            float(ks_2samp(thinned[end - KS_FRAMES : end], reference, method="asymp").pvalue),
        )
        for end in range(KS_FRAMES, len(thinned) + 1, KS_FRAMES)
    ]


def ks_rows(streams: dict[str, Array], reference: Array, stride: int) -> list[dict[str, Any]]:
    """In the form of ``by_river.py``."""
    rows = []
    for every in (1, stride):
        name = "KS, every frame" if every == 1 else f"KS, every {every}th frame"
        values = {k: ks_values(s, reference, every) for k, s in streams.items()}
        for level in (0.01, 1e-4, 1e-8, 1e-16, 1e-32):
            fired = {k: [at for at, p in found if p < level] for k, found in values.items()}
            rows.append({"detector": name, "setting": {"level": level}, "fired": fired})
    return rows


def river_rows(streams: dict[str, Array], python: Path, work: Path) -> list[dict[str, Any]]:
    """Run ``by_river.py`` under another interpreter."""
    np.savez(work / "streams.npz", **streams)  # type: ignore[arg-type]
    script = Path(__file__).with_name("by_river.py")
    line = [str(python), str(script), str(work / "streams.npz"), str(work / "river.json")]
    subprocess.run(line, check=True)
    rows: list[dict[str, Any]] = json.loads((work / "river.json").read_text())
    return rows


def judged(rows: list[dict[str, Any]], before: int, allowed: float) -> list[dict[str, Any]]:
    """Each detector as it comes, and in the setting that is quiet enough on half of the streams.

    Streams are called ``quiet-0``, ``dark-3`` and so on; in the latter the fault begins at frame *before*.

    Args:
        rows: Detections.
        before: Frames before a fault.
        allowed: False alarms per 100,000 frames that are as many as ours state.
    """
    found = []
    for name in dict.fromkeys(row["detector"] for row in rows):
        own = [row for row in rows if row["detector"] == name]
        found.append(_row(own[0], before, "as it comes"))
        tuning = [_false(row, before, even=True) for row in own]
        quiet = [row for row, rate in zip(own, tuning, strict=True) if rate <= allowed]
        if quiet:
            # of those that are quiet enough the most sensitive one
            best = max(quiet, key=lambda row: (_hits(row, before), -_delay(row, before)))
            found.append(_row(best, before, "quiet enough"))
        else:
            found.append(_row(own[-1], before, "never quiet enough; least sensitive"))
    return found


def _streams(row: dict[str, Any], quiet: bool) -> dict[str, list[int]]:
    return {k: v for k, v in row["fired"].items() if k.startswith("quiet") == quiet}


def _false(row: dict[str, Any], before: int, *, even: bool | None = None) -> float:
    """False alarms per 100,000 frames on quiet streams; of even or odd ones, or of all."""
    streams = {
        k: v
        for k, v in _streams(row, True).items()
        if even is None or (int(k.split("-")[1]) % 2 == 0) == even
    }
    return 1e5 * sum(map(len, streams.values())) / (before * len(streams))


def _delays(row: dict[str, Any], before: int) -> list[float]:
    firsts = [[f for f in fired if f >= before] for fired in _streams(row, False).values()]
    return [float(late[0] - before) if late else float("inf") for late in firsts]


def _hits(row: dict[str, Any], before: int) -> int:
    return sum(np.isfinite(_delays(row, before)))


def _delay(row: dict[str, Any], before: int) -> float:
    return float(np.median(_delays(row, before)))


def _row(row: dict[str, Any], before: int, note: str) -> dict[str, Any]:
    delays = _delays(row, before)
    return {
        "detector": row["detector"],
        "setting": ", ".join(f"{k} {v:g}" for k, v in row["setting"].items()),
        "note": note,
        # judged on streams that no setting was chosen on
        "false alarms per 100k frames": _false(row, before, even=False),
        "found": int(np.isfinite(delays).sum()),
        "streams": len(delays),
        "median delay frames": float(np.median(delays)),
    }
