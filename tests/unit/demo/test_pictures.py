"""The demo's pictures: complete, seeded, split by original digit, hard in the ways they claim."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data import scan
from edgecv.demo.pictures import CLASSES, DEMO_PREPROCESS, PictureOptions, draw_tree
from edgecv.errors import InputError

SMALL = PictureOptions(train_per_digit=1, held_out_per_digit=1)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "pictures"
    draw_tree(root, SMALL)
    return root


def test_every_original_is_in_one_split_and_the_test_is_large_enough(tree: Path) -> None:
    dataset = scan(tree)
    split_of = {item.group: item.split for item in dataset.items}
    assert len(split_of) == len(dataset.items) == 1797
    test_originals = Counter(split_of.values())["test"]
    # the default draws each held-out original five times
    assert test_originals * PictureOptions().held_out_per_digit >= 2000
    assert dataset.classes == tuple(sorted(CLASSES))


def test_splits_are_stratified_by_digit(tree: Path) -> None:
    dataset = scan(tree)
    digit_of = {name: digit for name, (digit, _, _) in CLASSES.items()}
    counts = Counter((digit_of[dataset.classes[i.label]], i.split) for i in dataset.items)
    for digit in range(10):
        total = sum(counts[digit, split] for split in ("train", "val", "test"))
        assert counts[digit, "test"] / total == pytest.approx(0.25, abs=0.01)


def test_the_same_seed_draws_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    draw_tree(tmp_path / "again", SMALL)
    first = scan(tree)
    second = scan(tmp_path / "again")
    assert [i.sha256 for i in first.items] == [i.sha256 for i in second.items]


def test_another_seed_draws_other_bytes(tree: Path, tmp_path: Path) -> None:
    draw_tree(tmp_path / "other", PictureOptions(seed=1, train_per_digit=1, held_out_per_digit=1))
    first = {i.sha256 for i in scan(tree).items}
    assert not first & {i.sha256 for i in scan(tmp_path / "other").items}


def test_canvas_is_not_square_and_has_a_margin_to_crop(tree: Path) -> None:
    height, width = DEMO_PREPROCESS.size
    assert height != width
    for path in list(tree.rglob("*.png"))[:20]:
        with Image.open(path) as picture:
            assert picture.size == (54, 45)
            assert picture.height * DEMO_PREPROCESS.crop_fraction == pytest.approx(height)


def _ink_rows(path: Path) -> float:
    """Center of mass of the ink, in rows of the cropped canvas."""
    pixels = np.asarray(Image.open(path).convert("RGB"), float)[2:42, 3:51].max(axis=2)
    weight = np.clip(pixels - 130, 0, None).sum(axis=1)
    return float((weight * np.arange(40)).sum() / weight.sum())


def test_only_height_separates_the_two_ones(tree: Path) -> None:
    high = [_ink_rows(p) for p in tree.rglob("one-high/*.png")]
    low = [_ink_rows(p) for p in tree.rglob("one-low/*.png")]
    assert np.mean(high) < 20 < np.mean(low)
    # the bands touch: a shift by four pixels moves pictures across
    assert min(low) - max(high) < 4


def test_only_ink_separates_red_and_blue(tree: Path) -> None:
    for digit in ("eight", "nine"):
        for ink, channel in (("red", 0), ("blue", 2)):
            for path in tree.rglob(f"{digit}-{ink}/*.png"):
                pixels = np.asarray(Image.open(path).convert("RGB"), float)
                ink_pixels = pixels[pixels.max(axis=2) > 150]
                assert ink_pixels.mean(axis=0).argmax() == channel, path


def test_groups_name_every_picture(tree: Path) -> None:
    with (tree / "groups.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["file"] for row in rows} == {
        p.relative_to(tree).as_posix() for p in tree.rglob("*.png")
    }


def test_an_existing_folder_is_refused(tree: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        draw_tree(tree, SMALL)


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_tree(tmp_path / "pictures", SMALL, stop)
    assert list(tmp_path.iterdir()) == []
