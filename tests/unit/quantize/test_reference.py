"""The torch reference computes what the exported file says: the same constants, the same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx_reading import run
from torch import Tensor, nn
from torch_nets import SmallNet, lively, pictures

from edgecv.models import create
from edgecv.quantize import calibrate, export_qdq, prepare_qat
from edgecv.quantize.qat import quantizers_of
from edgecv.quantize.reference import as_exported, predict

SIZE = (32, 40)


class Odd(nn.Module):
    """What few nets have: no bias anywhere, a BatchNorm without weights, one that kills its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8, affine=False)
        self.conv2 = nn.Conv2d(8, 8, 3, 2, 1)
        self.bn2 = nn.BatchNorm2d(8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.pool(torch.relu(self.bn2(self.conv2(x)))).flatten(1))


def odd() -> nn.Module:
    model = Odd()
    for index, module in enumerate((model.conv1, model.conv2, model.fc)):
        generator = torch.Generator().manual_seed(index)
        module.weight.data.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
    model.train()
    with torch.no_grad():
        for seed in range(4):
            model(pictures(8, SIZE, seed))
        # weights that are tiny beside the bias: their grid has to be coarser for the bias to fit
        model.bn2.weight[:2] = 1e-9
        model.bn2.bias[:2] = 1.0
    return model.eval()


def resnet() -> nn.Module:
    return lively(create("resnet10_micro", num_classes=5, size=SIZE).module, SIZE)


@pytest.mark.parametrize("make", [resnet, lambda: lively(SmallNet(), SIZE), odd])
def test_it_equals_onnxruntime(make: object, tmp_path: Path) -> None:
    model = make()  # type: ignore[operator]
    qat = prepare_qat(model, input_size=SIZE)
    calibrate(qat, [pictures(24, SIZE)])
    before = {name: value.clone() for name, value in qat.state_dict().items()}
    exact = as_exported(qat, input_size=SIZE)
    assert all(torch.equal(before[name], value) for name, value in qat.state_dict().items())
    path = tmp_path / "model.qdq.onnx"
    export_qdq(qat, path, input_size=SIZE)
    seen = pictures(32, SIZE, seed=5)
    step = list(quantizers_of(qat).activations().values())[-1].params().scale
    difference = np.abs(run(path, seen.numpy(), "ALL") - predict(exact, [seen])) / step
    # integer kernels; a rounding may still fall the other way where the float32 multiplier sits on a half
    assert difference.max() <= 2.01
    assert difference.mean() < 0.1


def test_the_constants_are_those_of_the_file(tmp_path: Path) -> None:
    qat = prepare_qat(odd(), input_size=SIZE)
    calibrate(qat, [pictures(24, SIZE)])
    path = tmp_path / "model.qdq.onnx"
    export_qdq(qat, path, input_size=SIZE)
    stored = {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
    buffers = dict(as_exported(qat, input_size=SIZE).named_buffers())
    scale = stored["conv2.weight/scale"].astype(np.float64).reshape(-1, 1, 1, 1)
    weight = stored["conv2.weight/int"] * scale
    bias = stored["conv2.bias/int"] * stored["conv2.bias/scale"].astype(np.float64)
    assert np.array_equal(buffers["quantizers.conv2/weight.values"].numpy(), weight)
    assert np.array_equal(buffers["bn2.bias"].numpy(), bias)
