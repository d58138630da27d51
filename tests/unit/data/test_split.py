"""Splits: shares, strata, groups, seeds."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.data import Dataset, Item, scan, split
from edgecv.errors import InputError

MakeTree = Callable[..., Path]
THREE = {"train": 0.8, "val": 0.1, "test": 0.1}


def _dataset(rows: list[tuple[int, int]]) -> Dataset:
    """A data set without files from (class, group) rows."""
    items = tuple(
        Item(Path(f"/x/{label}/{n}.png"), label, "", f"g{group}", f"{n:064x}")
        for n, (label, group) in enumerate(rows)
    )
    classes = tuple(str(c) for c in range(max(label for label, _ in rows) + 1))
    return Dataset(Path("/x"), classes, items)


def test_shares_are_exact_in_every_class_without_groups() -> None:
    dataset = _dataset([(n % 3, n) for n in range(300)])
    counts = Counter((i.split, i.label) for i in split(dataset, THREE).items)
    assert all(counts["train", c] == 80 for c in range(3))
    assert all(counts["val", c] == counts["test", c] == 10 for c in range(3))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), min_size=60, max_size=200), st.data()
)
def test_groups_stay_together_and_shares_are_near(
    rows: list[tuple[int, int]], data: st.DataObject
) -> None:
    rows = rows + [(c, 100 + c * 10 + k) for c in range(3) for k in range(6)]
    divided = split(_dataset(rows), {"train": 0.6, "val": 0.4}, seed=data.draw(st.integers(0, 99)))
    places: dict[str, set[str]] = {}
    for item in divided.items:
        places.setdefault(item.group, set()).add(item.split)
    assert all(len(splits) == 1 for splits in places.values())
    largest = max(Counter(group for _, group in rows).values())
    share = len(divided.of("train")) / len(rows)
    assert abs(share - 0.6) <= 2 * largest / len(rows) + 0.02


def test_the_seed_decides() -> None:
    dataset = _dataset([(n % 2, n) for n in range(100)])
    assert split(dataset, THREE, seed=1) == split(dataset, THREE, seed=1)
    assert split(dataset, THREE, seed=1) != split(dataset, THREE, seed=2)


def test_a_rare_class_is_in_every_split() -> None:
    dataset = _dataset([(0, n) for n in range(200)] + [(1, 200 + n) for n in range(3)])
    divided = split(dataset, THREE)
    assert {i.split for i in divided.items if i.label == 1} == {"train", "val", "test"}


def test_a_class_with_too_few_groups_is_refused() -> None:
    dataset = _dataset([(0, n) for n in range(50)] + [(1, 99)] * 10)
    with pytest.raises(InputError, match="class '1' has 1 groups"):
        split(dataset, THREE)


def test_copies_of_a_picture_stay_together(make_tree: MakeTree) -> None:
    root = make_tree(*(f"{c}/{n}.png" for c in "ab" for n in range(20)))
    for n in range(10):
        shutil.copy(root / f"a/{n}.png", root / f"a/copy{n}.png")
    divided = split(scan(root), {"train": 0.5, "test": 0.5})
    for n in range(10):
        names = {f"a/{n}.png", f"a/copy{n}.png"}
        twins = [i.split for i in divided.items if divided.relative(i) in names]
        assert len(twins) == 2
        assert len(set(twins)) == 1


def test_val_is_carved_from_train_and_test_stays(make_tree: MakeTree) -> None:
    files = [f"train/{c}/{n}.png" for c in "ab" for n in range(10)]
    root = make_tree(*files, "test/a/0.png", "test/b/1.png")
    with (root / "groups.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "group"], *([f, f.split("/")[-1]] for f in files)])
    dataset = scan(root)
    divided = split(dataset, {"train": 0.8, "val": 0.2}, of="train")
    assert divided.splits == ("train", "val", "test")
    assert len(divided.of("val")) == 4
    assert divided.of("test") == dataset.of("test")


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "val": 0.4}, "sum to 1"),
        ({"train": 1.5, "val": -0.5}, "fractions"),
        ({}, "fractions"),
        ({"train": 0.5, "dev": 0.5}, "unknown split 'dev'"),
    ],
)
def test_fractions_that_are_refused(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(_dataset([(0, 0), (1, 1)]), fractions)


def test_a_split_that_exists_is_not_overwritten(make_tree: MakeTree) -> None:
    root = make_tree("train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png")
    with pytest.raises(InputError, match="has a split 'val' already"):
        split(scan(root), {"train": 0.5, "val": 0.5}, of="train")
    with pytest.raises(InputError, match="no split ''"):
        split(scan(root), {"train": 0.5, "test": 0.5})
