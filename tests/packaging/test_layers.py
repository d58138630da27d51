"""The two import-linter contracts on layers are one list, and every module of edgecv is in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def contracts() -> dict[str, dict[str, object]]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract for contract in listed}


def names(layer: str, prefix: str = "") -> list[str]:
    return [part.strip().removeprefix(prefix) for part in layer.split("|")]


def test_both_layer_contracts_say_the_same() -> None:
    full = contracts()["layers"]["layers"]
    own = contracts()["edgecv-layers"]["layers"]
    assert isinstance(full, list)
    assert isinstance(own, list)
    reduced = [
        [n.removeprefix("edgecv.") for n in names(row) if n.startswith("edgecv.")] for row in full
    ]
    assert [row for row in reduced if row] == [names(row) for row in own]


def test_every_module_of_edgecv_has_a_layer() -> None:
    own = contracts()["edgecv-layers"]["layers"]
    assert isinstance(own, list)
    listed = {name for row in own for name in names(row)}
    present = {
        path.stem
        for path in (ROOT / "edgecv").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    assert present == listed


def test_the_top_of_the_tree_is_as_fixed() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    allowed = {
        "pyproject.toml", "README.md", "edgecv", "converters", "runtimes", "examples", "benchmarks", "tests",
        "docs", "Makefile", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md",
    }  # fmt: skip
    made_by_commands = {"edgecv-demo", "dist", "build"}
    assert allowed <= visible
    assert visible <= allowed | made_by_commands
