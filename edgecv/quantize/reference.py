"""The trained model itself as the reference that every engine is compared with."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.fx import GraphModule

from edgecv.errors import InputError
from edgecv.quantize.lower import float_graph, quantized_weights, set_folded_biases
from edgecv.quantize.qat import as_tensor, placement_of, quantizers_of
from edgecv.spec import bias_params

__all__ = ["as_exported", "predict"]


def predict(model: nn.Module, batches: Iterable[Any]) -> npt.NDArray[np.float32]:
    """Logits of *model* in evaluation mode, float32 [pictures, classes].

    Args:
        model: A float model or what :func:`~edgecv.quantize.prepare_qat` returned.
        batches: Arrays or tensors [N, 3, H, W] float32 in [0, 1].

    Raises:
        InputError: There is no picture.
    """
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.inference_mode():
            found = [model(as_tensor(batch).to(device)).float().cpu().numpy() for batch in batches]
    finally:
        model.train(training)
    if not found:
        raise InputError("no pictures to predict", cure="Give at least one batch.")
    return np.concatenate(found)


def as_exported(qat: GraphModule, *, input_size: tuple[int, int]) -> GraphModule:
    """A copy of a prepared model whose biases lie on the int32 grid of the exported file.

    Training keeps biases in float; the file stores them with scale s_in * s_w (TFLite 8-bit
    quantization specification). Without this, the rounding of the biases makes up most of the
    difference between torch and every engine: a mean of 0.6 output steps instead of 0.1 was
    measured on the demo's model.

    Args:
        qat: From :func:`~edgecv.quantize.prepare_qat`, with ranges; it is not changed.
        input_size: (H, W) in pixels.

    Raises:
        InputError: The model has no ranges yet.
        UnsupportedError: A bias that does not fit the accumulator.
    """
    exact = copy.deepcopy(qat).eval()
    quantizers = quantizers_of(exact)
    params = {name: module.params() for name, module in quantizers.activations().items()}
    carried_by = placement_of(exact).tensors
    with quantizers.disabled():
        operators = float_graph(exact, input_size).operators
    weights = quantized_weights(exact)
    biases = {}
    for operator in operators:
        if operator.constants is None:
            continue
        name = operator.constants.weight
        weight, scale = weights[name], params[carried_by[operator.inputs[0]]].scale
        steps, step, _ = bias_params(weight.bias, scale, weight.scale, weight.integers, name)
        biases[name] = steps.astype(np.float64) * step.astype(np.float64)
    set_folded_biases(exact, biases)
    return exact
