"""Writes a classifier as ONNX: float, or quantized with every learned scale bit for bit."""

from __future__ import annotations

from pathlib import Path

import onnx
from torch import nn
from torch.fx import GraphModule

from edgecv.artifact import write_atomically
from edgecv.errors import InputError
from edgecv.qdq import Quantization, float_model, qdq_model
from edgecv.quantize.capture import capture
from edgecv.quantize.lower import float_graph, quantized_weights
from edgecv.quantize.qat import placement_of, quantizers_of

__all__ = ["export_float", "export_qdq"]


def export_float(module: nn.Module, path: Path, *, input_size: tuple[int, int]) -> None:
    """Write *module* as float ONNX with BatchNorm folded.

    Args:
        module: Takes [N, 3, H, W] float32 RGB in [0, 1], gives logits [N, C].
        path: Written whole or not at all; replaced when it exists.
        input_size: (H, W) in pixels; the file has batch 1 and static shapes.

    Raises:
        UnsupportedError: Operators that edgecv does not know.
        InputError: The folder does not exist, or the model does not run at that size.
    """
    captured = capture(module, input_size=input_size)
    model = float_model(float_graph(captured, input_size))
    _write(model, Path(path))


def export_qdq(qat: nn.Module, path: Path, *, input_size: tuple[int, int]) -> None:
    """Write a prepared model as QDQ ONNX; the model itself is not changed.

    BatchNorm is folded into the weights' scales, which leaves the integers as they are; only on channels
    whose bias would overflow the accumulator are they moved to a coarser grid
    (:func:`edgecv.spec.make_room_for_bias`).

    Args:
        qat: From :func:`~edgecv.quantize.prepare_qat`, calibrated or trained, 8 bits.
        path: Written whole or not at all; replaced when it exists.
        input_size: (H, W) in pixels; the file has batch 1 and static shapes.

    Raises:
        UnsupportedError: Fewer than 8 bits.
        InputError: The model was not prepared or calibrated, or the folder does not exist.
    """
    quantizers = quantizers_of(qat)
    if not isinstance(qat, GraphModule):
        raise InputError(f"{type(qat).__name__} is no prepared model", cure="Unwrap it first.")
    params = {name: module.params() for name, module in quantizers.activations().items()}
    quantization = Quantization(placement_of(qat), params, quantized_weights(qat))
    with quantizers.disabled():
        graph = float_graph(qat, input_size)
    model = qdq_model(graph, quantization)
    _write(model, Path(path))


def _write(model: onnx.ModelProto, path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"the folder {str(path.parent)!r} does not exist", cure="Create it first.")
    write_atomically(path, model.SerializeToString())
