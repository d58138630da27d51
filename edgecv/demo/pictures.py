"""The demo's pictures: scikit-learn's handwritten digits in color on a canvas that is not square.

Every usual deployment bug costs accuracy on them: two pairs of classes differ only by ink color (a color
swap), one pair only by height on the canvas (a wrong crop or a wrong padding value, because a fully
convolutional net with global pooling knows positions only from its padding), and a margin around the
canvas must be cropped away.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecv.artifact.manifest import Preprocess
from edgecv.errors import InputError, MissingExtraError

__all__ = ["CLASSES", "DEMO_PREPROCESS", "PictureOptions", "draw_tree"]

Array = npt.NDArray[Any]

#: Class → (digit, ink or None for any, vertical band or None for anywhere).
CLASSES: dict[str, tuple[int, str | None, str | None]] = {
    "zero": (0, None, None),
    "one-high": (1, None, "high"),
    "one-low": (1, None, "low"),
    "two": (2, None, None),
    "three": (3, None, None),
    "four": (4, None, None),
    "five": (5, None, None),
    "six": (6, None, None),
    "seven": (7, None, None),
    "eight-blue": (8, "blue", None),
    "eight-red": (8, "red", None),
    "nine-blue": (9, "blue", None),
    "nine-red": (9, "red", None),
}

_INKS: dict[str, tuple[int, int, int]] = {
    "red": (230, 70, 60),
    "blue": (60, 70, 230),
    "green": (70, 200, 90),
    "yellow": (225, 205, 70),
    "violet": (200, 80, 210),
    "white": (225, 225, 225),
}

#: The model sees 40 rows and 48 columns, cut from the middle of a 45 x 54 picture (crop fraction 8/9).
DEMO_PREPROCESS = Preprocess(size=(40, 48), resize="shortest", crop_fraction=40 / 45)
_CANVAS = (45, 54)
_MARGIN = (2, 3)  # rows and columns that timm's center crop removes at the top and at the left
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class PictureOptions:
    """How many pictures are drawn and how hard they are.

    Attributes:
        seed: Of everything random.
        train_per_digit: Drawings of each original digit in the training split.
        held_out_per_digit: Drawings of each original digit in the validation and test splits.
        test_fraction: Share of the original digits kept for the test.
        val_fraction: Share of the original digits kept for validation.
        noise: Standard deviation of the pixel noise, in levels of 255.
    """

    seed: int = 0
    train_per_digit: int = 6
    held_out_per_digit: int = 5
    test_fraction: float = 0.25
    val_fraction: float = 0.1
    noise: float = 10.0


def draw_tree(
    root: Path, options: PictureOptions | None = None, progress: Callable[[str], None] | None = None
) -> int:
    """Draw the ImageFolder tree ``root/{train,val,test}/<class>/*.png`` with ``root/groups.csv``.

    Drawn into a temporary folder beside *root* and renamed when complete. Splits are made by original
    digit (no digit in two splits) and stratified by digit.

    Args:
        root: Folder to make; must not exist.
        options: Numbers and difficulty.
        progress: Called with a short line now and then.

    Returns:
        Number of pictures.

    Raises:
        InputError: *root* exists.
        MissingExtraError: scikit-learn is not installed.
    """
    options = options or PictureOptions()
    if root.exists():
        raise InputError(
            f"the folder '{root}' exists", cure="Remove it or choose another with --out."
        )
    glyphs, digits = _load_digits()
    split_of = _split_originals(digits, options)
    work = root.with_name(f"{root.name}.part-{os.getpid()}")
    count = 0
    rows: list[tuple[str, str]] = []
    try:
        for index, (glyph, digit) in enumerate(zip(glyphs, digits, strict=True)):
            split = _SPLITS[split_of[index]]
            names = [name for name, (d, _, _) in CLASSES.items() if d == digit]
            per_digit = options.train_per_digit if split == "train" else options.held_out_per_digit
            rng = np.random.default_rng([options.seed, index])
            first = int(rng.integers(len(names)))
            for drawing in range(per_digit):
                name = names[(first + drawing) % len(names)]
                file = f"{split}/{name}/{index:04d}-{drawing}.png"
                path = work / file
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = _draw(glyph, CLASSES[name], options, rng)
                Image.fromarray(picture).save(path, compress_level=1)
                rows.append((file, f"digit-{index:04d}"))
                count += 1
            if progress and index % 300 == 0:
                progress(f"drew {count} pictures")
        with (work / "groups.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("file", "group"))
            writer.writerows(rows)
        work.rename(root)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return count


def _load_digits() -> tuple[Array, Array]:
    """scikit-learn's 1,797 digits: [N, 8, 8] in [0, 16] and their classes."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        raise MissingExtraError.of("scikit-learn", "report") from error
    bunch = load_digits()
    return bunch.images, bunch.target


def _split_originals(digits: Array, options: PictureOptions) -> Array:
    """0 train, 1 val, 2 test for every original, the same shares in each digit."""
    rng = np.random.default_rng([options.seed, len(digits)])
    split = np.zeros(len(digits), int)
    for digit in np.unique(digits):
        members = rng.permutation(np.flatnonzero(digits == digit))
        test = round(len(members) * options.test_fraction)
        val = round(len(members) * options.val_fraction)
        split[members[:test]] = 2
        split[members[test : test + val]] = 1
    return split


def _draw(
    glyph: Array,
    look: tuple[int, str | None, str | None],
    options: PictureOptions,
    rng: np.random.Generator,
) -> Array:
    """One picture: uint8 [45, 54, 3]."""
    _, ink, band = look
    height, width = DEMO_PREPROCESS.size
    side = int(rng.integers(17, 23))
    mask = np.asarray(
        Image.fromarray((glyph * (255 / 16)).astype(np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        ),
        np.float32,
    )
    free = height - side
    # center of the digit above or below the middle of the canvas, never within 2 pixels of it
    low, high = {"high": (0, free // 2 - 1), "low": ((free + 1) // 2 + 1, free)}.get(
        band or "", (0, free)
    )
    top = _MARGIN[0] + int(rng.integers(low, high + 1))
    left = _MARGIN[1] + int(rng.integers(0, width - side + 1))
    names = list(_INKS)
    color = np.array(_INKS[ink or names[int(rng.integers(len(names)))]], np.float32)
    shade = color + rng.uniform(-20, 20, 3)
    background = rng.uniform(40, 80) + rng.uniform(-10, 10, 3)
    picture: Array = np.broadcast_to(background, (*_CANVAS, 3)).astype(np.float32).copy()
    alpha = (mask / 255)[..., None]
    window = picture[top : top + side, left : left + side]
    window[...] = window * (1 - alpha) + shade * alpha
    picture += rng.normal(0, options.noise, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
