"""Bias correction takes the mean error of rounded weights away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_reading import run
from torch import nn
from torch_nets import SmallNet, lively, pictures

from edgecv.qdq import FloatGraph, FloatWeight, Operator, WeightNames, quantize_weights
from edgecv.quantize import export_float
from edgecv_converters.ptq import quantize_onnx
from edgecv_converters.ptq.bias_correction import correct_biases

SIZE = (16, 20)


def graph_of(kind: str, values: np.ndarray, group: int = 1) -> FloatGraph:
    names = WeightNames("layer.weight", "layer.bias")
    operator = Operator("logits", kind, ("input",), {"group": group}, names)
    bias = np.linspace(-1, 1, len(values)).astype(np.float32)
    weight = FloatWeight(values.astype(np.float32), bias)
    return FloatGraph((operator,), {"layer.weight": weight}, (4, 4), len(values))


@pytest.mark.parametrize(
    ("kind", "shape", "group", "channels"),
    [("conv", (6, 4, 1, 1), 1, 4), ("conv", (6, 2, 1, 1), 3, 6), ("linear", (5, 7), 1, 7)],
)  # fmt: skip
def test_the_mean_of_every_channel_is_exact_without_padding(
    kind: str, shape: tuple[int, ...], group: int, channels: int
) -> None:
    rng = np.random.default_rng(0)
    graph = graph_of(kind, rng.normal(0, 1, shape), group)
    weights = quantize_weights(graph.weights)
    means = rng.uniform(0, 3, channels)
    corrected = correct_biases(graph, weights, {"input": means})["layer.weight"]
    exact = graph.weights["layer.weight"]

    def mean_output(values: np.ndarray, bias: np.ndarray) -> np.ndarray:
        rows = values.reshape(len(values), -1)
        per_group = len(values) // group
        inputs = np.stack([means.reshape(group, -1)[c // per_group] for c in range(len(values))])
        return (rows * inputs).sum(axis=1) + bias

    scale = corrected.scale.astype(np.float64).reshape(-1, *[1] * (len(shape) - 1))
    rounded = corrected.integers * scale
    wanted = mean_output(exact.values.astype(np.float64), exact.bias.astype(np.float64))
    np.testing.assert_allclose(mean_output(rounded, corrected.bias), wanted, atol=1e-9)
    assert np.abs(mean_output(rounded, weights["layer.weight"].bias) - wanted).max() > 1e-4


def test_a_kernel_counts_with_all_its_taps() -> None:
    rng = np.random.default_rng(1)
    graph = graph_of("conv", rng.normal(0, 1, (3, 2, 3, 3)))
    weights = quantize_weights(graph.weights)
    means = np.array([0.5, 2.0])
    corrected = correct_biases(graph, weights, {"input": means})["layer.weight"]
    weight = weights["layer.weight"]
    error = weight.integers * weight.scale.astype(np.float64).reshape(-1, 1, 1, 1)
    error = error - graph.weights["layer.weight"].values
    expected = (error.sum(axis=(2, 3)) * means).sum(axis=1)
    np.testing.assert_allclose(weight.bias - corrected.bias, expected, atol=1e-12)


def test_what_was_not_measured_stays() -> None:
    graph = graph_of("linear", np.eye(3))
    weights = quantize_weights(graph.weights)
    assert correct_biases(graph, weights, {}) == weights


def test_it_brings_logits_closer_on_average(tmp_path: Path) -> None:
    better = 0
    for seed in range(6):
        model: nn.Module = lively(SmallNet(), SIZE, seed=seed)
        export_float(model, tmp_path / "float.onnx", input_size=SIZE)
        source = (tmp_path / "float.onnx").read_bytes()
        x = pictures(48, SIZE, seed=100 + seed).numpy()
        exact = run(tmp_path / "float.onnx", x, "ALL").mean(axis=0)
        errors = []
        for correction in (True, False):
            file = quantize_onnx(
                source, [pictures(48, SIZE, seed=seed).numpy()], bias_correction=correction
            )
            (tmp_path / "qdq.onnx").write_bytes(file)
            errors.append(np.abs(run(tmp_path / "qdq.onnx", x, "ALL").mean(axis=0) - exact).mean())
        better += errors[0] < errors[1]
    assert better >= 4
