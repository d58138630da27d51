"""One backend for three packages with the same interpreter, and which of them runs."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
import tiny_models

from edgecv.errors import MissingExtraError, UnsupportedError
from edgecv_runtimes import quiet
from edgecv_runtimes.litert import LiteRTBackend

MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",
}


def test_litert_is_the_engine_of_this_environment() -> None:
    """``make test-legacy`` makes one without LiteRT, and must not run it by accident."""
    said = LiteRTBackend.version()
    assert said.endswith(" (tflite-runtime)") == tiny_models.LEGACY, said


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The packages that can be imported, of those three."""
    present: set[str] = set()

    def import_module(name: str) -> ModuleType:
        package = next(package for package, module in MODULES.items() if module == name)
        if package not in present:
            raise ModuleNotFoundError(name=name.split(".")[0])
        top = ModuleType(name.split(".")[0])
        top.__version__ = "9"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, top.__name__, top)
        return ModuleType(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    return present


@pytest.mark.parametrize(
    ("packages", "numpy_version", "chosen"),
    [
        ({"ai-edge-litert", "tflite-runtime", "tensorflow"}, "1.26.4", "ai-edge-litert"),
        ({"tflite-runtime", "tensorflow"}, "1.26.4", "tflite-runtime"),
        ({"tflite-runtime", "tensorflow"}, "2.4.6", "tensorflow"),
        ({"tensorflow"}, "2.4.6", "tensorflow"),
    ],
)
def test_litert_is_taken_first(
    packages: set[str],
    numpy_version: str,
    chosen: str,
    installed: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed |= packages
    monkeypatch.setattr(np, "__version__", numpy_version)
    assert quiet.import_litert().__name__ == MODULES[chosen]
    name = "" if chosen == "ai-edge-litert" else f" ({chosen})"
    assert LiteRTBackend.version() == f"9{name}"


def test_litert_is_what_is_missing(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        MissingExtraError, match=r"'ai-edge-litert'.*pip install 'edgecv\[litert\]'"
    ):
        quiet.import_litert()
    installed.add("tflite-runtime")
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(UnsupportedError, match=r"needs numpy<2, and numpy 2\.4\.6"):
        quiet.import_litert()
