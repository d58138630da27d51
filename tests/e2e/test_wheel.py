"""The wheel that goes to a board: built, installed alone into an empty environment, run outside the checkout."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def call(*arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(a) for a in arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    [built] = out.glob("edgecv-*.whl")
    return built


@pytest.fixture(scope="module")
def board(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a virtual environment in which only the README's first line was run."""
    folder = tmp_path_factory.mktemp("board")
    call(sys.executable, "-m", "venv", "venv", cwd=folder)
    (folder / "dist").mkdir()
    shutil.copy(wheel, folder / "dist")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"pip install '(\./dist/edgecv-[^']+\.whl\[litert\])'", readme)
    assert line is not None
    constraints = ROOT / ".ci" / "constraints.txt"
    call("venv/bin/pip", "install", "-q", "-c", constraints, line[1], cwd=folder)
    return folder


def test_it_holds_the_three_packages_and_their_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {
        "edgecv",
        "edgecv_converters",
        "edgecv_runtimes",
        wheel.name.split("-py3")[0] + ".dist-info",
    }
    for needed in (
        "edgecv/py.typed", "edgecv/artifact/manifest-1.schema.json", "edgecv/report/templates/report.html.j2",
        "edgecv_converters/targets/tflite.json", "edgecv/selftest/digits.zip",
    ):  # fmt: skip
        assert needed in names
    unwanted = ("tests/", "/test_", ".pyc")
    assert not [name for name in names if any(part in name for part in unwanted)]


def test_the_selftest_passes_on_a_board(board: Path) -> None:
    told = json.loads(call("venv/bin/edgecv", "selftest", "--json", cwd=board))
    assert told["passed"] is True
    litert, *others = told["engines"]
    assert (litert["backend"], litert["state"]) == ("litert", "passed")
    assert (litert["right"], litert["difference"]) == (litert["pictures"], 0)
    assert "int8" in litert["precision"]
    assert [other["state"] for other in others] == ["absent"] * len(others)
    assert [other["cure"] for other in others] == [
        f"Install it with: pip install 'edgecv[{name}]'" for name in ("openvino", "onnxruntime")
    ]


def test_it_runs_on_a_board(board: Path, artifacts: Path, squares: Path) -> None:
    model, picture = artifacts / "model.int8.tflite", squares / "red" / "0.png"
    told = json.loads(call("venv/bin/edgecv", "info", model, "--json", cwd=board))
    assert told["check"] == "intact"
    assert told["backend"] == "litert"
    answer = json.loads(call("venv/bin/edgecv", "predict", model, picture, "--json", cwd=board))
    assert answer["predictions"][0]["label"] == "red"


def test_nothing_of_a_workstation_came_along(board: Path) -> None:
    listed = json.loads(call("venv/bin/pip", "list", "--format", "json", cwd=board))
    installed = {package["name"].lower() for package in listed}
    assert not installed & {
        "torch",
        "timm",
        "onnx",
        "tensorflow",
        "openvino",
        "onnxruntime",
        "opencv-python",
    }
    site = next((board / "venv" / "lib").glob("python*/site-packages"))
    pip = {"pip", "setuptools", "wheel", "_distutils_hack", "pkg_resources"}
    sizes = [
        sum(f.stat().st_size for f in top.rglob("*") if f.is_file() and f.suffix != ".pyc")
        for top in site.iterdir()
        if top.is_dir() and top.name.split("-")[0] not in pip
    ]
    # 150 MB on aarch64; the x86-64 engine is larger
    assert sum(sizes) < 180e6


def test_another_engine_is_asked_for_by_its_install_command(board: Path, artifacts: Path) -> None:
    done = subprocess.run(
        ["venv/bin/edgecv", "info", str(artifacts / "model.int8.onnx")],
        cwd=board, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'edgecv[onnxruntime]'" in done.stderr
