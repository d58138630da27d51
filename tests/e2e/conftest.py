"""The installed command line, small pictures, and one run of the demo that slow tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., subprocess.CompletedProcess[str]]

EXECUTABLE = Path(sys.executable).parent / "edgecv"


def run_cli(
    *arguments: object, timeout_s: float = 600, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed ``edgecv`` and capture what it says."""
    return subprocess.run(
        [str(EXECUTABLE), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="session")
def cli() -> Cli:
    """The installed command line."""
    return run_cli


def draw_squares(
    root: Path, *, per_class: int, seed: int = 0, classes: tuple[str, ...] = ("red", "blue")
) -> Path:
    """Class folders of noisy pictures that differ by color."""
    rng = np.random.default_rng(seed)
    for index, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 60, (36, 44, 3))
            pixels[8:28, 10:34, 2 * index % 3] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 40 pictures that differ by color; no splits."""
    return draw_squares(tmp_path_factory.mktemp("squares") / "pictures", per_class=40)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, squares: Path) -> Path:
    """A run folder made by the command line: one float and one QAT epoch, exported."""
    run = tmp_path_factory.mktemp("trained") / "run"
    train = run_cli(
        "train", "--data", squares, "--model", "resnet10_micro", "--qat", "--out", run, "--size", "32x40",
        "--epochs", 6, "--qat-epochs", 1, "--batch-size", 8, "--threads", 1,
    )  # fmt: skip
    assert train.returncode == 0, train.stderr
    export = run_cli("export", run)
    assert export.returncode == 0, export.stderr
    return run


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """int8 and float artifacts of that run for every target."""
    out = tmp_path_factory.mktemp("artifacts") / "artifacts"
    for model in ("model.qdq.onnx", "model.float.onnx"):
        made = run_cli(
            "convert", trained / model, "--target", "tflite", "--target", "openvino", "--target", "onnx",
            "--out", out,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one whole ``edgecv demo``; minutes."""
    out = tmp_path_factory.mktemp("demo") / "edgecv-demo"
    done = run_cli("demo", "--out", out, timeout_s=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return out
