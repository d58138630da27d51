"""MobileViT, and the curved activations of MobileNetV3 and EfficientNet, under quantization-aware training."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_reading import kernels, run
from torch import Tensor, nn
from torch.fx import GraphModule
from torch_nets import lively, pictures

from edgecv.models import create
from edgecv.quantize import (
    as_exported,
    calibrate,
    capture,
    export_float,
    export_qdq,
    placement_of,
    predict,
    prepare_qat,
)
from edgecv.quantize.qat import quantizers_of
from edgecv.spec import QuantParams
from edgecv_converters.ptq import quantize_onnx

SIZES = {"mobilevit_xxs": (64, 64), "mobilenetv3_small_050": (32, 40), "efficientnet_b0": (32, 40)}


def model_of(name: str) -> nn.Module:
    return lively(create(name, num_classes=4, size=SIZES[name]).module, SIZES[name])


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return model_of("mobilevit_xxs")


@pytest.fixture(scope="module")
def qat(vit: nn.Module) -> GraphModule:
    prepared = prepare_qat(vit, input_size=SIZES["mobilevit_xxs"])
    calibrate(prepared, [pictures(8, SIZES["mobilevit_xxs"])])
    return prepared


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("count", [1, 5])
def test_the_captured_graph_computes_the_same_for_any_batch(name: str, count: int) -> None:
    model = model_of(name)
    x = pictures(count, SIZES[name])
    with torch.no_grad():
        torch.testing.assert_close(
            capture(model, input_size=SIZES[name])(x), model(x), rtol=1e-4, atol=1e-5
        )


def test_attention_operands_are_symmetric_and_shares_of_one_are_fixed(qat: GraphModule) -> None:
    quantizers = placement_of(qat).quantizers
    symmetric = {name for name, q in quantizers.items() if q.symmetric}
    assert len(symmetric) == 27
    assert all(name.rpartition(".")[2] in ("q", "k", "v") for name in symmetric)
    fixed = {name: q.fixed for name, q in quantizers.items() if q.fixed and name != "input"}
    assert len(fixed) == 34 + 9
    assert set(fixed.values()) == {QuantParams(1 / 256, -128)}


def test_inputs_of_a_concatenation_share_a_quantizer_that_covers_both(qat: GraphModule) -> None:
    shared = {name: q for name, q in placement_of(qat).quantizers.items() if len(q.tensors) > 1}
    assert len(shared) == 3
    for name in shared:
        module = quantizers_of(qat).activations()[name]
        assert module.minimum.shape == module.maximum.shape == (2,)
        params = module.params()
        highest = params.scale * (127 - params.zero_point)
        assert highest >= float(module.maximum.max()) - params.scale


class Joined(nn.Module):
    """Two branches of very different ranges, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(3, 2, 1)
        self.wide = nn.Conv2d(3, 2, 1)
        self.head = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 2)
        nn.init.constant_(self.wide.weight, 20.0)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.narrow(x), self.wide(x)], dim=1)
        return self.fc(self.head(joined).mean((2, 3)))


def test_following_a_shared_range_does_not_cut_off_the_wider_branch() -> None:
    qat = prepare_qat(Joined(), input_size=(8, 8))
    x = pictures(8, (8, 8))
    calibrate(qat, [x])
    before = quantizers_of(qat).activations()["narrow"].params().scale
    qat.train()
    for _ in range(50):
        qat(x)
    after = quantizers_of(qat).activations()["narrow"].params().scale
    assert after == pytest.approx(before, rel=0.05)


def test_a_resumed_model_continues_as_if_never_stopped(vit: nn.Module, qat: GraphModule) -> None:
    first = copy.deepcopy(qat).train()
    again = prepare_qat(vit, input_size=SIZES["mobilevit_xxs"]).train()
    again.load_state_dict(first.state_dict())
    x = pictures(4, SIZES["mobilevit_xxs"], seed=7)
    outputs = []
    for model in (first, again):
        model(x).square().mean().backward()
        model(x)
        outputs.append(model.eval()(x).detach())
    assert torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("name", SIZES)
def test_exported_files_compute_the_same(name: str, tmp_path: Path) -> None:
    size, model = SIZES[name], model_of(name)
    qat = prepare_qat(model, input_size=size)
    calibrate(qat, [pictures(8, size)])
    x = pictures(6, size, seed=3)
    export_float(model, tmp_path / "float.onnx", input_size=size)
    with torch.no_grad():
        np.testing.assert_allclose(
            run(tmp_path / "float.onnx", x.numpy(), "ALL"), model(x), rtol=1e-3, atol=1e-4
        )
    export_qdq(qat, tmp_path / "qdq.onnx", input_size=size)
    reference = predict(as_exported(qat, input_size=size), [x])
    found = run(tmp_path / "qdq.onnx", x.numpy(), "NONE")
    # roundings that fall the other way grow over two hundred tensors; a wrong scale would be far off
    signal = np.square(reference).mean()
    assert np.square(found - reference).mean() < 0.02 * signal
    post = quantize_onnx((tmp_path / "float.onnx").read_bytes(), [pictures(8, size).numpy()])
    (tmp_path / "ptq.onnx").write_bytes(post)
    ptq = run(tmp_path / "ptq.onnx", x.numpy(), "NONE")
    assert np.square(ptq - found).mean() < 0.05 * signal


def test_every_layer_of_mobilevit_runs_in_integers(qat: GraphModule, tmp_path: Path) -> None:
    path = tmp_path / "qdq.onnx"
    export_qdq(qat, path, input_size=SIZES["mobilevit_xxs"])
    found = kernels(path, tmp_path)
    assert found["QLinearConv"] == 35
    assert found["QLinearMatMul"] == 18
    assert found["QGemm"] + found.get("MatMulIntegerToFloat", 0) == 55 + 0
    assert not {"Conv", "Gemm", "MatMul"} & set(found)
