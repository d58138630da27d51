"""NumPy arithmetic of quantization: the reference that every engine and annotator is held against.

Conventions follow the TFLite 8-bit quantization specification: activations asymmetric per tensor,
weights symmetric per output channel in [-127, 127], bias int32 with scale s_in * s_w.
Rounding is half to even (ONNX QuantizeLinear).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError, UnsupportedError
from edgecv.spec.types import QuantParams, integer_range

__all__ = [
    "activation_params",
    "bias_params",
    "dequantize",
    "fold_batch_norm",
    "make_room_for_bias",
    "quantize",
    "quantize_weight",
    "weight_scales",
]

Array = npt.NDArray[Any]

#: Smallest activation scale; keeps a tensor that is constantly 0 on a usable grid.
MIN_SCALE = float(np.float32(2.0**-16))
#: Floor of the scale of a weight channel whose weights are all 0.
MIN_WEIGHT_SCALE = float(np.float32(2.0**-20))
#: Largest bias magnitude in accumulator units; leaves headroom for the products (int32).
MAX_BIAS = 2**30


def quantize(real: Array, params: QuantParams, *, limits: tuple[int, int] | None = None) -> Array:
    """Real values to integers of ``params.dtype``, rounded half to even and saturated.

    Args:
        real: Any shape; taken as float32.
        params: The grid.
        limits: Smallest and largest integer, for grids of fewer than 8 bits; by default the
            dtype's.

    >>> quantize(np.array([-1.0, 0.25, 0.75, 1000.0]), QuantParams(0.5, 0)).tolist()
    [-2, 0, 2, 127]
    """
    low, high = limits or integer_range(8, signed=params.dtype == "int8")
    scaled = np.asarray(real, np.float32) / np.float32(params.scale)
    integers: Array = np.clip(np.rint(scaled) + params.zero_point, low, high).astype(params.dtype)
    return integers


def dequantize(integers: Array, params: QuantParams) -> Array:
    """Integers to float32: scale * (integer - zero_point)."""
    centered = np.asarray(integers).astype(np.int32) - params.zero_point
    return (centered.astype(np.float32) * np.float32(params.scale)).astype(np.float32)


def activation_params(
    minimum: float, maximum: float, *, bits: int = 8, symmetric: bool = False
) -> QuantParams:
    """Parameters of an activation with values in [minimum, maximum], widened to hold 0.

    Args:
        minimum: Smallest value seen; finite.
        maximum: Largest value seen; finite.
        bits: Width of the grid. Fewer than 8 bits use the lowest 2**bits integers of int8, so that
            the zero point of a ReLU output stays -128.
        symmetric: Zero point 0 and the full signed range (right operands of a batch matmul).

    Raises:
        InputError: A bound is not finite or they are reversed.

    >>> activation_params(0.0, 25.5)
    QuantParams(scale=0.10000000149011612, zero_point=-128, dtype='int8')
    """
    if not (np.isfinite(minimum) and np.isfinite(maximum)) or minimum > maximum:
        raise InputError(
            f"the range [{minimum}, {maximum}] is not a range",
            cure="Check the model for NaN or infinity.",
        )
    low, high = min(float(minimum), 0.0), max(float(maximum), 0.0)
    if symmetric:
        limit = integer_range(bits)[1]
        return QuantParams(float(np.float32(max(max(-low, high) / limit, MIN_SCALE))), 0)
    steps = 2**bits - 1
    scale = float(np.float32(max((high - low) / steps, MIN_SCALE)))
    return QuantParams(scale, int(np.clip(np.rint(-128 - low / scale), -128, -128 + steps)))


def weight_scales(weight: Array, *, bits: int = 8, axis: int = 0) -> Array:
    """Symmetric per-channel scales (float32, one per index of *axis*): max|w| / (2**(bits-1) - 1).

    >>> weight_scales(np.array([[1.27, -0.5], [-2.54, 0.0]])).tolist()
    [0.009999999776482582, 0.019999999552965164]
    """
    others = tuple(d for d in range(np.ndim(weight)) if d != axis % np.ndim(weight))
    limit = integer_range(bits)[1]
    peaks = np.abs(np.asarray(weight, np.float32)).max(axis=others) / np.float32(limit)
    scales: Array = np.maximum(peaks, np.float32(MIN_WEIGHT_SCALE)).astype(np.float32)
    return scales


def quantize_weight(weight: Array, scales: Array, *, bits: int = 8, axis: int = 0) -> Array:
    """Weights to int8 on a symmetric grid of *bits* per channel of *axis*, in [-limit, limit].

    >>> w = np.array([[1.27, -0.5], [-2.54, 0.0]])
    >>> quantize_weight(w, weight_scales(w)).tolist()
    [[127, -50], [-127, 0]]
    """
    low, high = integer_range(bits, narrow=True)
    shape = [1] * np.ndim(weight)
    shape[axis] = -1
    steps = np.asarray(weight, np.float32) / np.asarray(scales, np.float32).reshape(shape)
    integers: Array = np.clip(np.rint(steps), low, high).astype(np.int8)
    return integers


def fold_batch_norm(
    weight_scale: Array,
    integers: Array,
    bias: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Fold BatchNorm into already quantized weights; exact, because scales are per output channel.

    Q(w) * gamma/sigma lies on the grid s * |gamma|/sigma: integers stay, the sign flips where
    gamma < 0. Channels with gamma = 0 get integers 0 and keep their unfolded scale. No division by
    gamma.

    Args:
        weight_scale: [C] float32.
        integers: [C, ...] int8.
        bias: [C] float, of the convolution.
        gamma: [C], weight of the BatchNorm.
        beta: [C], bias of the BatchNorm.
        mean: [C], running mean.
        var: [C], running variance.
        eps: The BatchNorm's epsilon.

    Returns:
        Folded scale (float32), integers (int8) and bias (float64).
    """
    factor = np.asarray(gamma, np.float64) / np.sqrt(np.asarray(var, np.float64) + eps)
    folded_bias = np.asarray(beta, np.float64) + (np.asarray(bias, np.float64) - mean) * factor
    sign = np.where(factor < 0, -1, np.where(factor == 0, 0, 1)).astype(np.int8)
    folded = (integers * sign.reshape(-1, *[1] * (integers.ndim - 1))).astype(np.int8)
    scale64 = np.asarray(weight_scale, np.float64)
    scale = np.where(factor == 0, scale64, scale64 * np.abs(factor)).astype(np.float32)
    return np.maximum(scale, np.float32(np.finfo(np.float32).tiny)), folded, folded_bias


