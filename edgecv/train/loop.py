"""The two phases of training; no printing, no files."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional

from edgecv.errors import InputError
from edgecv.quantize import calibrate, freeze, prepare_qat
from edgecv.train.recipe import Recipe
from edgecv.train.torch_data import Pictures, to_float

__all__ = ["Epoch", "accuracy", "calibration_batches", "train_float", "train_qat"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        phase: ``"float"`` or ``"qat"``.
        number: From 1.
        of: Epochs in this phase.
        loss: Mean over the epoch's steps.
        val_top1: Fraction on the validation pictures.
        seconds: Wall time, evaluation included.
    """

    phase: str
    number: int
    of: int
    loss: float
    val_top1: float
    seconds: float


OnEpoch = Callable[[Epoch], None]


def train_float(
    module: nn.Module, train: Pictures, val: Pictures, recipe: Recipe, on_epoch: OnEpoch
) -> nn.Module:
    """Train in float; the epoch with the best validation accuracy is kept (the later of equals).

    Raises:
        InputError: The loss is not finite.
    """
    best, best_top1 = module.state_dict(), -1.0
    with _reproducible(recipe, "float") as generator:
        optimizer = _optimizer(module, recipe, recipe.lr)
        steps = recipe.epochs * _steps(train, recipe)
        schedule = (
            torch.optim.lr_scheduler.OneCycleLR(
                optimizer, recipe.lr, total_steps=steps, pct_start=0.25
            )
            if steps > 1
            else None
        )
        for number in range(1, recipe.epochs + 1):
            began = time.monotonic()
            losses = []
            module.train()
            for pictures, labels in train.batches(recipe.batch_size, generator):
                losses.append(_step(module, pictures, labels, optimizer, recipe))
                if schedule:
                    schedule.step()
            top1 = accuracy(module, val, recipe.batch_size)
            if top1 >= best_top1:
                best, best_top1 = copy.deepcopy(module.state_dict()), top1
            loss = sum(losses) / len(losses)
            seconds = time.monotonic() - began
            on_epoch(Epoch("float", number, recipe.epochs, loss, top1, seconds))
    module.load_state_dict(best)
    return module.eval()


def train_qat(
    module: nn.Module,
    train: Pictures,
    val: Pictures,
    recipe: Recipe,
    input_size: tuple[int, int],
    on_epoch: OnEpoch,
) -> GraphModule:
    """Train with fake quantizers, started from a trained float model, which is left as it was.

    Ranges are calibrated first, followed while training, and frozen together with the BatchNorm
    statistics for the last part; the last epoch is kept, because only it has the frozen ranges.

    Raises:
        InputError: The loss is not finite.
        UnsupportedError: Operators that edgecv does not know.
    """
    qat = prepare_qat(copy.deepcopy(module), input_size=input_size, bits=recipe.bits, dropout=False)
    calibrate(qat, calibration_batches(train, recipe))
    with _reproducible(recipe, "qat") as generator:
        optimizer = _optimizer(qat, recipe, recipe.qat_lr)
        steps = max(1, recipe.qat_epochs * _steps(train, recipe))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        done = 0
        for number in range(1, recipe.qat_epochs + 1):
            began = time.monotonic()
            losses = []
            qat.train()
            for pictures, labels in train.batches(recipe.batch_size, generator):
                if done == int(recipe.freeze_after * steps):
                    freeze(qat)
                losses.append(_step(qat, pictures, labels, optimizer, recipe))
                schedule.step()
                done += 1
            top1 = accuracy(qat, val, recipe.batch_size)
            loss = sum(losses) / len(losses)
            seconds = time.monotonic() - began
            on_epoch(Epoch("qat", number, recipe.qat_epochs, loss, top1, seconds))
    freeze(qat)
    return qat.eval()


def accuracy(module: nn.Module, pictures: Pictures, batch_size: int) -> float:
    """Top-1 as a fraction, in evaluation mode; the mode is restored."""
    training = module.training
    module.eval()
    right = 0
    with torch.inference_mode():
        for batch, labels in pictures.batches(batch_size):
            right += int((module(to_float(batch)).argmax(1) == labels).sum())
    module.train(training)
    return right / len(pictures)


def calibration_batches(pictures: Pictures, recipe: Recipe) -> Iterator[Tensor]:
    """The first *calibration_pictures* in seeded random order, not augmented, as float batches."""
    generator = torch.Generator().manual_seed(recipe.seed)
    wanted = min(recipe.calibration_pictures, len(pictures))
    chosen = set(torch.randperm(len(pictures), generator=generator)[:wanted].tolist())
    position = 0
    for batch, _ in pictures.batches(recipe.batch_size):
        keep = [i for i in range(len(batch)) if position + i in chosen]
        position += len(batch)
        if keep:
            yield to_float(batch[keep])


def _optimizer(module: nn.Module, recipe: Recipe, lr: float) -> torch.optim.Optimizer:
    """AdamW; biases and BatchNorm parameters do not decay."""
    decayed = [p for p in module.parameters() if p.requires_grad and p.dim() > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr)


def _step(
    module: nn.Module,
    pictures: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
) -> float:
    logits = module(to_float(pictures))
    loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    value = loss.item()
    if not torch.isfinite(loss):
        raise InputError(f"the loss is {value}", cure="Lower the learning rate.")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return value


def _steps(train: Pictures, recipe: Recipe) -> int:
    return max(1, len(train) // recipe.batch_size)


@contextmanager
def _reproducible(recipe: Recipe, phase: str) -> Iterator[torch.Generator]:
    """Seed torch within and restore its global state and threads behind."""
    threads = torch.get_num_threads()
    seed = 2 * recipe.seed + (phase == "qat")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        try:
            yield torch.Generator().manual_seed(seed)
        finally:
            torch.set_num_threads(threads)
