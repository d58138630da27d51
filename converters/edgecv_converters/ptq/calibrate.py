"""Ranges of the tensors that get a quantizer: global minimum and maximum over calibration pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from edgecv.errors import InputError
from edgecv.qdq import FloatGraph, float_model
from edgecv.spec import OP_TABLE, Placement, QuantParams, activation_params
from edgecv.spec.table import Output
from edgecv_runtimes.quiet import import_onnxruntime

__all__ = ["Calibration", "calibrate"]

Array = npt.NDArray[Any]

#: Pictures per run: every intermediate tensor of a run is in memory at once.
_CHUNK = 4
#: Above 1 by more than rounding means that pictures were normalized outside the model.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """What calibration pictures tell.

    Attributes:
        params: Name of the quantizer → parameters, in int8 terms.
        means: Name of each tensor that a weighted operator reads → mean of each channel, float64 [C].
        pictures: How many were seen.
    """

    params: dict[str, QuantParams]
    means: dict[str, Array]
    pictures: int


def calibrate(
    graph: FloatGraph, placement: Placement, batches: Iterable[Any], *, threads: int = 0
) -> Calibration:
    """Ranges of every quantizer of *placement*, and means of what layers read.

    Args:
        graph: The float model.
        placement: Of the same graph.
        batches: Arrays [N, 3, H, W] float32 in [0, 1].
        threads: For ONNX Runtime; 0 lets it choose.

    Raises:
        InputError: No pictures, another shape, values outside [0, 1], or a tensor that is not
            finite.
        MissingExtraError: onnxruntime is not installed.
    """
    owners, layers = _owners(graph, placement), _layer_inputs(graph)
    # the input is fed, not computed
    names = [n for n in dict.fromkeys([*owners, *layers]) if n != "input"]
    session = _session(graph, names, threads)
    ranges: dict[str, tuple[float, float]] = {}
    sums: dict[str, Array] = {}
    pictures = 0
    # shapes of reshapes are written for one picture
    one_by_one = any("shape" in op.attributes for op in graph.operators)
    for chunk in _chunks(batches, graph.input_size, 1 if one_by_one else _CHUNK):
        values = dict(zip(names, session.run(names, {"input": chunk}), strict=True))
        values["input"] = chunk
        pictures += len(chunk)
        for tensor, owner in owners.items():
            low, high = float(values[tensor].min()), float(values[tensor].max())
            known = ranges.get(owner, (low, high))
            ranges[owner] = (min(known[0], low), max(known[1], high))
            if not np.isfinite([low, high]).all():
                raise InputError(
                    f"the tensor {tensor!r} holds values from {low} to {high}",
                    cure="Check the model's weights for NaN or infinity.",
                )
        for tensor, axis in layers.items():
            sums[tensor] = sums.get(tensor, 0.0) + len(chunk) * _channel_means(values[tensor], axis)
    if not pictures:
        raise InputError("no pictures to calibrate on", cure="Give at least one batch.")
    means = {tensor: total / pictures for tensor, total in sums.items()}
    return Calibration(_params(placement, ranges), means, pictures)


def _layer_inputs(graph: FloatGraph) -> dict[str, int]:
    """Tensor that a weighted operator reads → its channel axis."""
    return {
        op.inputs[0]: 1 if op.kind == "conv" else -1
        for op in graph.operators
        if op.constants is not None
    }


def _channel_means(values: Array, axis: int) -> Array:
    moved = np.moveaxis(values, axis, -1)
    means: Array = moved.reshape(-1, moved.shape[-1]).mean(axis=0, dtype=np.float64)
    return means


def _params(
    placement: Placement, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, QuantParams]:
    params = {}
    for name, quantizer in placement.quantizers.items():
        params[name] = quantizer.fixed or activation_params(
            *ranges[name], bits=quantizer.bits, symmetric=quantizer.symmetric
        )
    return params


def _owners(graph: FloatGraph, placement: Placement) -> dict[str, str]:
    """Tensor → quantizer, where the tensor decides the quantizer's range."""
    kinds = {op.output: op.kind for op in graph.operators}
    return {
        tensor: quantizer
        for tensor, quantizer in placement.tensors.items()
        if tensor in kinds
        and OP_TABLE[kinds[tensor]].output in (Output.OWN, Output.ABSORBED)
        and placement.quantizers[quantizer].fixed is None
    }


def _session(graph: FloatGraph, outputs: list[str], threads: int) -> Any:
    model = float_model(graph)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs
    )
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _chunks(batches: Iterable[Any], size: tuple[int, int], count: int) -> Iterable[Array]:
    for batch in batches:
        pictures = np.asarray(batch, np.float32)
        if pictures.ndim != 4 or pictures.shape[1:] != (3, *size):
            raise InputError(
                f"a batch has shape {list(pictures.shape)}, the model takes [N, 3, {size[0]}, {size[1]}]",
                cure="Preprocess the pictures for this model.",
            )
        if pictures.size and not (
            pictures.min() >= -_TOLERANCE and pictures.max() <= 1 + _TOLERANCE
        ):
            raise InputError(
                f"pictures hold values from {pictures.min():.4g} to {pictures.max():.4g}",
                cure="Give [0, 1]; put mean and std into the model's first convolution.",
            )
        for start in range(0, len(pictures), count):
            yield np.ascontiguousarray(pictures[start : start + count])
