"""What ``edgecv camera`` costs beyond the model: CPU time per frame, and memory.

- **Per frame**: CPU time of a pipeline with its page (nobody looks) less that of a bare loop that draws the same
  frames and classifies them, in alternating rounds; then with four viewers.
- **Memory**: peak resident size of the command with MobileNetV2 int8 on LiteRT and its page, with video by OpenCV and
  with a folder of pictures. EDGECV_TEST_DATA names the folder with the model and the video.

Whether memory grows is the business of ``camera_soak.py``. Run: ``pytest benchmarks/camera.py`` (two minutes).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record import Row
from timing import paired

from edgecv.camera import Pipeline, open_source
from edgecv.camera.web import serve
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, load_bundle

DATA = os.environ.get("EDGECV_TEST_DATA")
MOBILENET = "models/mobilenet_v2_1.0_224_quant.tflite"
FRAMES = 1000
ROUNDS = 9


def bare(runtime: Runtime) -> None:
    source = open_source("synth:?rate=0", runtime.info.labels)
    source.open()
    for _ in range(FRAMES):
        runtime.classify(source.decode(source.grab()).pixels, 3)


def piped(runtime: Runtime) -> None:
    pipeline = Pipeline(open_source("synth:?rate=0", runtime.info.labels), runtime)
    with serve(pipeline, port=0) as page:
        pipeline.add(page)
        pipeline.run(frames=FRAMES)


def cpu_ms(work: Callable[[Runtime], None], runtime: Runtime) -> float:
    began = time.process_time_ns()
    work(runtime)
    return (time.process_time_ns() - began) / 1e6 / FRAMES


def test_per_frame(ledger: Any) -> None:
    with Runtime(load_bundle().files[MODELS["tflite"]]) as runtime:
        times: list[list[float]] = [[], []]
        for number in range(ROUNDS + 1):
            for one, work in zip(times, (bare, piped), strict=True):
                spent = cpu_ms(work, runtime)
                if number:  # the first round warms up
                    one.append(spent)
    cost = paired(times[1], times[0])
    ledger.add(
        Row(
            "CPU time per frame beyond drawing and classifying it, page up, nobody looks",
            cost.difference,
            "ms",
            1.0,
            f"{cost.ours:.2f} against {cost.theirs:.2f} ms, quartiles {cost.low:.2f} to {cost.high:.2f}",
            {"pipeline_cpu_ms": cost.ours, "bare_cpu_ms": cost.theirs},
        )
    )


def test_viewers(ledger: Any) -> None:
    """Four viewers of a stream of 20 frames per second: CPU time per second beyond none."""

    def spent(viewers: int) -> float:
        with Runtime(load_bundle().files[MODELS["tflite"]]) as runtime:
            pipeline = Pipeline(open_source("synth:?rate=20", runtime.info.labels), runtime)
            began: list[int] = []
            with serve(pipeline, port=0) as page:
                pipeline.add(page)
                clients = []
                for _ in range(viewers):
                    client = socket.create_connection(("127.0.0.1", page.port))
                    client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    clients.append(client)
                    # what a client does is in this process, but costs little
                    threading.Thread(target=_swallow, args=(client,), daemon=True).start()
                timer = threading.Timer(1.0, lambda: began.append(time.process_time_ns()))
                timer.start()
                pipeline.run(seconds=6)
                used = (time.process_time_ns() - began[0]) / 1e6 / 5
                for client in clients:
                    client.close()
        return used

    none, four = spent(0), spent(4)
    ledger.add(
        Row(
            "CPU time per second for four viewers (twelve pictures a second, encoded once)",
            four - none,
            "ms",
            None,
            f"{four:.0f} against {none:.0f} ms without a viewer",
        )
    )


def _swallow(client: socket.socket) -> None:
    try:
        while client.recv(1 << 16):
            pass
    except OSError:
        pass


def command(source: str, folder: Path, *more: str) -> dict[str, Any]:
    """The summary of a run of the command with MobileNetV2."""
    assert DATA is not None
    out = folder / "summary.json"
    words = [
        *(
            sys.executable,
            "-c",
            "from edgecv.cli import main; main()",
            "camera",
            f"{DATA}/{MOBILENET}",
        ),
        *(
            "--labels",
            f"{DATA}/models/imagenet_labels.txt",
            "--preprocess",
            "raw",
            "--source",
            source,
        ),
        *("--loop", "--port", "0", "--summary", str(out), "--overwrite", *more),
    ]
    subprocess.run(words, check=True, capture_output=True)
    record: dict[str, Any] = json.loads(out.read_text())
    return record


@pytest.mark.skipif(DATA is None, reason="EDGECV_TEST_DATA is not set")
@pytest.mark.parametrize(
    ("name", "source", "bar"),
    [
        ("video by OpenCV", "file:{}/video/bottle-detection.mp4", 140.0),
        ("pictures of a folder", "dir:{}/images?rate=30", 105.0),
    ],
)
def test_memory(ledger: Any, tmp_path: Path, name: str, source: str, bar: float) -> None:
    record = command(source.format(DATA), tmp_path, "--duration", "8")
    ledger.add(
        Row(
            f"peak memory with MobileNetV2 int8 (224 px, LiteRT), page, {name}",
            record["peak_rss_bytes"] / 2**20,
            "MiB",
            bar,
            f"{record['frames_out']} frames",
        )
    )
