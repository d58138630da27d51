"""Does the memory of ``edgecv camera`` stay flat? Two cameras with all that a user may switch on, for half an hour.

- MobileNetV2 int8 with its page and a log, on a looped video by OpenCV (EDGECV_TEST_DATA names the folder with both);
- the shipped digits with page, log, drift monitor and audit, on ``synth:`` with faults that come and go.

A viewer of each comes and goes, too. Run: ``python benchmarks/camera_soak.py [--seconds 1800] [--record]``; with
``--record`` it writes the record and ``docs/camera-soak.svg``.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from record import Row, write

from edgecv.camera.records import read_records
from edgecv.measure import Watch

ROOT = Path(__file__).resolve().parents[1]
PLOT = ROOT / "docs" / "camera-soak.svg"
PORT = 8790
MOBILENET = "models/mobilenet_v2_1.0_224_quant.tflite"
#: A viewer looks for so long, and stays away for so long, s.
LOOKS, AWAY = 40, 20


def cameras(data: str | None, folder: Path) -> dict[str, list[str]]:
    """Name → words after ``edgecv camera``."""
    audit = ("--audit", str(folder / "audit"), "--audit-frames", "100")
    found = {
        "digits, synth:, drift monitor, audit": [
            "--source",
            "synth:?rate=20&dark=6000-9000&blur=15000-18000",
            *audit,
        ]
    }
    if data is not None:
        found["MobileNetV2, video by OpenCV"] = [
            f"{data}/{MOBILENET}", "--labels", f"{data}/models/imagenet_labels.txt", "--preprocess", "raw",
            "--source", f"file:{data}/video/bottle-detection.mp4?rate=10", "--loop",
        ]  # fmt: skip
    return found


def look(port: int, end: float) -> None:
    """A viewer that comes and goes."""
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
                gone = time.monotonic() + LOOKS
                while time.monotonic() < gone and client.recv(1 << 16):
                    pass
        except OSError:
            pass  # it is not there yet, or no more
        time.sleep(min(AWAY, max(0.0, end - time.monotonic())))


def curve(log: Path) -> list[tuple[float, float]]:
    """Seconds and MiB, a point per second."""
    samples = (record for record in read_records(log) if record["kind"] == "sample")
    return [(record["seconds"], record["rss_bytes"] / 2**20) for record in samples]


def row(name: str, points: Sequence[tuple[float, float]], seconds: float) -> Row:
    """Growth over the last three quarters: the first fills what is bounded (rings, history, caches of the engine)."""
    values = [value for _, value in points]
    start, end = values[len(values) // 4], values[-1]
    every = max(1, len(points) // 60)
    tenths = ", ".join(
        f"{values[min(len(values) - 1, k * len(values) // 10)]:.1f}" for k in range(11)
    )
    return Row(
        f"growth of memory over the last three quarters of {seconds:g} s: {name}",
        end - start,
        "MiB",
        2.0,
        f"MiB at tenths of the time: {tenths}",
        {f"at_{second:.0f}_s_mib": round(value, 2) for second, value in points[::every]},
    )


def plot(rows: Sequence[Row], seconds: float) -> str:
    """The curves, SVG."""
    width, height, left, bottom = 720, 300, 46, 34
    top = 20 * (int(max(max(one.detail.values()) for one in rows)) // 20 + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]

    def x(second: float) -> float:
        return left + (width - left - 12) * second / seconds

    def y(mib: float) -> float:
        return height - bottom - (height - bottom - 12) * mib / top

    for mib in range(0, top + 1, 20):
        parts.append(f'<path d="M{left} {y(mib):.1f}H{width - 12}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(mib) + 4:.1f}" text-anchor="end">{mib}</text>')
    for minute in range(0, round(seconds / 60) + 1, max(1, round(seconds / 360))):
        parts.append(
            f'<text x="{x(60 * minute):.1f}" y="{height - 16}" text-anchor="middle">{minute}</text>'
        )
    parts.append(
        f'<text x="{width - 12}" y="{height - 2}" text-anchor="end">minutes; resident memory in MiB</text>'
    )
    for one, color in zip(rows, ("#1859c9", "#b85300"), strict=False):
        points = [(float(name.split("_")[1]), mib) for name, mib in one.detail.items()]
        line = " ".join(f"{x(second):.1f},{y(mib):.1f}" for second, mib in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        name, last = one.name.split(": ", 1)[1], points[-1][1]
        parts.append(
            f'<text x="{width - 16}" y="{y(last) - 8:.1f}" text-anchor="end" fill="{color}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Run the cameras beside each other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    watch, end = Watch(), time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="edgecv-soak-") as place:
        folder, running = Path(place), {}
        wanted = cameras(os.environ.get("EDGECV_TEST_DATA"), folder)
        for number, (name, words) in enumerate(wanted.items()):
            port, log = PORT + number, folder / f"{number}.jsonl"
            more = ["--port", str(port), "--log", str(log), "--duration", str(options.seconds)]
            program = [sys.executable, "-c", "from edgecv.cli import main; main()", "camera"]
            running[name] = (
                subprocess.Popen([*program, *words, *more], stderr=subprocess.DEVNULL),
                log,
            )
            threading.Thread(target=look, args=(port, end), daemon=True).start()
        codes = {name: process.wait() for name, (process, _) in running.items()}
        if any(codes.values()):
            raise SystemExit(f"a camera ended early: exit codes {codes}")
        rows = [row(name, curve(log), options.seconds) for name, (_, log) in running.items()]
    for one in rows:
        print(f"{one.name}: {one.value:+.2f} MiB (bar {one.bar}); {one.note}")
    if options.record:
        PLOT.write_text(plot(rows, options.seconds), encoding="utf-8")
        print(
            write(
                ROOT / "benchmarks/records",
                "camera_soak",
                "python benchmarks/camera_soak.py --record",
                rows,
                watch,
            )
        )


if __name__ == "__main__":
    main()
