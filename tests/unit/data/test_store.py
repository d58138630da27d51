"""The record in the run folder, and the identity of a data set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv.data import Dataset, fingerprint, load_json, save_json, scan, split
from edgecv.errors import InputError

MakeTree = Callable[..., Path]


@pytest.fixture
def dataset(make_tree: MakeTree) -> Dataset:
    return scan(make_tree("<b>/1.png", "<b>/2.png", "é/3.png", "é/4.png"))


def test_what_is_saved_is_loaded(dataset: Dataset, tmp_path: Path) -> None:
    divided = split(dataset, {"train": 0.5, "test": 0.5})
    save_json(divided, tmp_path / "data.json")
    assert load_json(tmp_path / "data.json") == divided
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_folder_may_move(dataset: Dataset, tmp_path: Path) -> None:
    save_json(dataset, tmp_path / "data.json")
    moved = Path(shutil.move(dataset.root, tmp_path / "moved"))
    loaded = load_json(tmp_path / "data.json", root=moved)
    assert loaded == scan(moved)


def test_the_fingerprint_knows_content_and_class_and_nothing_else(
    dataset: Dataset, tmp_path: Path
) -> None:
    same = shutil.copytree(dataset.root, tmp_path / "copy")
    assert fingerprint(scan(same)) == fingerprint(dataset)
    assert fingerprint(split(dataset, {"train": 0.5, "val": 0.5})) == fingerprint(dataset)
    assert fingerprint(dataset.relabel(["é", "<b>"])) == fingerprint(dataset)
    with (same / "é/3.png").open("ab") as stream:
        stream.write(b"\0")
    assert fingerprint(scan(same)) != fingerprint(dataset)
    renamed = shutil.copytree(dataset.root, tmp_path / "renamed")
    (renamed / "é").rename(renamed / "e")
    assert fingerprint(scan(renamed)) != fingerprint(dataset)


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("classes"), "not a data record"),
        (lambda r: r.update(items=[{}]), "not a data record"),
        (lambda r: r.update(items=7), "not a data record"),
        (lambda r: r.update(root=7), "not a data record"),
        (lambda r: r["items"][0].update(label=2), "label 2 of 2 classes"),
        (lambda r: r["items"][0].update(label=True), "label True"),
        (lambda r: r["items"][0].update(split="dev"), "split 'dev'"),
        (lambda r: r["items"][0].update(file="/etc/passwd"), "leads out"),
        (lambda r: r["items"][0].update(file="../x.png"), "leads out"),
        (lambda r: r["items"][0].update(sha256="0" * 64), "fingerprint"),
        (lambda r: r["items"].pop(), "fingerprint"),
        (lambda r: r.update(schema="2.0"), "schema '2.0'"),
        (lambda r: r.update(schema=None), "schema"),
    ],
)
def test_damaged_records_are_refused(
    dataset: Dataset, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = tmp_path / "data.json"
    save_json(dataset, path)
    _edit(path, change)
    with pytest.raises(InputError, match=message):
        load_json(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "é", "7"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        load_json(path)


def test_missing_files_and_folders(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be written"):
        save_json(dataset, tmp_path / "no" / "folder" / "data.json")
