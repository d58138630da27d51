"""From a float classifier to one that trains with its quantizers, and back to plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgecv.errors import InputError
from edgecv.quantize.batch_norm import FreezableBatchNorm2d
from edgecv.quantize.capture import capture
from edgecv.quantize.naming import canonical
from edgecv.quantize.quantizers import ActivationQuantizer, Quantizers, WeightQuantizer
from edgecv.quantize.spelling import operands
from edgecv.spec import OP_TABLE, OpNode, Placement, place
from edgecv.spec.table import Output

__all__ = [
    "annotate",
    "as_tensor",
    "calibrate",
    "freeze",
    "placement_of",
    "prepare_qat",
    "quantizers_of",
]

#: Name of the submodule that holds the quantizers, and key of ``GraphModule.meta``.
QUANTIZERS = "quantizers"
META = "edgecv"
#: Kinds that move integers without changing them: quantizing again would change nothing.
_MOVERS = ("max_pool", "reshape", "transpose", "concat")


@dataclass(frozen=True)
class _Prepared:
    """What :func:`prepare_qat` leaves in the graph module's ``meta``."""

    placement: Placement


def annotate(captured: GraphModule) -> list[OpNode]:
    """The captured graph as the spec sees it."""
    nodes = []
    for node in captured.graph.nodes:
        what = canonical(node)
        if what is None or what.kind == "dropout":
            continue
        weighted = OP_TABLE[what.kind].weighted
        sources = node.all_input_nodes[:1] if weighted else _data_inputs(node)
        inputs = tuple(_tensor_name(source) for source in sources)
        weight = str(node.all_input_nodes[1].target) if weighted else ""
        nodes.append(OpNode(what.name, what.kind, inputs, weight))
    return nodes


def _data_inputs(node: Node) -> list[Node]:
    """Activation inputs in order; an addition of a tensor to itself names it twice."""
    # weights of a LayerNorm and arithmetic on the batch size are no activations
    return [a for a in operands(node) if canonical(a) is not None]


def _tensor_name(node: Node) -> str:
    """Name of the tensor that *node* carries, looking through dropout."""
    while (what := canonical(node)) is not None and what.kind == "dropout":
        node = node.all_input_nodes[0]
    assert what is not None
    return what.name


def prepare_qat(
    model: nn.Module, *, input_size: tuple[int, int], bits: int = 8, dropout: bool = True
) -> GraphModule:
    """Give *model* fake quantizers where the spec places them.

    The result is a module with the float model's state-dict keys plus ``quantizers.*``; every
    parameter and buffer exists at once, so an optimizer or a checkpoint may come right away.
    BatchNorm stays unfolded. *model* itself is left as it was.

    Args:
        model: Takes [N, 3, H, W] float32 RGB in [0, 1], gives logits [N, C].
        input_size: (H, W) in pixels.
        bits: Grid of weights and activations, 2 to 8; the input keeps 8.
        dropout: Keep dropout; quantization-aware fine-tuning usually goes without.

    Raises:
        UnsupportedError: Operators that the spec does not know, all of them in one message.
        InputError: *bits* is out of range.
    """
    qat = capture(model, input_size=input_size)
    placement = place(annotate(qat), bits=bits)
    norms = [m for m in qat.modules() if isinstance(m, FreezableBatchNorm2d)]
    quantizers = Quantizers(bits, norms)
    qat.add_module(QUANTIZERS, quantizers)
    for quantizer in placement.quantizers.values():
        quantizers.add_quantizer(quantizer.name, ActivationQuantizer(quantizer))
    for name in placement.weights:
        quantizers.add_quantizer(name, WeightQuantizer(name, bits))
    _insert(qat, placement)
    if not dropout:
        for module in qat.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    qat.meta[META] = _Prepared(placement)
    device = next((p.device for p in qat.parameters()), torch.device("cpu"))
    return qat.to(device).train(model.training)


