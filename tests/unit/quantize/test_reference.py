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

from edgecv.errors import InputError
from edgecv.models import create
from edgecv.quantize import calibrate, export_qdq, prepare_qat
from edgecv.quantize.qat import quantizers_of
from edgecv.quantize.reference import as_exported, float_islands, predict
from edgecv_converters.leave_out import leave_out

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


# quantizers that a target leaves out, and float32


class Curved(nn.Module):
    """SiLU behind every convolution, and a concatenation whose inputs share a quantizer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(8)
        self.act1 = nn.SiLU()
        self.left = nn.Conv2d(8, 6, 3, 2, 1)
        self.right = nn.Conv2d(8, 6, 1, 2)
        self.act2 = nn.SiLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(torch.cat([self.left(x), self.right(x)], 1))
        return self.fc(self.pool(x).flatten(1))


def test_quantizers_are_left_out_as_in_the_file(tmp_path: Path) -> None:
    qat = prepare_qat(lively(Curved(), SIZE), input_size=SIZE)
    calibrate(qat, [pictures(24, SIZE)])
    path = tmp_path / "model.qdq.onnx"
    export_qdq(qat, path, input_size=SIZE)
    file, names = leave_out(path.read_bytes(), ("inside_silu",))
    assert "bn1" in names
    assert "act1.sigmoid" in names
    seen = pictures(64, SIZE, seed=5)
    step = quantizers_of(qat).activations()["logits"].params().scale
    found = run(file, seen.numpy(), "NONE")
    same = predict(as_exported(qat, input_size=SIZE, left_out=names), [seen])
    whole = predict(as_exported(qat, input_size=SIZE), [seen])
    moved, blamed = ((np.abs(found - x) > step / 2).any(axis=1).mean() for x in (same, whole))
    assert moved < 0.1
    # the reference with all quantizers is another model: this is what comparing with it would blame
    assert blamed > 0.5
    # the file quantizes a concatenation again, on the grid of its inputs: in torch nothing stands there
    assert "concat" in names
    assert "concat" not in quantizers_of(qat).activations()


def test_only_the_tensor_that_was_named_loses_a_shared_quantizer() -> None:
    qat = prepare_qat(lively(Curved(), SIZE), input_size=SIZE)
    calibrate(qat, [pictures(24, SIZE)])
    seen = pictures(16, SIZE, seed=5)
    answers = [
        predict(as_exported(qat, input_size=SIZE, left_out=names), [seen])
        for names in ((), ("left",), ("right",), ("left", "right"))
    ]
    for index, one in enumerate(answers):
        assert not any(np.array_equal(one, other) for other in answers[index + 1 :])


def test_a_quantizer_that_is_not_there_cannot_be_left_out() -> None:
    qat = prepare_qat(lively(SmallNet(), SIZE), input_size=SIZE)
    calibrate(qat, [pictures(8, SIZE)])
    with pytest.raises(InputError, match=r"'nowhere\.act'"):
        as_exported(qat, input_size=SIZE, left_out=("nowhere.act",))


def test_close_calls_are_decided_the_other_way() -> None:
    qat = prepare_qat(lively(Curved(), SIZE), input_size=SIZE)
    calibrate(qat, [pictures(24, SIZE)])
    params = quantizers_of(qat).activations()["input"].params()
    seen = torch.tensor([0.0, 2.4998, 2.49995, 2.5, 2.50005, 2.5002, 3.0, 300.0]).double()
    found = []
    for distance in (0.0, 1e-4):
        model = as_exported(qat, input_size=SIZE, contrary=distance)
        quantizer = quantizers_of(model).get_submodule("input")
        steps = quantizer(seen * params.scale) / params.scale
        found.append(steps.round().int().tolist())
    assert found == [[0, 2, 2, 2, 3, 3, 3, 255], [0, 2, 3, 3, 2, 3, 3, 255]]
    with pytest.raises(InputError, match=r"0\.5"):
        as_exported(qat, input_size=SIZE, contrary=0.5)


def test_contrary_roundings_move_a_net_with_islands_more_than_engines_do(tmp_path: Path) -> None:
    qat = prepare_qat(lively(Curved(), SIZE), input_size=SIZE)
    calibrate(qat, [pictures(24, SIZE)])
    path = tmp_path / "model.qdq.onnx"
    export_qdq(qat, path, input_size=SIZE)
    seen = pictures(96, SIZE, seed=5)
    exact = predict(as_exported(qat, input_size=SIZE), [seen])
    contrary = predict(as_exported(qat, input_size=SIZE, contrary=1e-4), [seen])
    bound = np.square(contrary - exact).mean()
    assert bound > 0
    for level in ("NONE", "ALL"):
        assert np.square(run(path, seen.numpy(), level) - exact).mean() <= bound


def test_islands_are_named() -> None:
    curved = prepare_qat(Curved(), input_size=SIZE)
    assert float_islands(curved) == ("act1.sigmoid", "act2.sigmoid")
    assert float_islands(prepare_qat(SmallNet(), input_size=SIZE)) == ()
