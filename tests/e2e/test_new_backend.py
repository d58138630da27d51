"""docs/new-backend.md, followed to the letter: its package, its commands, the conformance suite on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tiny_models
from PIL import Image

from edgecv import artifact

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "new-backend.md").read_text(encoding="utf-8")
#: File name → its content in the page.
_TITLED = r"\*\*`([\w.]+)`\*\*[^`]*(?:`[^`\n]+`[^`]*)*```(?:toml|python)\n(.*?)```"
FILES: dict[str, str] = dict(re.findall(_TITLED, PAGE, re.DOTALL))
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.strip().splitlines()
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page with what ``pip install .`` would make of it: module and entry points."""
    folder = tmp_path_factory.mktemp("backend")
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = ["[edgecv.backends]"]
    lines += [f"{k} = {v}" for k, v in project["entry-points"]["edgecv.backends"].items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    sealed = artifact.seal(
        "onnx", tiny_models.onnx_model(), None, tiny_models.manifest("onnx", "float32")
    )
    (folder / "model.onnx").write_bytes(sealed)
    Image.new("RGB", (20, 16), (200, 30, 30)).save(folder / "photo.png")
    return folder


def run_line(line: str, folder: Path) -> str:
    """Run a line of the page as a user with the environment activated; what it prints."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    where = ROOT if "pytest" in line else folder
    done = subprocess.run(
        line, shell=True, executable="/bin/bash", cwd=where, capture_output=True, text=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_page_has_two_files_and_the_commands() -> None:
    assert set(FILES) == {"pyproject.toml", "edgecv_onnx_reference.py"}
    assert [line.split()[:2] for line in COMMANDS[:4]] == [
        ["pip", "install"],
        ["edgecv", "info"],
        ["edgecv", "predict"],
        ["edgecv", "selftest"],
    ]
    assert "pytest tests/conformance" in COMMANDS[4]
    assert len(COMMANDS) == 5


def test_its_commands_run(installed: Path) -> None:
    info, predict, selftest = (run_line(line, installed) for line in COMMANDS[1:4])
    assert "onnx-reference" in info
    assert "float32 (1/1 conv, 1/1 linear)" in info
    assert "great white shark" in predict
    assert selftest.splitlines()[1].startswith("ok      onnx-reference")
    assert "20 of 20 digits" in selftest


def test_the_conformance_suite_passes(installed: Path) -> None:
    told = run_line(f"{COMMANDS[4]} -q -p no:cacheprovider", installed)
    found = re.search(r"(\d+) passed", told)
    assert found is not None
    # two cases, each through every test that has cases
    assert int(found[1]) >= 60
    assert "failed" not in told


def test_the_protocol_is_whole() -> None:
    """The page's class has every member of the protocol, so a new one must come into the page."""
    from edgecv_runtimes.base import Backend

    members = {n for n in vars(Backend) if not n.startswith("_")} | {*Backend.__annotations__}
    for member in members | {"__init__"}:
        assert re.search(rf"(def {member}\(|^    (self\.)?{member}\b|self\.{member} =)", PAGE, re.M)
