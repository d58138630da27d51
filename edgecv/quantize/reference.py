"""The trained model itself as the reference that every engine is compared with."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgecv.errors import InputError
from edgecv.quantize.lower import float_graph, quantized_weights, set_exact_constants
from edgecv.quantize.naming import quantizer_key
from edgecv.quantize.qat import as_tensor, placement_of, quantizers_of
from edgecv.spec import QuantParams, bias_params, make_room_for_bias

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
    like = next(model.parameters())
    model.eval()
    try:
        with torch.inference_mode():
            found = [model(as_tensor(batch).to(like)).float().cpu().numpy() for batch in batches]
    finally:
        model.train(training)
    if not found:
        raise InputError("no pictures to predict", cure="Give at least one batch.")
    return np.concatenate(found)


def as_exported(qat: GraphModule, *, input_size: tuple[int, int]) -> GraphModule:
    """A copy of a prepared model that computes what the exported file says, in float64.

    Weights, scales and int32 biases are the file's, BatchNorm folded in, and sums are exact. In float32
    some tensors round the other way, and later layers multiply it: over 600 test pictures of the demo
    the trained model is 0.6 output steps from ONNX Runtime in the mean and 6 at most, this copy 0 and 0.

    Args:
        qat: From :func:`~edgecv.quantize.prepare_qat`, with ranges; it is not changed.
        input_size: (H, W) in pixels.

    Raises:
        InputError: The model has no ranges yet.
    """
    exact = copy.deepcopy(qat).eval()
    quantizers = quantizers_of(exact)
    activations = quantizers.activations()
    params = {name: module.params() for name, module in activations.items()}
    carried_by = placement_of(exact).tensors
    device = next(exact.parameters()).device
    with quantizers.disabled():
        operators = float_graph(exact, input_size).operators
    weights = quantized_weights(exact)
    constants = {}
    for operator in operators:
        if operator.constants is None:
            continue
        name = operator.constants.weight
        found, step_in = weights[name], params[carried_by[operator.inputs[0]]].scale
        scale, integers = make_room_for_bias(found.bias, step_in, found.scale, found.integers)
        steps, step, scale = bias_params(found.bias, step_in, scale, integers, name)
        per_channel = scale.astype(np.float64).reshape(-1, *[1] * (integers.ndim - 1))
        weight, bias = integers * per_channel, steps * step.astype(np.float64)
        constants[name] = torch.from_numpy(weight).to(device), torch.from_numpy(bias).to(device)
    for name, module in activations.items():
        exact_one = _ExactActivation(params[name], module.limits)
        quantizers.set_submodule(quantizer_key(name), exact_one)
    exact.double()
    set_exact_constants(exact, constants)
    return exact


class _ExactActivation(nn.Module):
    """A quantizer whose parameters stand, in float64."""

    def __init__(self, params: QuantParams, limits: tuple[int, int]) -> None:
        super().__init__()
        self._params, self._limits = params, limits

    def forward(self, x: Tensor, observe: bool = True, source: int = 0) -> Tensor:
        """The nearest value of the grid."""
        steps = torch.round(x / self._params.scale) + self._params.zero_point
        return (steps.clamp(*self._limits) - self._params.zero_point) * self._params.scale
