"""The README's commands work as they are written; the long ones are slow tests."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgecv

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Bold line that opens a block → the block's lines.
OPENING = {
    title: block.strip().splitlines()
    for title, block in re.findall(
        r"\*\*(I have [^*]+)\*\*[^\n]*\n```sh\n(.*?)```", README, re.DOTALL
    )
}


def section(title: str) -> list[str]:
    """Lines of the first shell block of a section."""
    found = re.search(rf"## {re.escape(title)}\n.*?```sh\n(.*?)```", README, re.DOTALL)
    assert found is not None, title
    return found[1].strip().splitlines()


def run_lines(lines: list[str], folder: Path) -> str:
    """Run shell lines in *folder* as a user with the environment activated; what they print."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    printed = []
    for line in lines:
        done = subprocess.run(
            line, shell=True, executable="/bin/bash", cwd=folder, capture_output=True, text=True,
            env={**os.environ, "PATH": path}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        printed.append(done.stdout)
    return "".join(printed)


def test_it_opens_with_three_short_blocks() -> None:
    assert list(OPENING) == [
        "I have a Raspberry Pi",
        "I have a timm checkpoint",
        "I have somebody's .tflite",
    ]
    assert all(1 <= len(lines) <= 5 for lines in OPENING.values())
    first_heading = README.index("\n## ")
    assert all(README.index(f"**{title}**") < first_heading for title in OPENING)


def test_every_command_in_it_exists(tmp_path: Path) -> None:
    commands = set(re.findall(r"^edgecv ([a-z]+)", README, re.MULTILINE))
    assert {"train", "export", "convert", "verify", "evaluate", "predict", "info"} <= commands
    for command in commands:
        run_lines([f"edgecv {command} --help"], tmp_path)


def test_the_device_app_is_short() -> None:
    lines = (ROOT / "examples" / "device_app.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 15


def test_i_have_a_raspberry_pi(artifacts: Path, squares: Path, tmp_path: Path) -> None:
    """All but the installation of the wheel, which test_wheel.py does."""
    shutil.copy(artifacts / "model.int8.tflite", tmp_path)
    shutil.copy(squares / "blue" / "0.png", tmp_path / "photo.png")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    lines = OPENING["I have a Raspberry Pi"]
    assert lines[0].startswith("pip install './dist/edgecv-")
    printed = run_lines(lines[1:], tmp_path)
    assert printed.count("photo.png") == 2
    assert "blue" in printed


def test_i_have_somebodys_tflite(outside_data: Path, tmp_path: Path) -> None:
    shutil.copy(outside_data / "models" / "vww_96_int8.tflite", tmp_path / "theirs.tflite")
    shutil.copy(outside_data / "images" / "cat.bmp", tmp_path / "photo.png")
    (tmp_path / "labels.txt").write_text("no person\nperson\n")
    printed = run_lines(OPENING["I have somebody's .tflite"], tmp_path)
    assert "int8 1x96x96x3" in printed
    assert "suggests pixels / 255 ('unit')" in printed
    assert "no person" in printed
    with edgecv.Runtime(tmp_path / "ours.tflite") as runtime:
        assert runtime.info.labels == ("no person", "person")


@pytest.mark.slow
def test_i_have_a_timm_checkpoint(squares: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from edgecv.models.torchvision_schemas import import_timm

    torch.manual_seed(0)
    model = import_timm().create_model("resnet18", pretrained=False)
    save_file(model.state_dict(), tmp_path / "resnet18.safetensors")
    for source, name in (("red", "tench"), ("blue", "goldfish, Carassius auratus")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for picture in sorted((squares / source).iterdir())[:4]:
            shutil.copy(picture, tmp_path / "pictures" / name)
    printed = run_lines(OPENING["I have a timm checkpoint"], tmp_path)
    assert "top-1" in printed
    assert (tmp_path / "artifacts" / "model.int8.xml").is_file()


@pytest.mark.slow
def test_the_same_chain_on_your_own_pictures(squares: Path, tmp_path: Path) -> None:
    for name in ("red", "blue"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for picture in sorted((squares / name).iterdir())[:12]:
            shutil.copy(picture, tmp_path / "pictures" / name)
    shutil.copy(squares / "red" / "20.png", tmp_path / "photo.png")
    lines = section("The same chain on your own pictures")
    # the default model at its published size, as a user would; fewer epochs, for the test's sake
    shorter = [
        f"{line} --epochs 2 --qat-epochs 1" if shlex.split(line)[1] == "train" else line
        for line in lines
    ]
    printed = run_lines(shorter, tmp_path)
    assert "equal" in printed
    assert "paired" in printed
