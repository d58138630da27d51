"""The wheel, the job, and the roots that the tests of Arm run in; built once per session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from roots import Root, UnavailableError, unavailable  # noqa: E402

#: Exit code of a run that cannot build a root (as automake's for a skipped test).
NOT_TESTED = 77
_ENGINES = ("ai-edge-litert>=2.1.6", "onnxruntime", "openvino")


def _not_tested(reason: str) -> NoReturn:
    """End loudly, with a code of its own: nothing failed, and nothing was shown."""
    pytest.exit(f"ARM IS NOT TESTED: {reason}", returncode=NOT_TESTED)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for everything; EDGECV_ARM_WORK keeps it, and saves the downloads of the next run."""
    reason = unavailable()
    if reason:
        _not_tested(reason)
    kept = os.environ.get("EDGECV_ARM_WORK")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("arm")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def wheel(work: Path) -> Path:
    """The wheel that goes to a board."""
    out = work / "dist"
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(out),
            str(PROJECT),
        ],
        check=True,
        capture_output=True,
    )
    [made] = out.glob("edgecv-*.whl")
    return made


def _make_job(work: Path) -> Path:
    from make_job import make_job

    folder = work / "job"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    data = os.environ.get("EDGECV_TEST_DATA")
    make_job(folder, Path(data) if data else None)
    return folder


def _build(root: Root, wheel: Path, *requirements: str, extras: str = "") -> Root:
    root.build()
    root.install(wheel, *requirements, extras=extras)
    return root


@pytest.fixture(scope="session")
def built(work: Path, wheel: Path) -> dict[str, Any]:
    """The roots and the job, made side by side: half of it is waiting for the network."""
    with ThreadPoolExecutor(3) as pool:
        waiting = {
            "job": pool.submit(_make_job, work),
            # Debian 12, arm64, with all three engines
            "bookworm": pool.submit(_build, Root(work / "bookworm-arm64"), wheel, *_ENGINES),
            # Debian 13, Python 3.13
            "trixie": pool.submit(
                _build, Root(work / "trixie-arm64", suite="trixie"), wheel,
                extras="[litert,onnxruntime]",
            ),
            # Debian 12, 32 bits: NumPy and Pillow of the distribution, the legacy engine
            "armhf": pool.submit(
                _build, Root(work / "bookworm-armhf", arch="armhf"), wheel, "tflite-runtime", "click"
            ),
        }  # fmt: skip
    try:
        return {name: future.result() for name, future in waiting.items()}
    except UnavailableError as error:
        _not_tested(str(error))


@pytest.fixture(scope="session")
def job(built: dict[str, Any]) -> Path:
    """Models with and without float islands, and every tensor of one with them."""
    folder: Path = built["job"]
    return folder


@pytest.fixture(scope="session")
def host(work: Path, job: Path) -> dict[str, Any]:
    """What this machine answers."""
    return run_here(job, work / "host.npz")


def run_here(job: Path, out: Path) -> dict[str, Any]:
    """The job in a process of this machine."""
    subprocess.run([sys.executable, "-P", HERE / "device.py", job, out], check=True, cwd=out.parent)
    return read_answers(out)


def read_answers(out: Path) -> dict[str, Any]:
    """Arrays by name, and under ``facts`` what was said."""
    with np.load(out, allow_pickle=False) as content:
        arrays = dict(content)
    return {**arrays, "facts": json.loads(out.with_suffix(".json").read_text())}


def run_there(root: Root, job: Path, out: Path) -> dict[str, Any]:
    """The job under emulation."""
    done = root.python(HERE / "device.py", job, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return read_answers(out)


@pytest.fixture(scope="session")
def bookworm(built: dict[str, Any]) -> Root:
    """Debian 12, arm64, with the wheel and all three engines by the root's own pip."""
    root: Root = built["bookworm"]
    return root


@pytest.fixture(scope="session")
def trixie(built: dict[str, Any]) -> Root:
    """Debian 13, Python 3.13."""
    root: Root = built["trixie"]
    return root


@pytest.fixture(scope="session")
def armhf(built: dict[str, Any]) -> Root:
    """Debian 12, 32 bits: NumPy and Pillow of the distribution, the legacy engine."""
    root: Root = built["armhf"]
    return root
