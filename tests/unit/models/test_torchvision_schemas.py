"""torchvision beside a torch that cannot load its compiled operators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAKE_TORCHVISION = """
import torch
# what torchvision does at import: register a meta kernel for an operator of its extension
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A torchvision whose compiled operators cannot load, whatever is installed here."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(FAKE_TORCHVISION)
    (package / "_C.so").write_bytes(b"not a shared library")
    return tmp_path


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )


def test_import_fails_without_the_mending(folder: Path) -> None:
    result = run(folder, "import torchvision")
    assert result.returncode != 0
    assert "operator torchvision::nms does not exist" in result.stderr


def test_import_works_with_it_and_only_the_schemas_are_defined(folder: Path) -> None:
    result = run(
        folder,
        "from edgecv.models.torchvision_schemas import ensure_torchvision_schemas as ensure\n"
        "print(ensure(), ensure())\n"
        "import torchvision\n"
        "print(ensure(), torchvision.__file__)",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "True True"
    assert lines[1] == f"True {folder / 'torchvision' / '__init__.py'}"


def test_nothing_is_defined_when_the_operators_load(folder: Path) -> None:
    result = run(
        folder,
        "import torch\n"
        "from edgecv.models import torchvision_schemas\n"
        "torch.ops.load_library = lambda path: None\n"
        "print(torchvision_schemas.ensure_torchvision_schemas())\n"
        "print(hasattr(torch.ops.torchvision, 'nms'))",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False", "False"]


def test_nothing_is_defined_without_torchvision(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        "import importlib.util\n"
        "from edgecv.models import torchvision_schemas\n"
        "importlib.util.find_spec = lambda name: None\n"
        "print(torchvision_schemas.ensure_torchvision_schemas())",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False"]
