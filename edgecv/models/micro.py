"""``resnet10_micro``: a ResNet small enough to train on two CPU cores while one waits."""

from __future__ import annotations

from typing import Any

from torch import nn

from edgecv.models.torchvision_schemas import import_timm

__all__ = ["MICRO_CONFIG", "resnet10_micro"]

#: In the form of timm's ``pretrained_cfg``.
MICRO_CONFIG: dict[str, Any] = {
    "input_size": (3, 64, 64),
    "num_classes": 10,
    "crop_pct": 1.0,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "first_conv": "conv1.0",
    "classifier": "fc",
}


def resnet10_micro(num_classes: int) -> nn.Module:
    """timm's ResNet class with one BasicBlock per stage and an eighth to a quarter of the width.

    About 0.31 million parameters. The stem is timm's "deep" one: three 3x3 convolutions, the first
    with stride 2, then the max pool, as in the published ``resnet10t``.
    """
    resnet = import_timm().models.resnet
    model: nn.Module = resnet.ResNet(
        resnet.BasicBlock,
        layers=(1, 1, 1, 1),
        channels=(16, 32, 64, 128),
        stem_type="deep",
        stem_width=8,
        num_classes=num_classes,
    )
    return model
