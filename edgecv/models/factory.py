"""``create``: a classifier by name, normalization inside, preprocessing beside it."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgecv.artifact.manifest import Preprocess
from edgecv.errors import InputError, UnsupportedError
from edgecv.models.attention import is_split, split_attention
from edgecv.models.labels import imagenet_labels
from edgecv.models.micro import MICRO_CONFIG, resnet10_micro, resnet10_nano
from edgecv.models.normalization import (
    FoldReport,
    fold_agreement,
    fold_into_first_convolution,
    prepend_operator,
)
from edgecv.models.torchvision_schemas import import_timm
from edgecv.models.weights import load_into, read_state_dict

__all__ = ["CreatedModel", "create", "list_models"]

#: Models of our own: name → (builder, configuration in timm's form).
_OWN = {
    "resnet10_micro": (resnet10_micro, MICRO_CONFIG),
    "resnet10_nano": (resnet10_nano, MICRO_CONFIG),
}
#: timm's crop modes that :class:`Preprocess` can say.
_RESIZE = {"center": "shortest", "squash": "stretch"}


@dataclass(frozen=True)
class CreatedModel:
    """A classifier ready for training or export.

    Attributes:
        module: Takes float32 [N, 3, H, W], RGB in [0, 1]; gives logits [N, num_classes].
        name: As asked for.
        num_classes: Outputs.
        preprocess: From picture to input; mean 0 and std 1, because both are inside the model.
        labels: One per output, or empty when nobody has said.
        fold_report: Folded against original, or None when it was not asked for or nothing was
            folded.
    """

    module: nn.Module
    name: str
    num_classes: int
    preprocess: Preprocess
    labels: tuple[str, ...] = ()
    fold_report: FoldReport | None = None


def list_models() -> list[str]:
    """Every name that :func:`create` knows: our own, then timm's."""
    return [*_OWN, *import_timm().list_models()]


def create(
    name: str,
    *,
    num_classes: int | None = None,
    weights: Path | None = None,
    size: tuple[int, int] | None = None,
    normalize: str = "fold",
    seed: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    imagenet_names: bool = False,
    fold_batches: Iterable[Any] | Callable[[Preprocess], Iterable[Any]] | None = None,
) -> CreatedModel:
    """Make a classifier whose input is plain pixels in [0, 1].

    Attention layers come split (:class:`~edgecv.models.attention.SplitAttention`); weights may have
    the keys of either form.

    Args:
        name: A timm name such as ``"resnet18"``, ``"resnet10_micro"`` or ``"resnet10_nano"``.
        num_classes: Outputs; by default what the published model has.
        weights: State dict (``.safetensors``, ``.pth``); without it the weights are random by
            *seed*.
        size: Input (height, width) in pixels; by default the published model's.
        normalize: ``"fold"`` puts mean and std into the first convolution, ``"op"`` into a layer
            ``normalize`` before it (the same at the border too).
        seed: Of the random weights. The global generator is left as it was.
        mean: Per channel in [0, 1] units; by default the published model's.
        std: Per channel; by default the published model's.
        imagenet_names: Fill ``labels`` with the ImageNet-1k names.
        fold_batches: Pictures [N, 3, H, W] float32 in [0, 1] on which a folded model is compared
            with the original, or what makes them for the model's preprocessing; the result is
            ``fold_report``.

    Raises:
        UnsupportedError: An unknown name (the nearest ones are listed) or normalization.
        InputError: Arguments or weights that do not fit.
        ModelLoadError: A weights file that cannot be read.
    """
    if normalize not in ("fold", "op"):
        raise UnsupportedError(f"normalize={normalize!r} is unknown", cure='Use "fold" or "op".')
    module, config = _build(name, num_classes, seed)
    classes = int(config["num_classes"] if num_classes is None else num_classes)
    if imagenet_names and classes != 1000:
        raise InputError(
            f"ImageNet names are for 1000 classes, the model has {classes}",
            cure="Leave imagenet_names out.",
        )
    original_state = read_state_dict(weights) if weights is not None else None
    if original_state is not None and not is_split(original_state):
        load_into(module, original_state, str(weights))
    split_attention(module)
    if original_state is not None and is_split(original_state):
        load_into(module, original_state, str(weights))
    means = _channels("mean", config["mean"] if mean is None else mean)
    stds = _channels("std", config["std"] if std is None else std)
    if min(stds) <= 0:
        raise InputError(f"std {stds} is not positive", cure="Give three positive numbers.")
    original = copy.deepcopy(module) if normalize == "fold" and fold_batches is not None else None
    if normalize == "fold":
        fold_into_first_convolution(module, str(config["first_conv"]), means, stds)
    else:
        prepend_operator(module, means, stds)
    preprocess = _preprocess(config, size, pretrained=weights is not None)
    report = None
    if original is not None and fold_batches is not None:
        batches = fold_batches(preprocess) if callable(fold_batches) else fold_batches
        report = fold_agreement(module, original, batches, mean=means, std=stds)
    labels = imagenet_labels() if imagenet_names else ()
    return CreatedModel(module, name, classes, preprocess, labels, report)


def _build(name: str, num_classes: int | None, seed: int) -> tuple[nn.Module, Mapping[str, Any]]:
    """The bare model, and its configuration in the form of timm's ``pretrained_cfg``."""
    if num_classes is not None and num_classes < 2:
        raise InputError(f"{num_classes} classes cannot be told apart", cure="Use two or more.")
    timm = import_timm()
    if name not in _OWN and not timm.is_model(name):
        near = difflib.get_close_matches(name, list_models(), n=4, cutoff=0.5)
        raise UnsupportedError(
            f"unknown model {name!r}",
            cure=f"Did you mean {', '.join(near)}?" if near else "See edgecv.models.list_models().",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in _OWN:
            builder, config = _OWN[name]
            classes = config["num_classes"] if num_classes is None else num_classes
            return builder(classes), config
        options = {} if num_classes is None else {"num_classes": num_classes}
        module: nn.Module = timm.create_model(name, pretrained=False, **options)
    return module, dict(module.pretrained_cfg)  # type: ignore[arg-type]


def _channels(what: str, values: Sequence[float]) -> tuple[float, float, float]:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != 3:
        raise InputError(
            f"{what} {numbers} has not three channels", cure="Give one number per channel."
        )
    return numbers[0], numbers[1], numbers[2]


def _preprocess(
    config: Mapping[str, Any], size: tuple[int, int] | None, *, pretrained: bool
) -> Preprocess:
    """timm's eval transform; a model without trained weights has no crop to keep."""
    height, width = size if size is not None else config["input_size"][-2:]
    if min(height, width) < 1:
        raise InputError(
            f"the input size {size} is not positive", cure="Give (height, width) in pixels."
        )
    mode = str(config.get("crop_mode", "center"))
    if mode not in _RESIZE:
        raise UnsupportedError(
            f"this model's pictures are cropped by mode {mode!r}",
            cure=f"Known: {', '.join(_RESIZE)}.",
        )
    return Preprocess(
        size=(int(height), int(width)),
        resize=_RESIZE[mode],
        crop_fraction=float(config["crop_pct"]) if pretrained else 1.0,
        interpolation=str(config["interpolation"]),
    )
