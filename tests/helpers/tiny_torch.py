"""The tiny classifier as the checkpoint of a training run, made without training."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
import torch
from torch import Tensor, nn

from edgecv.models import factory
from edgecv.quantize import calibrate, freeze
from edgecv.quantize.checkpoint import Architecture, write_checkpoint

NAME = "tiny_classifier"
SIZE = (tiny_models.HEIGHT, tiny_models.WIDTH)
CONFIG: dict[str, Any] = {
    "input_size": (3, *SIZE),
    "num_classes": tiny_models.CLASSES,
    "crop_pct": 1.0,
    "interpolation": "bicubic",
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "first_conv": "conv",
}


class TinyClassifier(nn.Module):
    """As :func:`tiny_models.reference`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, tiny_models.CHANNELS, 3, padding=1)
        self.act1 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(tiny_models.CHANNELS, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.act1(self.conv(x))).flatten(1))


# a checkpoint names its model, and ``create`` makes it
factory._OWN[NAME] = (TinyClassifier, CONFIG)


@lru_cache
def checkpoint(precision: str = "float32", bits: int = 8, seed: int = 1) -> bytes:
    """The sealed file, ``"float32"`` or ``"int8"`` (calibrated on noise)."""
    quantized = bits if precision == "int8" else None
    architecture = Architecture(NAME, tiny_models.CLASSES, SIZE, bits=quantized)
    module = architecture.build()
    w = tiny_models.weights(seed)
    with torch.no_grad():
        for name, values in (
            ("conv.weight", w.conv),
            ("conv.bias", w.conv_bias),
            ("fc.weight", w.linear),
            ("fc.bias", w.linear_bias),
        ):
            module.get_parameter(name).copy_(torch.from_numpy(values))
    if quantized is not None:
        noise = np.random.default_rng(0).random((64, 3, *SIZE), np.float32)
        brightest = np.random.default_rng(1).random((64, 3, 1, 1), np.float32)
        calibrate(module, [noise * brightest])
        freeze(module)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        write_checkpoint(module, path, architecture, tiny_models.manifest("torch", precision))
        return path.read_bytes()
