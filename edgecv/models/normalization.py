"""Mean and standard deviation put into the model, so that its input is plain [0, 1]."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgecv.errors import InputError, UnsupportedError

__all__ = ["FoldReport", "fold_agreement", "fold_into_first_convolution", "prepend_operator"]


@dataclass(frozen=True)
class FoldReport:
    """How far a model with folded normalization is from the one it was made from.

    Both are exact inside the picture. Where the first convolution pads, the original pads with the
    mean color and the folded model with black, so the border differs.

    Attributes:
        pictures: How many were compared.
        flips: How many got another top-1 class.
        agreement: 1 - flips / pictures.
        max_logit_difference: Largest absolute difference of any logit.
        logit_range: Largest absolute logit of the original, for scale.
    """

    pictures: int
    flips: int
    agreement: float
    max_logit_difference: float
    logit_range: float


def fold_into_first_convolution(
    module: nn.Module, path: str, mean: Sequence[float], std: Sequence[float]
) -> None:
    """Change the convolution at *path* in place: W' = W / std, b' = b - sum(W * mean / std).

    Computed in float64. The convolution gains a bias if it has none; other state-dict keys stay.

    Raises:
        UnsupportedError: *path* is no ordinary convolution of three channels.
    """
    conv = dict(module.named_modules()).get(path)
    if not isinstance(conv, nn.Conv2d) or conv.in_channels != 3 or conv.groups != 1:
        raise UnsupportedError(
            f"the first layer {path!r} is no convolution of 3 input channels",
            cure='Use normalize="op", which puts the normalization into a layer of its own.',
        )
    weight = conv.weight.detach().double()
    means, stds = (torch.tensor(list(v), dtype=torch.float64).view(1, 3, 1, 1) for v in (mean, std))
    shift = (weight * means / stds).sum(dim=(1, 2, 3))
    old = conv.bias.detach().double() if conv.bias is not None else torch.zeros_like(shift)
    conv.weight = nn.Parameter((weight / stds).float())
    conv.bias = nn.Parameter((old - shift).float())


def prepend_operator(module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Give *module* a first layer ``normalize``, a fixed 1x1 depthwise (x - mean) / std.

    Exact at the border too, for one more operator at run time. Other state-dict keys stay.
    """
    layer = nn.Conv2d(3, 3, kernel_size=1, groups=3)
    means, stds = (torch.tensor(list(v), dtype=torch.float64) for v in (mean, std))
    layer.weight = nn.Parameter((1.0 / stds).float().view(3, 1, 1, 1))
    layer.bias = nn.Parameter((-means / stds).float())
    layer.requires_grad_(False)
    module.add_module("normalize", layer)
    # A hook and not a wrapper: a wrapper would put a prefix before every key.
    module.register_forward_pre_hook(_normalize_first)


def _normalize_first(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    layer: nn.Module = module.get_submodule("normalize")
    return (layer(args[0]), *args[1:])


def fold_agreement(
    folded: nn.Module,
    original: nn.Module,
    batches: Iterable[Any],
    *,
    mean: Sequence[float],
    std: Sequence[float],
) -> FoldReport:
    """Compare *folded* on [0, 1] pictures with *original* on the same pictures, normalized.

    Args:
        folded: Takes [N, 3, H, W] in [0, 1].
        original: Takes the same pictures after (x - mean) / std.
        batches: Arrays or tensors [N, 3, H, W] float32 in [0, 1].
        mean: Per channel.
        std: Per channel.

    Raises:
        InputError: There is no picture.
    """
    means, stds = (torch.tensor(list(v)).view(1, 3, 1, 1) for v in (mean, std))
    modes = folded.training, original.training
    folded.eval()
    original.eval()
    new, old = [], []
    with torch.inference_mode():
        for batch in batches:
            pictures = torch.as_tensor(np.asarray(batch, np.float32))
            new.append(folded(pictures))
            old.append(original((pictures - means) / stds))
    folded.train(modes[0])
    original.train(modes[1])
    if not new:
        raise InputError(
            "no pictures to compare the folded model on", cure="Give at least one batch."
        )
    logits, reference = torch.cat(new), torch.cat(old)
    flips = int((logits.argmax(1) != reference.argmax(1)).sum())
    return FoldReport(
        pictures=len(logits),
        flips=flips,
        agreement=1.0 - flips / len(logits),
        max_logit_difference=float((logits - reference).abs().max()),
        logit_range=float(reference.abs().max()),
    )
