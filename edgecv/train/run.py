"""``train_run``: from a data set and a recipe to a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecv.data import Dataset, save_json, split
from edgecv.errors import InputError
from edgecv.models import create
from edgecv.quantize.checkpoint import Architecture, write_checkpoint
from edgecv.train.export import about_run
from edgecv.train.folder import RunFolder
from edgecv.train.loop import Epoch, train_float, train_qat
from edgecv.train.recipe import Recipe
from edgecv.train.torch_data import Pictures

__all__ = ["TrainedRun", "train_run", "with_splits"]

#: Shares when the pictures come without splits.
FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class TrainedRun:
    """What a training left behind.

    Attributes:
        path: The run folder.
        epochs: Both phases, in order.
    """

    path: Path
    epochs: tuple[Epoch, ...]


def train_run(
    dataset: Dataset,
    recipe: Recipe,
    out: str | Path,
    *,
    overwrite: bool = False,
    claimed: bool = False,
    progress: Callable[[str], None] | None = None,
    update: Callable[[str], None] | None = None,
) -> TrainedRun:
    """Train float, then quantization-aware, and keep everything in a run folder.

    A run that is interrupted or fails leaves no folder behind, unless it was *claimed* by the
    caller.

    Args:
        dataset: With splits, or without (then 70/15/15, stratified, groups kept together).
        recipe: Everything else.
        out: The run folder.
        overwrite: Replace an earlier run there.
        claimed: The caller made the folder and answers for it.
        progress: Called with a line per step.
        update: Called with short lines in between.

    Raises:
        EdgecvError: The folder, the pictures or the model cannot be used.
    """
    say = progress or (lambda _: None)
    dataset = with_splits(dataset, recipe.seed)
    # everything that a wrong argument can break comes before the folder is touched
    made = create(
        recipe.model,
        num_classes=len(dataset.classes),
        weights=Path(recipe.weights) if recipe.weights else None,
        size=recipe.size,
        normalize=recipe.normalize,
        seed=recipe.seed,
    )
    preprocess = recipe.preprocess(made.preprocess)
    recipe = dataclasses.replace(recipe, size=preprocess.size)
    folder = RunFolder(out)
    if not claimed:
        folder.claim(overwrite=overwrite)
    try:
        recipe.save(folder.recipe)
        save_json(dataset, folder.data)
        say(f"decoding {len(dataset.items)} pictures to {preprocess.size[0]}x{preprocess.size[1]}")
        train = Pictures(dataset.of("train"), preprocess, augment=recipe.augment)
        val = Pictures(dataset.of("val"), preprocess)
        epochs: list[Epoch] = []

        def on_epoch(epoch: Epoch) -> None:
            epochs.append(epoch)
            folder.append_log(dataclasses.asdict(epoch))
            if update:
                update(
                    f"{epoch.phase} epoch {epoch.number}/{epoch.of}: loss {epoch.loss:.3f},"
                    f" validation top-1 {100 * epoch.val_top1:.2f} %, {epoch.seconds:.1f} s"
                )

        say(f"training {recipe.model}, float, {recipe.epochs} epochs")
        module = train_float(made.module, train, val, recipe, on_epoch)
        about = about_run(dataset, preprocess)
        what = Architecture(
            recipe.model, len(dataset.classes), preprocess.size, normalize=recipe.normalize
        )
        write_checkpoint(module, folder.float_weights, what, about)
        if recipe.qat_epochs:
            say(f"training {recipe.model}, quantization-aware, {recipe.qat_epochs} epochs")
            qat = train_qat(module, train, val, recipe, preprocess.size, on_epoch)
            quantized = dataclasses.replace(what, bits=recipe.bits)
            write_checkpoint(qat, folder.qat_weights, quantized, about)
    except BaseException:
        if not claimed:
            folder.discard()
        raise
    return TrainedRun(folder.path, tuple(epochs))


def with_splits(dataset: Dataset, seed: int) -> Dataset:
    """*dataset* with at least a training and a validation split.

    Raises:
        InputError: There is no training split, or a class has too few pictures.
    """
    if dataset.splits == ("",):
        return split(dataset, FRACTIONS, seed=seed)
    if "train" not in dataset.splits:
        raise InputError(
            f"'{dataset.root}' has no folder 'train'", cure="Make one, or give class folders only."
        )
    if "val" not in dataset.splits:
        return split(dataset, {"train": 0.85, "val": 0.15}, seed=seed, of="train")
    return dataset
