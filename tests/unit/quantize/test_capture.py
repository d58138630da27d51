"""Capture: the graph computes what the module computes, trains like it, and says what it cannot take."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_nets import Block, SmallNet, TinyNet, lively, pictures

from edgecv.errors import InputError, UnsupportedError
from edgecv.models import create
from edgecv.quantize import annotate, capture

SIZE = (24, 20)


def names(model: nn.Module) -> list[str]:
    return [node.output for node in annotate(capture(model, input_size=SIZE))]


@pytest.mark.parametrize("training", [True, False])
def test_graph_equals_module_in_both_modes(training: bool) -> None:
    model = lively(SmallNet(), SIZE).train(training)
    captured = capture(model, input_size=SIZE)
    assert captured.training is training
    x = pictures(5, SIZE)
    torch.testing.assert_close(captured(x), model(x), rtol=0, atol=0)
    for key, value in model.state_dict().items():
        assert torch.equal(captured.state_dict()[key], value), key


def test_state_dict_keys_are_those_of_the_module_and_the_module_stays_as_it_was() -> None:
    model = SmallNet()
    before = copy.deepcopy(model.state_dict())
    captured = capture(model, input_size=SIZE)
    assert set(captured.state_dict()) == set(before)
    captured.train()(pictures(4, SIZE))
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
    counter = captured.state_dict()["bn1.num_batches_tracked"]
    assert int(counter) == 1


def test_another_batch_and_picture_size_run_too() -> None:
    captured = capture(SmallNet().eval(), input_size=SIZE)
    assert captured(pictures(1, SIZE)).shape == (1, 10)
    assert captured(pictures(3, (32, 28))).shape == (3, 10)


def test_batch_norm_keeps_eps_and_momentum() -> None:
    model = TinyNet()
    model.bn1.eps, model.bn1.momentum = 1e-2, 0.5
    captured = capture(model, input_size=SIZE)
    norm = captured.get_submodule("bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.eps, norm.momentum) == (1e-2, 0.5)
    model.train()
    captured.train()
    x = pictures(4, SIZE)
    torch.testing.assert_close(captured(x), model(x), rtol=0, atol=0)
    assert torch.equal(norm.running_mean, model.bn1.running_mean)


def test_dropout_keeps_its_probability_through_eval_and_train() -> None:
    captured = capture(SmallNet(dropout=0.25), input_size=SIZE)
    x = pictures(4, SIZE)
    assert torch.equal(captured.eval()(x), captured(x))
    captured.train()
    drop = captured.get_submodule("drop")
    assert isinstance(drop, nn.Dropout)
    assert drop.p == 0.25
    assert not torch.equal(captured(x), captured(x))


def test_functional_dropout_gets_a_module_of_its_own() -> None:
    class Model(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            x = functional.dropout(self.act1(self.conv1(x)), 0.5, self.training)
            return self.head(x)

    captured = capture(Model(), input_size=SIZE)
    drop = captured.get_submodule("dropout")
    assert isinstance(drop, nn.Dropout)
    assert drop.p == 0.5
    assert set(captured.state_dict()) <= set(Model().state_dict())


def test_gamma_of_zero_trains_without_nan() -> None:
    model = create("resnet10_micro", num_classes=3).module.train()
    captured = capture(model, input_size=(32, 32))
    loss = captured(pictures(4, (32, 32))).square().mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in captured.parameters())


def test_deep_copies_are_independent() -> None:
    captured = capture(TinyNet(), input_size=SIZE)
    twin = copy.deepcopy(captured)
    with torch.no_grad():
        twin.get_parameter("conv1.weight").zero_()
    assert captured.get_parameter("conv1.weight").abs().sum() > 0
    assert [n.output for n in annotate(twin)] == [n.output for n in annotate(captured)]


# names


def test_tensors_are_named_after_modules_and_functional_operators() -> None:
    assert names(SmallNet()) == [
        "input",
        *("conv1", "bn1", "act1", "pool"),
        *(f"layer1.{n}" for n in ("conv1", "bn1", "act1", "conv2", "bn2", "add", "act2")),
        *(f"layer2.{n}" for n in ("downsample.0", "downsample.1", "downsample.2")),
        *(f"layer2.{n}" for n in ("conv1", "bn1", "act1", "conv2", "bn2", "add", "act2")),
        *("avg_pool", "flatten", "logits"),
    ]


def test_a_module_used_twice_is_numbered_from_its_second_use() -> None:
    class Model(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            x = self.act1(self.bn1(self.conv1(x)))
            return self.head(self.act1(x + x))

    nodes = annotate(capture(Model(), input_size=SIZE))
    assert [n.output for n in nodes][3:6] == ["act1", "add", "act1_1"]
    assert nodes[4].inputs == ("act1", "act1")


def test_the_names_of_the_ends_are_taken() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input = nn.Conv2d(3, 4, 3)
            self.logits = nn.ReLU()
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.logits(self.input(x)))

    assert names(Model()) == ["input", "input_1", "logits_1", "head.0", "head.1", "logits"]


def test_timm_names_follow_its_modules() -> None:
    found = names(create("mobilenetv2_100", num_classes=4).module)
    assert found[:4] == ["input", "conv_stem", "bn1", "bn1.act"]
    assert "blocks.1.1.add" in found
    assert found[-3:] == ["global_pool.pool", "global_pool.flatten", "logits"]


# spellings


class Spelled(nn.Module):
    """A model whose middle is given."""

    def __init__(self, middle: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.fc = nn.Linear(4, 2)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.middle(self.conv(x)))  # type: ignore[operator]


def pooled(x: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(x, 1).flatten(1)


@pytest.mark.parametrize(
    ("middle", "kinds"),
    [
        (lambda x: x.mean((2, 3)), ["avg_pool", "reshape"]),
        (lambda x: x.mean([-1, -2], keepdim=True).flatten(1), ["avg_pool", "reshape"]),
        (lambda x: functional.adaptive_avg_pool2d(x, (1, 1)).view(-1, 4), ["avg_pool", "reshape"]),
        (lambda x: pooled(x).contiguous(), ["avg_pool", "reshape"]),
        (lambda x: pooled(functional.relu6(x)), ["relu6", "avg_pool", "reshape"]),
        (lambda x: pooled(x.clamp(0, 6)), ["relu6", "avg_pool", "reshape"]),
        (lambda x: pooled(functional.hardtanh(x, 0, 6)), ["relu6", "avg_pool", "reshape"]),
        (lambda x: pooled(x.clamp(min=0)), ["relu", "avg_pool", "reshape"]),
        (lambda x: pooled(functional.max_pool2d(x, 2)), ["max_pool", "avg_pool", "reshape"]),
        (lambda x: pooled(functional.avg_pool2d(x, 3, 2, 1)), ["avg_pool"] * 2 + ["reshape"]),
        (lambda x: x[:, :, 0, 0], None),
    ],
)
def test_spellings_of_one_operator_are_one_kind(middle: object, kinds: list[str] | None) -> None:
    model = Spelled(middle).eval()
    if kinds is None:
        with pytest.raises(UnsupportedError, match=r"aten\.select"):
            capture(model, input_size=SIZE)
        return
    captured = capture(model, input_size=SIZE)
    assert [n.kind for n in annotate(captured)] == ["input", "conv", *kinds, "linear"]
    x = pictures(3, SIZE)
    torch.testing.assert_close(captured(x), model(x), rtol=1e-6, atol=1e-6)


def test_who_reads_a_tensor_after_it_was_overwritten_reads_the_new_one() -> None:
    def middle(x: Tensor) -> Tensor:
        functional.relu(x, inplace=True)
        return pooled(x + x)

    model = Spelled(middle).eval()
    x = pictures(3, SIZE)
    expected = model(x)
    captured = capture(model, input_size=SIZE)
    torch.testing.assert_close(captured(x), expected, rtol=0, atol=0)
    add = next(n for n in annotate(captured) if n.kind == "add")
    assert add.inputs == ("relu", "relu")


# refusals


def test_every_unsupported_operator_is_listed_with_its_module() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block(3, 4)
            self.gate = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sigmoid())
            self.act = nn.GELU()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.block(x)
            return self.fc(pooled(self.act(torch.tanh(x) * 2.0 + self.gate(x))))

    with pytest.raises(UnsupportedError) as caught:
        capture(Model(), input_size=SIZE)
    message = str(caught.value)
    assert "3 operators" in message
    for part in ("(model): aten.tanh", "(model): aten.mul", "act: aten.gelu"):
        assert part in message


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (lambda x: pooled(functional.hardtanh(x)), r"limits \[-1\.0, 1\.0\]"),
        (lambda x: pooled(functional.adaptive_avg_pool2d(x, 2)), r"output size \(2, 2\)"),
        (lambda x: pooled(x.mean(3, keepdim=True)), r"mean over dimensions \[3\]"),
        (lambda x: pooled(x + 1), "an addend is a constant"),
        (lambda x: pooled(torch.add(x, x, alpha=2)), "constant or scaled"),
        (lambda x: pooled(x + x[:, :, :1]), r"shapes \[N, 4, 12, 10\] and \[N, 4, 1, 10\]"),
        (lambda x: pooled(functional.avg_pool2d(x, 2, divisor_override=3)), "divisor_override"),
        (
            lambda x: pooled(x.flatten(2).unflatten(2, (12, 10))),
            r"\[N, 4, 12, 10\] to \[N, 4, 120\]",
        ),
        (lambda x: pooled(x * 2), "a factor is a constant"),
        (lambda x: pooled(x.softmax(1)), "over dimension 1 of 4"),
        (lambda x: pooled(torch.cat([x, x], 0)), "along the batch"),
    ],
)
def test_spellings_that_cannot_be_taken_say_why(middle: object, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        capture(Spelled(middle), input_size=SIZE)


def test_batch_norm_without_a_convolution_of_its_own_is_refused() -> None:
    class Model(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            x = self.conv1(x)
            return self.head(self.act1(self.bn1(x)) + x)

    with pytest.raises(UnsupportedError, match=r"bn1: batch_norm \(not behind a convolution"):
        capture(Model(), input_size=SIZE)


def test_a_weight_used_twice_is_refused() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(pooled(self.conv(self.conv(x))))

    with pytest.raises(UnsupportedError, match=r"conv: conv \(its weight is used twice\)"):
        capture(Model(), input_size=SIZE)


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="a tensor of 4 dimensions"):
        capture(nn.Sequential(nn.Conv2d(3, 4, 1)), input_size=SIZE)

    class TwoHeads(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            found = super().forward(x)
            return found, found  # type: ignore[return-value]

    with pytest.raises(UnsupportedError, match="2 outputs"):
        capture(TwoHeads(), input_size=SIZE)


def test_what_cannot_be_traced_is_one_error_with_the_reason_behind_it() -> None:
    class Deciding(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(UnsupportedError, match="cannot trace Deciding at 24x20") as caught:
        capture(Deciding(), input_size=SIZE)
    assert caught.value.__cause__ is not None


def test_an_input_size_that_is_not_positive_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(0, 20\)"):
        capture(TinyNet(), input_size=(0, 20))
