"""Quantization-aware training is seen to work: it wins back what few bits cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_nets import SmallNet, digits, fit

from edgecv.quantize import calibrate, cut_gradient, freeze, predict, prepare_qat

BITS = 3


def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    return float((predict(model, [data[0]]).argmax(1) == data[1].numpy()).mean())


@pytest.fixture(scope="module")
def scores() -> dict[str, float]:
    """Test accuracy of the float model, of its 3-bit form, and of that after training, both ways."""
    drawn, labels, *test = digits()
    torch.manual_seed(0)
    model = SmallNet()
    fit(model, (drawn, labels), epochs=8, rate=1e-2)
    found = {"float": accuracy(model, (test[0], test[1]))}
    for way in ("qat", "gradient cut"):
        qat = prepare_qat(model, input_size=(16, 16), bits=BITS)
        calibrate(qat, [drawn[:512]])
        found["ptq"] = accuracy(qat, (test[0], test[1]))
        # frozen from the start, or new BatchNorm statistics alone would win something back
        freeze(qat)
        if way == "qat":
            fit(qat, (drawn, labels), epochs=6, rate=4e-3)
        else:
            with cut_gradient():
                fit(qat, (drawn, labels), epochs=6, rate=4e-3)
        found[way] = accuracy(qat, (test[0], test[1]))
    return found


def wins_back_half(scores: dict[str, float], way: str) -> bool:
    return scores[way] - scores["ptq"] >= 0.5 * (scores["float"] - scores["ptq"])


def test_few_bits_cost_at_least_eight_points(scores: dict[str, float]) -> None:
    assert scores["float"] > 0.95
    assert scores["float"] - scores["ptq"] >= 0.08


def test_training_wins_back_at_least_half(scores: dict[str, float]) -> None:
    assert wins_back_half(scores, "qat"), scores


def test_without_the_gradient_of_the_quantizers_it_does_not(scores: dict[str, float]) -> None:
    assert not wins_back_half(scores, "gradient cut"), scores
