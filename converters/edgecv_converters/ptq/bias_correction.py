"""Bias correction: what rounding the weights adds to the mean of each output channel is taken off its bias.

The error of a rounded weight is fixed, and inputs behind a ReLU or a SiLU have a mean, so that each output
channel is off by error * mean(input) on average. Source: Nagel et al., Data-Free Quantization Through
Weight Equalization and Bias Correction (2019), section 4.2, with means measured on calibration pictures.
Padding is not looked at: the mean of the input stands for the border too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.qdq import FloatGraph, Operator, QuantizedWeight

__all__ = ["correct_biases"]

Array = npt.NDArray[Any]


def correct_biases(
    graph: FloatGraph, weights: Mapping[str, QuantizedWeight], means: Mapping[str, Array]
) -> dict[str, QuantizedWeight]:
    """Weights with corrected biases.

    Args:
        graph: The float model.
        weights: Its quantized weights.
        means: Name of a tensor that a weighted operator reads → mean of each channel, float64 [C].
    """
    corrected = dict(weights)
    for operator in graph.operators:
        if operator.constants is None or operator.inputs[0] not in means:
            continue
        name = operator.constants.weight
        shift = _mean_shift(operator, graph.weights[name].values, weights[name], means)
        corrected[name] = replace(weights[name], bias=weights[name].bias - shift)
    return corrected


def _mean_shift(
    operator: Operator, exact: Array, rounded: QuantizedWeight, means: Mapping[str, Array]
) -> Array:
    """float64 [C]: mean output of the rounded minus the exact weights."""
    channels = len(exact)
    scale = rounded.scale.astype(np.float64).reshape(-1, *[1] * (exact.ndim - 1))
    error = rounded.integers * scale - exact.astype(np.float64)
    per_input = error.reshape(channels, exact.shape[1], -1).sum(axis=2)
    groups = operator.attributes.get("group", 1)
    assert isinstance(groups, int)
    # row g: the input channels that the outputs of group g read
    inputs = means[operator.inputs[0]].reshape(groups, -1)
    group_of = np.repeat(np.arange(groups), channels // groups)
    shift: Array = (per_input * inputs[group_of]).sum(axis=1)
    return shift
