"""Folder names to a model's classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecv.data import Dataset, Item
from edgecv.data.label_map import map_classes, match_classes, read_label_map
from edgecv.errors import InputError

LABELS = ("background", "tench, Tinca tinca", "garbage truck, dustcart", "crane", "crane", "ant")


def dataset(*names: str) -> Dataset:
    root = Path("/pictures")
    items = [Item(root / name / f"{i}.png", i, "", f"{i}", f"{i}") for i, name in enumerate(names)]
    return Dataset(root, names, tuple(items))


def indices(made: Dataset) -> list[int]:
    return [item.label for item in made.items]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("map.json", '{"a": "ant", "b": "garbage truck, dustcart"}'),
        ("map", ' {"a": "ant", "b": "garbage truck, dustcart"}'),
        ("map.csv", 'a,ant\nb,"garbage truck, dustcart"\n'),
        ("map.csv", '\ufefffolder,label\r\na,ant\r\nb,"garbage truck, dustcart"\r\n\r\n'),
        ("map.tsv", "a\tant\nb\tgarbage truck, dustcart\n"),
        ("map.txt", "Folder\tLabel\na\tant\nb\tgarbage truck, dustcart\n"),
    ],
)
def test_forms_of_a_map(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, newline="")
    assert read_label_map(path) == {"a": "ant", "b": "garbage truck, dustcart"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("map.json", '["a", "ant"]', "not an object"),
        ("map.json", "[]", "maps no folder"),
        ("map.json", '{"a": {"b": "c"}}', "maps 'a' to"),
        ("map.json", '{"a": true}', "maps 'a' to True"),
        ("map.json", '{"a": 1.5}', "maps 'a' to 1.5"),
        ("map.json", '{"a": "x", "a": "y"}', "'a' twice"),
        ("map.json", "{", "is not JSON"),
        ("map.json", "[" * 100_000, "is not JSON"),
        ("map.csv", "a,tench, Tinca tinca\n", "row 1 .* has 3 columns, not 2.*stands in quotes"),
        ("map.csv", "a\n", "row 1 .* has 1 columns"),
        ("map.csv", 'a,"ant\n', "is not a table"),
        ("map.csv", "a,\n", "maps 'a' to ''"),
        ("map.csv", "a,ant\na,crane\n", "'a' twice"),
        ("map.csv", "folder,label\n", "maps no folder"),
        ("map.tsv", "", "maps no folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_label_map(path)


def test_every_folder_is_mapped() -> None:
    pictures = dataset("a", "b", "c")
    mapping = {"a": "ant", "b": 4, "c": "ant", "other": "nothing"}
    made = map_classes(pictures, LABELS, mapping)
    assert indices(made) == [5, 4, 5]
    assert made.classes == LABELS
    with pytest.raises(InputError, match=r"lacks 2 of 3 folders: 'b', 'c'\. Map every folder"):
        map_classes(pictures, LABELS, {"a": "ant"})


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("tench", "does not know the class 'tench' of the folder 'a'.*'tench, Tinca tinca'"),
        ("crane", r'has as classes 3, 4\. Say which one.*\{"a": 3\}'),
        (6, "is class 6, and the model has 6"),
        (-1, "is class -1"),
    ],
)
def test_entries_that_are_no_class(label: str | int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        map_classes(dataset("a"), LABELS, {"a": label})


def test_names_match_by_themselves() -> None:
    assert indices(match_classes(dataset("ant", "garbage_truck", "Tench"), LABELS)) == [5, 2, 1]
    with pytest.raises(InputError, match="as classes 3, 4"):
        match_classes(dataset("ant", "crane"), LABELS)
    with pytest.raises(InputError, match=r"does not know the class 'bee'.*--label-map FILE"):
        match_classes(dataset("ant", "bee"), LABELS)
    # two labels with the same first synonym: neither is assumed
    with pytest.raises(InputError, match="does not know the class 'jay'"):
        match_classes(dataset("jay"), ("jay, bird", "jay, letter"))
