"""Fake quantizers in a model: where they are, when they move, and that a resumed run is the same run."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional
from torch_nets import SmallNet, TinyNet, lively, pictures

from edgecv.errors import InputError
from edgecv.models import create
from edgecv.quantize import annotate, calibrate, capture, freeze, placement_of, predict, prepare_qat
from edgecv.quantize.qat import quantizers_of
from edgecv.spec import INPUT_QUANT, activation_params, place

SIZE = (16, 16)
LABELS = torch.arange(8) % 10


def prepared(**options: object) -> GraphModule:
    qat = prepare_qat(lively(SmallNet(), SIZE), input_size=SIZE, **options)  # type: ignore[arg-type]
    calibrate(qat, [pictures(8, SIZE)])
    return qat


def ranges(qat: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in qat.state_dict().items() if k.startswith("quantizers.")}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def steps(qat: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    qat.train()
    for seed in seeds:
        loss = functional.cross_entropy(qat(pictures(8, SIZE, seed)), LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def momentum(qat: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(qat.parameters(), lr=0.01, momentum=0.9)


# placement


def test_quantizers_are_where_the_spec_places_them() -> None:
    model = SmallNet()
    qat = prepare_qat(model, input_size=SIZE)
    expected = place(annotate(capture(model, input_size=SIZE)))
    assert placement_of(qat) == expected
    assert list(expected.quantizers) == [
        "input",
        "act1",
        "layer1.act1",
        "layer1.bn2",
        "layer1.act2",
        "layer2.downsample.2",
        "layer2.act1",
        "layer2.bn2",
        "layer2.act2",
        "logits",
    ]
    assert expected.tensors["pool"] == "act1"
    assert expected.tensors["layer2.downsample.0"] == expected.tensors["layer1.act2"]
    assert list(quantizers_of(qat).activations()) == list(expected.quantizers)


def test_parameters_and_keys_are_there_at_once_and_the_float_keys_unchanged() -> None:
    model = SmallNet()
    before = copy.deepcopy(model.state_dict())
    qat = prepare_qat(model, input_size=SIZE)
    assert dict(qat.named_parameters()).keys() == dict(model.named_parameters()).keys()
    added = {k for k in qat.state_dict() if not k.startswith("quantizers.")} ^ set(before)
    assert not added
    assert "quantizers.layer1/act1.minimum" in qat.state_dict()
    calibrate(qat, [pictures(4, SIZE)])
    steps(qat, momentum(qat), range(1))
    assert qat.state_dict().keys() == prepare_qat(model, input_size=SIZE).state_dict().keys()
    assert same(model.state_dict(), before)


def test_eight_bit_fake_quantization_stays_near_the_float_model() -> None:
    model = lively(SmallNet(), SIZE)
    qat = prepare_qat(model, input_size=SIZE)
    x = pictures(8, SIZE)
    calibrate(qat, [x])
    reference, found = predict(model, [x]), predict(qat, [x])
    assert 0 < abs(found - reference).max() < 0.1 * abs(reference).max()


def test_the_input_quantizer_is_fixed_and_passes_eight_bit_pixels_unchanged() -> None:
    qat = prepared()
    quantizer = quantizers_of(qat).activations()["input"]
    assert quantizer.params() == INPUT_QUANT
    x = pictures(2, SIZE)
    torch.testing.assert_close(quantizer(x), x, rtol=1e-6, atol=1e-7)


def test_a_reused_quantizer_quantizes_but_does_not_observe() -> None:
    qat = prepared()
    targets = [n for n in qat.graph.nodes if n.target == "quantizers.layer1/act2"]
    assert [n.kwargs for n in targets] == [{}, {"observe": False}]
    quantizer = quantizers_of(qat).activations()["layer1.act2"].train()
    before = ranges(quantizer)
    quantizer(torch.full((2, 2), 1e3), observe=False)
    assert same(ranges(quantizer), before)


# ranges


def test_calibration_takes_the_global_minimum_and_maximum_of_the_float_model() -> None:
    model = lively(SmallNet(), SIZE)
    qat = prepare_qat(model, input_size=SIZE)
    batches = [pictures(4, SIZE, seed) for seed in range(3)]
    seen: list[Tensor] = []
    model.layer1.bn2.register_forward_hook(lambda module, args, out: seen.append(out.clone()))
    with torch.no_grad():
        for batch in batches:
            model.eval()(batch)
    assert calibrate(qat, batches) == 12
    found = quantizers_of(qat).activations()["layer1.bn2"]
    values = torch.cat(seen)
    torch.testing.assert_close(found.minimum[0], values.min(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.maximum[0], values.max(), rtol=1e-5, atol=1e-6)
    assert found.params() == activation_params(float(found.minimum), float(found.maximum))


def test_a_new_calibration_forgets_the_old_one_and_thaws_it() -> None:
    qat = prepared()
    freeze(qat, batch_norm=False)
    first = ranges(qat)
    calibrate(qat, [pictures(8, SIZE) * 0.1])
    assert not same(ranges(qat), first)
    calibrate(qat, [pictures(8, SIZE)])
    freeze(qat, batch_norm=False)
    assert same(ranges(qat), first)


def test_evaluation_never_changes_a_range() -> None:
    qat = prepared().eval()
    before = ranges(qat)
    for scale in (0.0, 1.0, 100.0):
        qat(pictures(4, SIZE, seed=7) * scale)
    assert same(ranges(qat), before)


def test_training_follows_the_range_slowly_and_freezing_stops_it() -> None:
    qat = prepared()
    quantizer = quantizers_of(qat).activations()["layer1.act1"]
    before = float(quantizer.maximum)
    qat.train()(pictures(8, SIZE) * 3)
    moved = float(quantizer.maximum)
    assert 0 < abs(moved - before) < 0.1 * before
    freeze(qat, batch_norm=False)
    qat.train()(pictures(8, SIZE) * 9)
    assert float(quantizer.maximum) == moved


def test_freezing_batch_norm_keeps_statistics_and_lets_gamma_learn() -> None:
    qat = prepared()
    freeze(qat, ranges=False)
    mean = qat.state_dict()["bn1.running_mean"].clone()
    gamma = qat.state_dict()["bn1.weight"].clone()
    steps(qat, momentum(qat), range(2))
    assert torch.equal(qat.state_dict()["bn1.running_mean"], mean)
    assert not torch.equal(qat.state_dict()["bn1.weight"], gamma)
    released = prepared()
    steps(released, momentum(released), range(2))
    assert not torch.equal(released.state_dict()["bn1.running_mean"], mean)


def test_without_calibration_evaluation_and_freezing_say_what_to_do() -> None:
    qat = prepare_qat(SmallNet(), input_size=SIZE)
    with pytest.raises(InputError, match=r"'act1' has no range yet.*calibrate"):
        qat.eval()(pictures(1, SIZE))
    with pytest.raises(InputError, match=r"has no range yet"):
        freeze(qat)


def test_training_may_start_without_calibration() -> None:
    qat = prepare_qat(SmallNet(), input_size=SIZE)
    steps(qat, momentum(qat), range(1))
    assert qat.eval()(pictures(1, SIZE)).isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(value: float) -> None:
    qat = prepare_qat(SmallNet(), input_size=SIZE)
    with pytest.raises(InputError, match=r"'act1'|'layer1.act1'"):
        calibrate(qat, [pictures(2, SIZE) * value])


def test_calibration_needs_pictures_of_the_right_shape() -> None:
    qat = prepare_qat(SmallNet(), input_size=SIZE)
    with pytest.raises(InputError, match="no pictures"):
        calibrate(qat, [])
    with pytest.raises(InputError, match=r"\[2, 16, 16, 3\]"):
        calibrate(qat, [torch.zeros(2, 16, 16, 3)])
    with pytest.raises(InputError, match="no quantizers"):
        calibrate(SmallNet(), [pictures(1, SIZE)])


def test_dropout_can_be_left_out() -> None:
    qat = prepare_qat(SmallNet(dropout=0.5), input_size=SIZE, dropout=False)
    assert [m.p for m in qat.modules() if isinstance(m, nn.Dropout)] == [0.0]
    qat = prepare_qat(SmallNet(dropout=0.5), input_size=SIZE)
    assert [m.p for m in qat.modules() if isinstance(m, nn.Dropout)] == [0.5]


def test_fewer_bits_are_coarser() -> None:
    model = lively(SmallNet(), SIZE)
    reference = predict(model, [pictures(8, SIZE)])
    errors = []
    for bits in (8, 5, 3):
        qat = prepare_qat(model, input_size=SIZE, bits=bits)
        calibrate(qat, [pictures(8, SIZE)])
        errors.append(abs(predict(qat, [pictures(8, SIZE)]) - reference).mean())
        values = quantizers_of(qat).activations()["act1"](torch.linspace(0, 6, 1000))
        assert len(values.unique()) <= 2**bits
    assert errors[0] < errors[1] < errors[2]
    with pytest.raises(InputError, match="bit width 1"):
        prepare_qat(model, input_size=SIZE, bits=1)


# state


@pytest.mark.parametrize("mode", ["tracking", "frozen ranges", "all frozen"])
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path: Path, mode: str) -> None:
    def start() -> GraphModule:
        qat = prepared()
        if mode != "tracking":
            freeze(qat, batch_norm=mode == "all frozen")
        return qat

    whole = start()
    optimizer = momentum(whole)
    steps(whole, optimizer, range(4))
    save_file(whole.state_dict(), tmp_path / "qat.safetensors")
    saved = copy.deepcopy(optimizer.state_dict())
    steps(whole, optimizer, range(4, 8))
    # another calibration and other weights: nothing of it may survive the loading
    resumed = prepare_qat(lively(SmallNet(), SIZE, seed=9), input_size=SIZE)
    resumed.load_state_dict(load_file(tmp_path / "qat.safetensors"))
    optimizer = momentum(resumed)
    optimizer.load_state_dict(saved)
    steps(resumed, optimizer, range(4, 8))
    assert same(resumed.state_dict(), whole.state_dict())
    assert torch.equal(resumed.eval()(pictures(4, SIZE, 99)), whole.eval()(pictures(4, SIZE, 99)))


def test_a_state_of_another_bit_width_is_refused() -> None:
    with pytest.raises(InputError, match="saved quantizers have 4 bits, the model has 8"):
        prepared().load_state_dict(prepared(bits=4).state_dict())


def test_a_deep_copy_is_a_run_of_its_own() -> None:
    qat = prepared()
    twin = copy.deepcopy(qat)
    assert same(twin.state_dict(), qat.state_dict())
    assert placement_of(twin) == placement_of(qat)
    freeze(twin)
    twin.train()
    qat.train()
    norm, own = twin.get_submodule("bn1"), qat.get_submodule("bn1")
    assert (norm.training, own.training) == (False, True)
    steps(twin, momentum(twin), range(2))
    assert not torch.equal(twin.get_parameter("fc.weight"), qat.get_parameter("fc.weight"))


def test_autocast_keeps_the_grid_in_float32() -> None:
    qat = prepared()
    x = pictures(8, SIZE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = qat.train()(x)
        functional.cross_entropy(logits, LABELS).backward()
    assert logits.dtype == torch.float32
    params = quantizers_of(qat).activations()["logits"].params()
    integers = logits / params.scale
    torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-3)
    assert all(p.grad.isfinite().all() for p in qat.parameters())


def _distributed(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    qat = prepared()
    parallel = nn.parallel.DistributedDataParallel(qat)
    optimizer = momentum(qat)
    for step in range(3):
        loss = functional.cross_entropy(
            parallel.train()(pictures(8, SIZE, 10 * step + rank)), LABELS
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(qat.state_dict(), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_data_parallel_training_keeps_the_parameters_equal(tmp_path: Path) -> None:
    mp.spawn(_distributed, args=(str(tmp_path),), nprocs=2)
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    parameters = [k for k, _ in SmallNet().named_parameters()]
    assert all(torch.equal(states[0][k], states[1][k]) for k in parameters)
    start = prepared().state_dict()
    assert not torch.equal(states[0]["conv1.weight"], start["conv1.weight"])


def test_gamma_of_zero_trains_quantized_without_nan() -> None:
    qat = prepare_qat(create("resnet10_micro", num_classes=10).module, input_size=(32, 32))
    calibrate(qat, [pictures(4, (32, 32))])
    qat.train()
    loss = functional.cross_entropy(qat(pictures(8, (32, 32))), LABELS)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in qat.parameters())


def test_predict_takes_arrays_and_tensors_and_restores_the_mode() -> None:
    model = TinyNet().train()
    x = pictures(5, SIZE)
    found = predict(model, [x[:2], x[2:].numpy()])
    assert model.training
    assert found.dtype == "float32"
    assert found.shape == (5, 4)
    torch.testing.assert_close(torch.as_tensor(found), model.eval()(x).detach())
    with pytest.raises(InputError, match="no pictures"):
        predict(model, [])


class Sum(nn.Module):
    """Adds in its own forward: the tensor is called ``add``."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, 2, 1)
        self.right = nn.Conv2d(3, 4, 3, 2, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.left(x) + self.right(x)).flatten(1))


def test_a_tensor_may_be_called_add() -> None:
    qat = prepare_qat(Sum(), input_size=SIZE)
    assert "add" in quantizers_of(qat).activations()
