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
from edgecv.camera.sources.digits import CLASSES, draw, look
from edgecv.errors import InputError, MissingExtraError

__all__ = ["CLASSES", "DEMO_PREPROCESS", "PictureOptions", "draw_tree"]

Array = npt.NDArray[Any]

#: The model sees 40 rows and 48 columns, cut from the middle of a 45 x 54 picture (crop fraction 8/9).
DEMO_PREPROCESS = Preprocess(size=(40, 48), resize="shortest", crop_fraction=40 / 45)
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
                picture = draw(look(name, glyph, rng), options.noise, rng)
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
