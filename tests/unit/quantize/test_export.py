"""Exported files: the learned numbers bit for bit, the fixed form, and engines that agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx_reading import constants, kernels, run
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional
from torch_nets import SmallNet, TinyNet, lively, pictures

from edgecv.errors import InputError, UnsupportedError
from edgecv.models import create
from edgecv.quantize import (
    as_exported,
    calibrate,
    export_float,
    export_qdq,
    placement_of,
    predict,
    prepare_qat,
)
from edgecv.quantize.qat import quantizers_of
from edgecv.spec import fold_batch_norm, quantize_weight, weight_scales

SIZE = (16, 20)


def prepared(model: nn.Module, count: int = 16) -> GraphModule:
    qat = prepare_qat(model, input_size=SIZE)
    calibrate(qat, [pictures(count, SIZE)])
    return qat


@pytest.fixture(scope="module")
def qat() -> GraphModule:
    return prepared(lively(SmallNet(), SIZE))


@pytest.fixture(scope="module")
def exported(qat: GraphModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.qdq.onnx"
    export_qdq(qat, path, input_size=SIZE)
    return path


# the numbers


def test_scales_and_zero_points_are_the_learned_ones_bit_for_bit(
    qat: GraphModule, exported: Path
) -> None:
    found = constants(exported)
    for name, quantizer in quantizers_of(qat).activations().items():
        params = quantizer.params()
        scale, zero = found[f"{name}/scale"], found[f"{name}/zero_point"]
        assert (scale.shape, zero.shape) == ((), ())
        assert (scale.dtype, zero.dtype) == (np.float32, np.uint8)
        assert float(scale) == params.scale
        assert int(zero) - 128 == params.zero_point
    activations = {n for n in found if found[n].shape == () and n.endswith("/scale")}
    assert activations == {f"{n}/scale" for n in placement_of(qat).quantizers}


def test_weights_are_the_training_integers_with_batch_norm_in_their_scales(
    qat: GraphModule, exported: Path
) -> None:
    found, state = constants(exported), {k: v.numpy() for k, v in qat.state_dict().items()}
    for conv, norm in (("conv1", "bn1"), ("layer1.conv2", "layer1.bn2")):
        weight = state[f"{conv}.weight"]
        scale = weight_scales(weight)
        integers = quantize_weight(weight, scale)
        gamma = state[f"{norm}.weight"]
        assert gamma[0] == 0 > gamma[1]
        written = found[f"{conv}.weight/int"]
        assert written.dtype == np.int8
        assert not written[0].any()
        assert np.array_equal(written[1], -integers[1])
        assert np.array_equal(written[gamma > 0], integers[gamma > 0])
        sigma = np.sqrt(state[f"{norm}.running_var"].astype(np.float64) + 1e-5)
        expected = scale * np.abs(gamma / sigma)
        alive = gamma != 0
        np.testing.assert_allclose(found[f"{conv}.weight/scale"][alive], expected[alive], rtol=1e-6)
        assert not found[f"{conv}.weight/zero_point"].any()


def test_biases_are_int32_on_the_grid_of_input_times_weight(
    qat: GraphModule, exported: Path
) -> None:
    found, state = constants(exported), {k: v.numpy() for k, v in qat.state_dict().items()}
    weight = state["layer1.conv1.weight"]
    _, _, bias = fold_batch_norm(
        weight_scales(weight),
        quantize_weight(weight, weight_scales(weight)),
        np.zeros(len(weight)),
        state["layer1.bn1.weight"],
        state["layer1.bn1.bias"],
        state["layer1.bn1.running_mean"],
        state["layer1.bn1.running_var"],
        1e-5,
    )
    name = "layer1.conv1.bias"
    assert found[f"{name}/int"].dtype == np.int32
    grid = found["act1/scale"].astype(np.float64) * found["layer1.conv1.weight/scale"]
    assert np.array_equal(found[f"{name}/scale"], grid.astype(np.float32))
    written = found[f"{name}/int"] * found[f"{name}/scale"].astype(np.float64)
    assert (np.abs(written - bias) <= 0.51 * found[f"{name}/scale"]).all()


# the form


def test_the_qdq_file_has_the_fixed_form(exported: Path) -> None:
    model = onnx.load(exported)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    shapes = [
        (v.name, [d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [("input", [1, 3, *SIZE]), ("logits", [1, 10])]
    nodes = {n.output[0]: n for n in model.graph.node}
    chain = ["act1", "act1/int", "act1/float", "bn1"]
    assert [nodes[n].op_type for n in chain] == [
        "DequantizeLinear",
        "QuantizeLinear",
        "Clip",
        "Conv",
    ]
    assert list(nodes["bn1"].input) == ["input/dq", "conv1.weight", "conv1.bias"]
    assert list(nodes["pool/float"].input) == ["act1"]
    assert list(nodes["pool/int"].input) == ["pool/float", "act1/scale", "act1/zero_point"]
    assert nodes["logits"].op_type == "DequantizeLinear"
    gemm = nodes["logits/float"]
    assert gemm.op_type == "Gemm"
    assert not gemm.attribute
    found = constants(exported)
    assert found["fc.weight/int"].shape == (24, 10)
    axes = {n.output[0]: a.i for n in model.graph.node for a in n.attribute if a.name == "axis"}
    assert (axes["fc.weight"], axes["conv1.weight"], axes["fc.bias"]) == (1, 0, 0)


def test_the_float_file_carries_the_same_names(tmp_path: Path) -> None:
    path = tmp_path / "model.float.onnx"
    model = lively(SmallNet(), SIZE)
    export_float(model, path, input_size=SIZE)
    graph = onnx.load(path).graph
    outputs = [n.output[0] for n in graph.node]
    assert outputs[:4] == ["bn1", "act1", "pool", "layer1.bn1"]
    assert outputs[-3:] == ["avg_pool", "flatten", "logits"]
    assert not {n.op_type for n in graph.node} & {"BatchNormalization", "QuantizeLinear"}
    found = constants(path)
    assert found["conv1.bias"].shape == (12,)
    x = pictures(6, SIZE)
    np.testing.assert_allclose(run(path, x.numpy()), predict(model, [x]), rtol=1e-4, atol=1e-5)


def test_the_same_model_gives_the_same_bytes(qat: GraphModule, exported: Path) -> None:
    again = exported.with_name("again.onnx")
    export_qdq(qat, again, input_size=SIZE)
    assert again.read_bytes() == exported.read_bytes()


def test_exporting_changes_nothing_in_the_model(qat: GraphModule, tmp_path: Path) -> None:
    before = {k: v.clone() for k, v in qat.state_dict().items()}
    qat.train()
    export_qdq(qat, tmp_path / "x.onnx", input_size=SIZE)
    assert qat.training
    assert all(torch.equal(qat.state_dict()[k], v) for k, v in before.items())
    qat.eval()


# the engine


@pytest.mark.parametrize("level", ["NONE", "ALL"])
def test_onnxruntime_agrees_within_one_output_step(level: str, tmp_path: Path) -> None:
    qat = prepared(lively(TinyNet(), SIZE))
    path = tmp_path / "tiny.onnx"
    export_qdq(qat, path, input_size=SIZE)
    x = pictures(32, SIZE, seed=3)
    step = quantizers_of(qat).activations()["logits"].params().scale
    reference = predict(as_exported(qat, input_size=SIZE), [x])
    difference = np.abs(run(path, x.numpy(), level) - reference) / step
    assert difference.max() <= 1.01
    # a wrong scale or fold would move most of the outputs
    assert difference.mean() < 0.1


@pytest.mark.parametrize("level", ["NONE", "ALL"])
def test_onnxruntime_agrees_on_every_operator(level: str, qat: GraphModule, exported: Path) -> None:
    x = pictures(16, SIZE, seed=3)
    step = quantizers_of(qat).activations()["logits"].params().scale
    reference = predict(as_exported(qat, input_size=SIZE), [x])
    difference = np.abs(run(exported, x.numpy(), level) - reference) / step
    assert difference.max() <= 2.01
    assert difference.mean() < 0.5


def test_every_operator_of_resnet18_runs_in_integers(tmp_path: Path) -> None:
    size = (32, 32)
    model = lively(create("resnet18", num_classes=10).module, size)
    qat = prepare_qat(model, input_size=size)
    calibrate(qat, [pictures(4, size)])
    export_qdq(qat, tmp_path / "resnet18.onnx", input_size=size)
    found = kernels(tmp_path / "resnet18.onnx", tmp_path)
    assert found["QLinearConv"] == 20
    assert found["QLinearAdd"] == 8
    assert found["QGemm"] == found["QLinearGlobalAveragePool"] == 1
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1
    assert not {"Conv", "Add", "Gemm", "Relu", "MaxPool"} & set(found)


# pools


class Pooled(nn.Module):
    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = pool
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc(
            functional.adaptive_avg_pool2d(self.pool(self.conv(x)), 1).flatten(1)
        )
        return found


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d(3, 1, 1, dilation=2),
        nn.AvgPool2d(2),
        nn.AvgPool2d(2, 2, ceil_mode=True),
        nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d((1, 3), (1, 2)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("size", [(13, 11), (12, 10)])
def test_pools_mean_the_same_in_the_file(
    pool: nn.Module, size: tuple[int, int], tmp_path: Path
) -> None:
    model = Pooled(pool).eval()
    export_float(model, tmp_path / "x.onnx", input_size=size)
    x = pictures(3, size)
    found = run(tmp_path / "x.onnx", x.numpy())
    np.testing.assert_allclose(found, predict(model, [x]), rtol=1e-5, atol=1e-6)


def test_a_pool_that_onnx_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    model = Pooled(nn.AvgPool2d(3, 2, 1, ceil_mode=True))
    with pytest.raises(UnsupportedError, match="'pool' counts its padding"):
        export_float(model, tmp_path / "x.onnx", input_size=(12, 12))
    assert not list(tmp_path.iterdir())


# refusals


def test_fewer_bits_are_not_exported(tmp_path: Path) -> None:
    qat = prepare_qat(TinyNet(), input_size=SIZE, bits=4)
    calibrate(qat, [pictures(2, SIZE)])
    with pytest.raises(UnsupportedError, match="4 bits"):
        export_qdq(qat, tmp_path / "x.onnx", input_size=SIZE)
    assert not list(tmp_path.iterdir())


def test_what_was_not_prepared_or_calibrated_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    with pytest.raises(InputError, match="no quantizers"):
        export_qdq(TinyNet(), path, input_size=SIZE)
    with pytest.raises(InputError, match="no range yet"):
        export_qdq(prepare_qat(TinyNet(), input_size=SIZE), path, input_size=SIZE)
    with pytest.raises(InputError, match="absent"):
        export_float(TinyNet(), tmp_path / "absent" / "x.onnx", input_size=SIZE)
    assert not list(tmp_path.iterdir())


def test_a_size_that_the_model_cannot_run_at_is_refused(tmp_path: Path) -> None:
    class Fixed(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(self.act1(self.conv1(x)).flatten(1), self.weight)

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(4, 8 * 8 * 10))

    qat = prepared(Fixed())
    with pytest.raises(InputError, match=r"does not run at input size \(24, 24\)"):
        export_qdq(qat, tmp_path / "x.onnx", input_size=(24, 24))


def test_nearly_dead_channels_are_exported(tmp_path: Path) -> None:
    model = lively(TinyNet(), SIZE)
    with torch.no_grad():
        model.get_parameter("bn1.weight")[2] = 1e-6
        model.get_parameter("bn1.bias")[2] = 3.0
        model.get_parameter("bn1.weight")[3] = -1e-12
        model.get_parameter("bn1.bias")[3] = -3.0
    qat = prepared(model)
    export_qdq(qat, tmp_path / "x.onnx", input_size=SIZE)
    x = pictures(8, SIZE, seed=5)
    step = quantizers_of(qat).activations()["logits"].params().scale
    assert np.abs(run(tmp_path / "x.onnx", x.numpy()) - predict(qat, [x])).max() <= 1.001 * step
