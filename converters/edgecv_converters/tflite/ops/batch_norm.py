"""Batch normalization that no convolution before it could take in: an affine map per channel."""

from __future__ import annotations

from math import prod
from typing import ClassVar, Final

import numpy as np

from edgecv_converters.ir import Array, Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.passes.fold_batch_norm import factor_and_shift
from edgecv_converters.plan import Quantization
from edgecv_converters.tflite.floats import rows, step
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC

__all__ = ["RULES", "BatchNormalization"]

#: Steps of s_in * s_w that a bias may take, half of int32: the products are added to it.
_MAX_BIAS_STEPS: Final = 2.0**30
#: Weight scale of a channel that is 0 everywhere.
_LEAST_SCALE: Final = 1e-12
#: Weights from which the one is chosen that puts the bias on a step, as nearly as there is.
_WEIGHTS: Final = np.arange(64, 128)


class BatchNormalization(Rule):
    """DEPTHWISE_CONV_2D of one element for pictures, MUL and ADD in float for vectors."""

    op: ClassVar[str] = "BatchNormalization"
    versions: ClassVar[tuple[int, ...]] = (9, 14, 15)
    nearest: ClassVar[str] = (
        "BatchNormalization of NCHW or NC in inference, with constant statistics"
    )
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_batch_norm.py",
        "float32": "tests/ops/test_batch_norm.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/depthwise_conv.cc; xnnpack_delegate.cc VisitDepthwiseConv2DNode"
    )
    fuses_clamp: ClassVar[bool] = True

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Rank, mode, statistics."""
        shape = graph.shape(node.inputs[0])
        if len(shape) not in (2, 4):
            return f"the input must have 4 dimensions (NCHW) or 2 (NC), got {len(shape)}"
        if int(node.attributes.get("training_mode", 0)) or any(node.outputs[1:]):
            return (
                f"it must not compute statistics, got {len(node.outputs)} outputs or training_mode"
            )
        computed = [name for name in node.inputs[1:5] if name not in graph.constants]
        if computed:
            return f"scale, bias, mean and variance must be constants, got the activation {computed[0]!r}"
        found = factor_and_shift(graph, node)
        if found is None:
            return "scale / sqrt(variance + epsilon) must be finite in every channel"
        if found[0].size != shape[1]:
            return f"scale must have {shape[1]} elements, got {found[0].size}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """By rank; integers where input and output are."""
        found = factor_and_shift(low.graph, node)
        assert found is not None, node.name
        if len(low.graph.shape(node.inputs[0])) == 2:
            _affine(low.site(node, integer=False), *found)
            return
        ends = (low.graph.values[name].quant for name in (node.inputs[0], node.outputs[0]))
        _depthwise(low.site(node, integer=None not in tuple(ends)), *found)


def _affine(site: Site, factor: Array, shift: Array) -> None:
    build, name = site.builder, site.node.outputs[0]
    values = rows(site)
    shape = build.tensors[values].shape
    why = "a vector per picture: in float, one rounding"
    weight = build.constant(f"{name}:weight", factor.astype(np.float32), "weight")
    bias = build.constant(f"{name}:bias", shift.astype(np.float32), "weight")
    product = step(site, "MUL", (values, weight), "product", why)
    result = site.output(shape)
    build.emit("ADD", (product, bias), (result,), why, fused=True)
    site.done(result, Layout.row_major(shape))


def _depthwise(site: Site, factor: Array, shift: Array) -> None:
    build, name = site.builder, site.node.outputs[0]
    image = site.physical(0, NHWC)
    shape = build.tensors[image].shape
    quant = site.view().quant if site.integer else None
    grids: tuple[Quantization | None, Quantization | None] = (None, None)
    if quant is None:
        weights, biases = factor.astype(np.float32), shift.astype(np.float32)
    else:
        weights, biases, grids = _integers(factor, shift, quant.scale)
    filters = build.constant(f"{name}:weight", weights.reshape(1, 1, 1, -1), "weight", grids[0])
    bias = build.constant(f"{name}:bias", biases, "bias", grids[1])
    result = site.output(shape)
    options: dict[str, int | float | bool | str] = {
        "Padding": "VALID", "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1,
        "DepthMultiplier": 1,
    }  # fmt: skip
    why = "stands alone: one weight per channel"
    build.emit(
        "DEPTHWISE_CONV_2D",
        (image, filters, bias),
        (result,),
        why,
        macs=prod(shape),
        fused=True,
        options=options,
    )
    site.done(result, Layout.row_major(shape).permute((0, 3, 1, 2)))


def _integers(
    factor: Array, shift: Array, scale: float
) -> tuple[Array, Array, tuple[Quantization, Quantization]]:
    """int8 weights, int32 biases and their grids.

    Any weight w is exact with the scale factor / w, so each channel takes the w that puts its bias nearest
    to a step. A dead channel (factor 0) keeps its bias: the scale has a floor.
    """
    floor = np.maximum(np.abs(shift) / scale / _MAX_BIAS_STEPS, _LEAST_SCALE)
    size = np.abs(factor)
    steps = np.abs(shift) * _WEIGHTS[:, None] / (scale * np.maximum(size, _LEAST_SCALE))
    best = _WEIGHTS[np.argmin(np.abs(steps - np.rint(steps)) / _WEIGHTS[:, None], axis=0)]
    scales = np.where(size / 127 > floor, size / best, floor)
    stored = scales.astype(np.float32)
    weights = np.rint(factor / stored).astype(np.int8)
    product = stored.astype(np.float64) * np.float64(np.float32(scale))
    biases = np.rint(shift / product).astype(np.int32)
    zeros = (0,) * stored.size
    grids = (
        Quantization(tuple(stored.tolist()), zeros, 3),
        Quantization(tuple(product.astype(np.float32).tolist()), zeros),
    )
    return weights, biases, grids


RULES = (BatchNormalization(),)
