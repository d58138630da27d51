"""The trained model itself as the reference that every engine is compared with."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgecv.errors import InputError
from edgecv.quantize.lower import float_graph, quantized_weights, set_exact_constants
from edgecv.quantize.naming import canonical, quantizer_key
from edgecv.quantize.qat import as_tensor, placement_of, quantizers_of
from edgecv.spec import QuantParams, bias_params, make_room_for_bias

__all__ = ["as_exported", "float_islands", "predict"]

#: Kinds that engines compute in float, or by a table made in float.
_ISLANDS: Final = ("layer_norm", "softmax", "sigmoid")


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


def as_exported(
    qat: GraphModule,
    *,
    input_size: tuple[int, int],
    left_out: Collection[str] = (),
    contrary: float = 0.0,
) -> GraphModule:
    """A copy of a prepared model that computes what the exported file says, in float64.

    Weights, scales and int32 biases are the file's, BatchNorm folded in, and sums are exact. In float32
    some tensors round the other way, and later layers multiply it: over 600 test pictures of the demo
    the trained model is 0.6 output steps from ONNX Runtime in the mean and 6 at most, this copy 0 and 0.

    Engines sum integers as exactly, but bring the sums to the next grid in float32, and compute LayerNorm,
    softmax and sigmoid in it. Which way they round a value beside a half is theirs to choose. A copy with
    *contrary* chooses the other way each time: no engine that is right to that distance can be expected
    nearer to this reference than that copy is.

    Args:
        qat: From :func:`~edgecv.quantize.prepare_qat`, with ranges; it is not changed.
        input_size: (H, W) in pixels.
        left_out: Tensors whose quantizer the file lacks, as its manifest names them in ``left_out``.
        contrary: Distance from halfway between two integers, in steps, within which a value becomes the
            integer that is not the nearest; in [0, 0.5).

    Raises:
        InputError: The model has no ranges yet, no quantizer of such a name, or *contrary* is out of range.
    """
    if not 0 <= contrary < 0.5:
        raise InputError(f"contrary {contrary!r} is not in [0, 0.5)", cure="Use for example 1e-4.")
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
        exact_one = _ExactActivation(params[name], module.limits, contrary)
        quantizers.set_submodule(quantizer_key(name), exact_one)
    exact.double()
    set_exact_constants(exact, constants)
    for name in left_out:
        _remove_quantizer(exact, name)
    exact.graph.lint()
    exact.recompile()
    return exact


def float_islands(qat: GraphModule) -> tuple[str, ...]:
    """Tensors of a prepared model that engines compute in float: behind LayerNorm, softmax, sigmoid.

    Args:
        qat: From :func:`~edgecv.quantize.prepare_qat`.
    """
    found = (canonical(node) for node in qat.graph.nodes)
    return tuple(what.name for what in found if what is not None and what.kind in _ISLANDS)


def _remove_quantizer(exact: GraphModule, name: str) -> None:
    """Let the readers of tensor *name* read it as it is."""
    makers = {what.name: n for n in exact.graph.nodes if (what := canonical(n)) is not None}
    if name not in makers or name not in placement_of(exact).tensors:
        raise InputError(
            f"the model has no quantizer {name!r} to leave out", cure="Use the manifest's names."
        )
    # none where integers are only moved (a concatenation): what stands in the file changes nothing
    made: Node = makers[name]
    for call in list(made.users):
        if call.op == "call_module" and isinstance(
            exact.get_submodule(str(call.target)), _ExactActivation
        ):
            call.replace_all_uses_with(made)
            exact.graph.erase_node(call)


class _ExactActivation(nn.Module):
    """A quantizer whose parameters stand."""

    def __init__(self, params: QuantParams, limits: tuple[int, int], contrary: float) -> None:
        super().__init__()
        self._params, self._limits, self._contrary = params, limits, contrary

    def forward(self, x: Tensor, observe: bool = True, source: int = 0) -> Tensor:
        """The nearest value of the grid, but for close calls."""
        real = x / self._params.scale
        steps = torch.round(real)
        if self._contrary:
            rest = real - steps
            close = rest.abs() > 0.5 - self._contrary
            steps = torch.where(close, steps + rest.sign(), steps)
        steps = steps + self._params.zero_point
        return (steps.clamp(*self._limits) - self._params.zero_point) * self._params.scale