def make_room_for_bias(
    bias: Array, input_scale: float, weight_scale: Array, integers: Array
) -> tuple[Array, Array]:
    """Coarser weight scales for channels whose bias would overflow the accumulator.

    A BatchNorm whose gamma is almost 0 leaves weights that are tiny beside the bias. On such a
    channel the products together stay below the bias (255 * 127 * fan-in is below 2**30 up to a
    fan-in of 33,000), so moving its weights to the grid that the bias needs changes the channel's
    output by at most fan-in * 255 / 2**31 of its bias: 0.05 % for a fan-in of 4608.

    Args:
        bias: [C] float64.
        input_scale: Scale of the input tensor.
        weight_scale: [C] float32.
        integers: [C, ...] int8 weights.

    Returns:
        Weight scale [C] float32 and integers [C, ...] int8; equal to those given on every channel
        whose bias fits.
    """
    scale = np.asarray(weight_scale, np.float32)
    needed = np.abs(np.asarray(bias, np.float64)) / (MAX_BIAS * np.float64(np.float32(input_scale)))
    short = scale < needed
    # a hair above, so that rounding to float32 does not fall below
    coarser = np.where(short, needed * (1 + 2.0**-20), scale).astype(np.float32)
    shrink = np.where(short, scale.astype(np.float64) / coarser, 1.0)
    moved = np.rint(integers * shrink.reshape(-1, *[1] * (integers.ndim - 1))).astype(np.int8)
    return coarser, moved


def bias_params(
    bias: Array, input_scale: float, weight_scale: Array, integers: Array, name: str
) -> tuple[Array, Array, Array]:
    """Bias to int32 with scale s_in * s_w.

    A channel whose weights are all 0 may have its weight scale raised so that the bias fits; any
    other overflow is refused, naming the channel.

    Args:
        bias: [C] float64.
        input_scale: Scale of the input tensor.
        weight_scale: [C] float32.
        integers: [C, ...] int8 weights.
        name: Name of the layer, for the error.

    Returns:
        int32 bias [C], bias scale [C] float32, weight scale [C] float32 (raised on dead channels
        only).

    Raises:
        UnsupportedError: The bias of a live channel overflows.
    """
    weight_scale = np.asarray(weight_scale, np.float32)
    dead = ~integers.reshape(len(weight_scale), -1).any(axis=1)
    floor = (np.abs(bias) / (MAX_BIAS * input_scale)).astype(np.float32) * np.float32(1.0001)
    raised = np.where(dead, np.maximum(weight_scale, floor), weight_scale).astype(np.float32)
    scale = (raised.astype(np.float64) * np.float64(np.float32(input_scale))).astype(np.float32)
    steps = np.rint(np.asarray(bias, np.float64) / scale.astype(np.float64))
    over = np.flatnonzero(np.abs(steps) > MAX_BIAS * 1.001)
    if over.size:
        channel = int(over[0])
        raise UnsupportedError(
            f"the bias of {name!r}, channel {channel}, is {bias[channel]:.6g}:"
            f" {steps[channel]:.4g} steps of {scale[channel]:.4g} do not fit the accumulator",
            cure="Train longer or reset this channel; its weights are too small beside its bias.",
        )
    return steps.astype(np.int32), scale, raised
