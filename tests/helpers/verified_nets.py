"""Small networks whose artifacts are verified, tampered with, and verified again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from onnx_models import OnnxModel, conv_weights, small_resnet
from tampering import Copy, copy_files, open_copy

from edgecv.conversion import convert_all
from edgecv.verify.mismatch import Mismatch
from edgecv.verify.parameters import compare_parameters

__all__ = ["NETS", "TARGETS", "Verified", "separable"]

TARGETS = ("tflite", "openvino", "onnx")

PIXEL = float(np.float32(1 / 255))


def separable(*, per_channel: bool = True, activation: str = "uint8") -> OnnxModel:
    """What the small ResNet lacks: no bias, depthwise, groups, an average over windows, MatMul + Add."""
    rng = np.random.default_rng(1)
    model = OnnxModel(activation=activation)

    def weights(name: str, shape: tuple[int, ...], scale: float, axis: int = 0) -> tuple[str, str]:
        return conv_weights(rng, model, name, shape, scale, axis=axis, per_channel=per_channel)[:2]

    x = model.input("input", (1, 3, 16, 12), (PIXEL, -128))
    integers = rng.integers(-127, 128, (6, 3, 3, 3)).astype(np.int8)
    scales = rng.uniform(0.002, 0.02, 6 if per_channel else ())
    stem = model.weight("stem.weight", integers, scales, 0 if per_channel else None)
    x = model.op("Conv", [x, stem], "stem", (0.05, 3), pads=[1] * 4)
    x = model.op("Conv", [x, *weights("dw", (6, 1, 3, 3), 0.05)], "dw", pads=[1] * 4, group=6)
    x = model.op("Relu", [x], "dw.act", (0.04, -128))
    x = model.op("AveragePool", [x], "pool", (0.04, -128), kernel_shape=[2, 2], strides=[2, 2])
    x = model.op(
        "Conv", [x, *weights("grouped", (4, 3, 1, 1), 0.04)], "grouped", (0.07, 2), group=2
    )
    x = model.op("GlobalAveragePool", [x], "mean", (0.05, 0))
    x = model.op("Flatten", [x], "flat", (0.05, 0))
    weight, bias = weights("fc", (4, 5), 0.05, axis=1)
    x = model.op("MatMul", [x, weight], "product")
    x = model.op("Add", [x, bias], "logits", (0.2, -3))
    return model.output(x, (1, 5))


#: Name → the model. int8 but for the float one.
NETS = {
    "resnet": small_resnet,
    "resnet-int8": lambda: small_resnet(activation="int8"),
    "float": lambda: small_resnet(quantized=False),
    "separable": separable,
    "per-tensor": lambda: separable(per_channel=False),
}


class Verified:
    """A network's source and its artifacts, by default for every target."""

    def __init__(self, folder: Path, model: OnnxModel, targets: tuple[str, ...] = TARGETS) -> None:
        self.source = folder / "source.onnx"
        self.source.write_bytes(model.bytes())
        results = convert_all(self.source, targets, out=folder / "artifacts")
        self.artifacts = {result.target: result.path for result in results}
        self._folder = folder

    def copy(self, target: str) -> Copy:
        """A fresh copy, in a folder of its own."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return open_copy(copy_files(self.artifacts[target], folder))

    def compare(self, copy: Copy) -> list[Mismatch]:
        """What verification says of a copy."""
        return compare_parameters(copy.path, self.source.read_bytes())
