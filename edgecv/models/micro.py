"""ResNets of our own: ``resnet10_micro`` trains on two CPU cores while one waits, ``resnet10_nano`` ships.

The stem is timm's "deep" one: three 3x3 convolutions, the first with stride 2, then the max pool, as in
the published ``resnet10t``; behind it one BasicBlock per stage.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from edgecv.models.torchvision_schemas import import_timm

__all__ = ["MICRO_CONFIG", "resnet10_micro", "resnet10_nano"]

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
    """An eighth to a quarter of a ResNet's width: about 0.31 million parameters."""
    return _resnet10((16, 32, 64, 128), stem_width=8, num_classes=num_classes)


def resnet10_nano(num_classes: int) -> nn.Module:
    """About 17 thousand parameters: what ``edgecv selftest`` runs has to fit into the wheel."""
    return _resnet10((8, 12, 16, 24), stem_width=4, num_classes=num_classes)


def _resnet10(channels: tuple[int, ...], *, stem_width: int, num_classes: int) -> nn.Module:
    resnet = import_timm().models.resnet
    model: nn.Module = resnet.ResNet(
        resnet.BasicBlock,
        layers=(1, 1, 1, 1),
        channels=channels,
        stem_type="deep",
        stem_width=stem_width,
        num_classes=num_classes,
    )
    return model
