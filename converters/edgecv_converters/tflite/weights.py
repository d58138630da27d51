"""Weights and biases of convolutions and matrix products: integers and scales as the source has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecv.errors import UnsupportedError
from edgecv_converters.ir import Array, Constant, Graph, Node
from edgecv_converters.plan import Quantization
from edgecv_converters.tflite.lowering import Site, runs_in_integers

__all__ = ["add_bias", "add_weight", "weight_complaint"]

#: TFLite kernel_util.cc, GetQuantizedConvolutionMultipler: how far s_in * s_w may be from the bias scale.
_BIAS_TOLERANCE = 1e-6


def weight_complaint(graph: Graph, node: Node, channel_axis: int) -> str | None:
    """Why input 1 of *node* is no weight that an integer or float kernel takes, or None."""
    weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None:
        return "the weight must be a constant"
    if weight.quant is None:
        kind = weight.data.dtype
        return (
            None if kind == np.float32 else f"the weight must be float32 or quantized, got {kind}"
        )
    if weight.data.dtype != np.int8:
        return f"quantized weights must have 8 bits, got {weight.data.dtype}"
    bias = node.inputs[2] if len(node.inputs) > 2 else ""
    if bias and bias not in graph.constants:
        return "the bias must be a constant"
    if not runs_in_integers(graph, node):
        return None
    nonzero = np.flatnonzero(weight.quant.zero_points)
    if nonzero.size:
        zero = int(weight.quant.zero_points[nonzero[0]])
        return (
            f"the weight {weight.name!r} has zero point {zero} in channel {int(nonzero[0])}, and kernels take 0 only:"
            " no engine would load the file (quantize weights symmetrically, e.g. as QInt8)"
        )
    if weight.quant.axis not in (None, channel_axis):
        return f"weight scales must go along axis {channel_axis} (output channels), got axis {weight.quant.axis}"
    return None


def add_weight(site: Site, arrange: Callable[[Array], Array], axis: int) -> int:
    """Plan input 1 as a constant: its integers when *site* computes in integers, else its real values.

    Args:
        site: Where it is used.
        arrange: Brings the source's array into the kernel's order; a view costs no memory.
        axis: Dimension of the arranged array that holds the output channels.
    """
    weight = _required(site, 1)
    data = arrange(weight.data if site.integer else weight.real())
    quantization = None
    if site.integer and weight.quant is not None:
        scales = weight.quant.scales
        quantization = Quantization(
            tuple(scales.tolist()), (0,) * scales.size, axis if weight.quant.axis is not None else 0
        )
    shared = (weight.name, data.shape, data.strides)
    return site.builder.constant(weight.name, data, "weight", quantization, shared=shared)


def add_bias(site: Site, channels: int, input_scale: float) -> int:
    """Plan input 2 as int32 with scale s_in * s_w (or float32), zeros when the source has none.

    Integers whose scale is s_in * s_w stay as they are; a float bias, and one with another scale, is
    rounded to that grid, and the plan says so.

    Args:
        site: Where it is used; input 1 is its weight.
        channels: Output channels.
        input_scale: Scale of the activation; unused in float.

    Raises:
        UnsupportedError: The bias does not fit int32.
    """
    name = site.node.inputs[2] if len(site.node.inputs) > 2 else ""
    bias = site.low.constant(name) if name else None
    if not site.integer:
        data = np.zeros(channels, np.float32) if bias is None else bias.real().reshape(-1)
        return site.builder.constant(_name(site, bias), data, "bias")
    weight = _required(site, 1)
    assert weight.quant is not None
    product = weight.quant.scales.astype(np.float64) * np.float64(np.float32(input_scale))
    if bias is not None and _is_on_grid(bias, product):
        assert bias.quant is not None
        scales = np.broadcast_to(bias.quant.scales, product.shape)
        return site.builder.constant(
            _name(site, bias), bias.data.reshape(-1), "bias", _quantization(scales)
        )
    integers = np.zeros(channels, np.int32) if bias is None else _rounded(site, bias, product)
    return site.builder.constant(
        _name(site, bias), integers, "bias", _quantization(product.astype(np.float32))
    )


def _required(site: Site, position: int) -> Constant:
    constant = site.low.constant(site.node.inputs[position])
    assert constant is not None, site.node.name
    return constant


def _name(site: Site, bias: Constant | None) -> str:
    return f"{site.node.outputs[0]}:bias" if bias is None else bias.name


def _quantization(scales: Array) -> Quantization:
    return Quantization(tuple(scales.tolist()), (0,) * scales.size)


def _is_on_grid(bias: Constant, product: Array) -> bool:
    quant = bias.quant
    if quant is None or bias.data.dtype != np.int32 or quant.zero_points.any():
        return False
    if quant.scales.size not in (1, product.size):
        return False
    return bool(
        (np.abs(quant.scales.astype(np.float64) - product) <= _BIAS_TOLERANCE * product).all()
    )


def _rounded(site: Site, bias: Constant, product: Array) -> Array:
    real = bias.real().reshape(-1).astype(np.float64)
    if bias.quant is not None and bias.data.dtype == np.int32:
        centered = bias.data.reshape(-1).astype(np.float64) - bias.quant.zero_points
        real = centered * bias.quant.scales.astype(np.float64)
    steps = np.rint(real / product)
    over = np.flatnonzero(np.abs(steps) > np.iinfo(np.int32).max)
    if over.size:
        channel = int(over[0])
        raise UnsupportedError(
            f"the bias {bias.name!r}, channel {channel}, is {real[channel]:.6g}: {steps[channel]:.4g} steps of"
            " s_in * s_w do not fit int32",
            cure="Raise the weight scale of that channel (its weights are too small beside its bias).",
        )
    kind = "is float" if bias.quant is None else "has another scale than s_in * s_w"
    site.low.warnings.append(
        f"the bias {bias.name!r} of {site.node.name!r} {kind}; it is rounded to int32 steps of s_in * s_w"
    )
    return steps.astype(np.int32)