def _insert(qat: GraphModule, placement: Placement) -> None:
    quantizers = quantizers_of(qat)
    for node in list(qat.graph.nodes):
        what = canonical(node)
        if what is None or what.kind == "dropout":
            continue
        if OP_TABLE[what.kind].weighted:
            weight = node.all_input_nodes[1]
            with qat.graph.inserting_before(node):
                call = qat.graph.call_module(quantizers.target(str(weight.target)), (weight,))
            node.replace_input_with(weight, call)
        owner = placement.tensors.get(what.name)
        if owner is None or what.kind in _MOVERS:
            continue
        sources = placement.quantizers[owner].tensors
        with qat.graph.inserting_after(node):
            call = qat.graph.call_module(quantizers.target(owner), (node,))
        if OP_TABLE[what.kind].output is Output.OF_INPUT:
            call.kwargs = {"observe": False}
        elif len(sources) > 1:
            call.kwargs = {"source": sources.index(what.name)}
        node.replace_all_uses_with(call, delete_user_cb=lambda user, call=call: user is not call)
    qat.graph.lint()
    qat.recompile()


def quantizers_of(qat: nn.Module) -> Quantizers:
    """The quantizers of a prepared model.

    Raises:
        InputError: The model was not prepared.
    """
    found = getattr(qat, QUANTIZERS, None)
    if not isinstance(found, Quantizers):
        raise InputError(
            f"{type(qat).__name__} has no quantizers",
            cure="Pass what edgecv.quantize.prepare_qat returned (not a DDP wrapper around it).",
        )
    return found


def placement_of(qat: nn.Module) -> Placement:
    """Where the quantizers of a prepared model are.

    Raises:
        InputError: The model was not prepared.
    """
    quantizers_of(qat)
    prepared = getattr(qat, "meta", {}).get(META)
    assert isinstance(prepared, _Prepared)
    return prepared.placement


def calibrate(qat: nn.Module, batches: Iterable[Any]) -> int:
    """Set every range to the global minimum and maximum over *batches*.

    The model runs in evaluation mode and in float; earlier ranges are dropped, frozen ones
    released. A moving average over a few batches would clip the tails.

    Args:
        qat: From :func:`prepare_qat`.
        batches: Arrays or tensors [N, 3, H, W] float32 in [0, 1].

    Returns:
        How many pictures were seen.

    Raises:
        InputError: There is no picture, or a tensor is not finite.
    """
    quantizers = quantizers_of(qat)
    device = next(qat.parameters()).device
    training, pictures = qat.training, 0
    qat.eval()
    try:
        with quantizers.calibrating(), torch.no_grad():
            for batch in batches:
                tensor = as_tensor(batch).to(device)
                qat(tensor)
                pictures += len(tensor)
    finally:
        qat.train(training)
    if pictures == 0:
        raise InputError("no pictures to calibrate on", cure="Give at least one batch.")
    for quantizer in quantizers.activations().values():
        quantizer.params()
    return pictures


def freeze(qat: nn.Module, *, ranges: bool = True, batch_norm: bool = True) -> None:
    """Stop following ranges and BatchNorm statistics; weights, gamma and beta keep learning.

    Args:
        qat: From :func:`prepare_qat`, calibrated or trained.
        ranges: Freeze the ranges of activations.
        batch_norm: Freeze means and variances.

    Raises:
        InputError: The model was not prepared or has no ranges yet.
    """
    quantizers = quantizers_of(qat)
    if ranges:
        for quantizer in quantizers.activations().values():
            quantizer.params()
        quantizers.freeze_ranges(True)
    if batch_norm:
        quantizers.freeze_batch_norm(True)


def as_tensor(batch: Any) -> Tensor:
    """A batch of pictures as a float32 tensor [N, 3, H, W].

    Raises:
        InputError: It has another rank or number of channels.
    """
    tensor = batch if isinstance(batch, Tensor) else torch.as_tensor(np.asarray(batch))
    if tensor.dim() != 4 or tensor.shape[1] != 3:
        raise InputError(
            f"a batch has shape {list(tensor.shape)}", cure="Give [N, 3, H, W] float32 in [0, 1]."
        )
    return tensor.float()
