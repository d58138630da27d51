"""Max and average pools over windows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.plan import Quantization
from edgecv_converters.tflite.builder import per_tensor
from edgecv_converters.tflite.lowering import Lowering, Site, runs_in_integers
from edgecv_converters.tflite.ops.conv import padded_image
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC, View
from edgecv_converters.tflite.windows import Window, window_complaint, window_of

__all__ = ["RULES", "AveragePool", "MaxPool"]

_VERIFIED = {"int8": "tests/ops/test_pool.py", "float32": "tests/ops/test_pool.py"}
_NCHW = (0, 3, 1, 2)


def _kernel(node: Node) -> tuple[int, int]:
    height, width = node.ints("kernel_shape", (1, 1))
    return height, width


def _options(window: Window, padding: str) -> dict[str, int | float | bool | str]:
    return {
        "Padding": padding,
        "StrideH": window.strides[0],
        "StrideW": window.strides[1],
        "FilterHeight": window.kernel[0],
        "FilterWidth": window.kernel[1],
    }


def _complaint(graph: Graph, node: Node) -> str | None:
    found = window_complaint(graph, node)
    if found is None and node.ints("dilations", (1, 1)) != (1, 1):
        found = f"dilations must be 1, got {list(node.ints('dilations', (1, 1)))}"
    return found


class MaxPool(Rule):
    """MAX_POOL_2D; integers stay integers, since rounding keeps the order."""

    op: ClassVar[str] = "MaxPool"
    versions: ClassVar[tuple[int, ...]] = (8, 10, 11, 12)
    nearest: ClassVar[str] = "2-D MaxPool without dilation and without indices"
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/pooling.cc; xnnpack_delegate.cc VisitMaxPool2DNode"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Window and second output."""
        if len(node.outputs) > 1 and node.outputs[1]:
            return "the indices output must not be used"
        return _complaint(graph, node)

    def lower(self, low: Lowering, node: Node) -> None:
        """Padding must never win the maximum: SAME ignores it, zeros lose against ReLU outputs."""
        source = low.views[node.inputs[0]]
        site = low.site(node, integer=source.quant is not None)
        window = window_of(low.graph, node, _kernel(node))
        if window.padding == "explicit" and not _is_nonnegative(low, node.inputs[0]):
            image, padding, why = (
                self._padded_low(site, window),
                "VALID",
                "padded with the lowest value",
            )
        else:
            image, padding = padded_image(site, window)
            why = f"{window.padding} padding" + (
                ", no value is below its zeros" if window.padding == "explicit" else ""
            )
        batch, _, _, channels = low.builder.tensors[image].shape
        shape = (batch, *window.output, channels)
        value = low.graph.values[node.outputs[0]]
        same = value.quant in (source.quant, None)
        result = low.builder.activation(
            value.name if same else f"{value.name}:pool", shape, source.quant
        )
        low.builder.emit(
            "MAX_POOL_2D", (image,), (result,), why, fused=True, options=_options(window, padding)
        )
        layout = Layout.row_major(shape).permute(_NCHW)
        low.builder.locate(result, layout)
        low.bind(value.name, View(result, layout, source.quant))

    def _padded_low(self, site: Site, window: Window) -> int:
        image, view, build = site.physical(0, NHWC), site.view(), site.builder
        batch, _, _, channels = build.tensors[image].shape
        lowest = (
            np.asarray(-128, np.int8)
            if site.integer
            else np.asarray(np.finfo(np.float32).min, np.float32)
        )
        root = build.tensors[view.tensor].name
        filler = build.constant(f"{root}:lowest", lowest, "parameter", per_tensor(view.quant))
        result = build.activation(f"{root}:pad", (batch, *window.padded(), channels), view.quant)
        inputs = (image, build.integers(window.paddings()), filler)
        return build.emit(
            "PADV2", inputs, (result,), "values may be negative, so zeros could win the maximum"
        )


def _is_nonnegative(low: Lowering, name: str) -> bool:
    quant = low.graph.values[name].quant
    if quant is not None:
        return quant.zero_point == -128
    producer = low.graph.producers.get(name)
    return producer is not None and (producer.clamp in ("relu", "relu6") or producer.op == "Relu")


class AveragePool(Rule):
    """AVERAGE_POOL_2D in float; an all-ones DEPTHWISE_CONV_2D on integers, which XNNPACK takes."""

    op: ClassVar[str] = "AveragePool"
    versions: ClassVar[tuple[int, ...]] = (7, 10, 11, 19)
    nearest: ClassVar[str] = (
        "2-D AveragePool without dilation, its padding counted, absent, or TFLite's SAME"
    )
    verified: ClassVar[dict[str, str]] = _VERIFIED
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/pooling.cc; xnnpack_delegate.cc VisitAveragePool2DNode (float32 only)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Window, and what the divisor counts."""
        complaint = _complaint(graph, node)
        if complaint:
            return complaint
        window = window_of(graph, node, _kernel(node))
        included = bool(node.attributes.get("count_include_pad", 0)) and any(
            node.ints("pads", (0, 0, 0, 0))
        )
        if included and window.overhang:
            return (
                "count_include_pad must not meet a ceil_mode window that reaches beyond the padding"
            )
        if not _one_divisor(node, window) and window.padding == "explicit":
            return f"padding that the divisor does not count must be TFLite's SAME, got {list(window.pads)}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """Divisor k*k everywhere: depthwise; divisors that differ at the border: in float."""
        window = window_of(low.graph, node, _kernel(node))
        counted = _one_divisor(node, window)
        integer = counted and runs_in_integers(low.graph, node)
        site = low.site(node, integer=integer)
        image, padding = (
            _counted_image(site, window) if counted else (site.physical(0, NHWC), "SAME")
        )
        batch, _, _, channels = low.builder.tensors[image].shape
        shape = (batch, *window.output, channels)
        result = site.output(shape)
        if integer:
            _ones_convolution(site, window, image, result)
        else:
            why = "one divisor" if counted else "the divisor counts pixels only"
            low.builder.emit(
                "AVERAGE_POOL_2D",
                (image,),
                (result,),
                why,
                fused=True,
                options=_options(window, padding),
            )
        site.done(result, Layout.row_major(shape).permute(_NCHW))


def _one_divisor(node: Node, window: Window) -> bool:
    """Whether every window divides by its whole area: all padding counts, except what ceil_mode adds."""
    included = bool(node.attributes.get("count_include_pad", 0))
    return window.padding == "VALID" or (included and not window.overhang)


def _counted_image(site: Site, window: Window) -> tuple[int, str]:
    """Image whose padding counts: padded explicitly even where SAME has the same size."""
    if window.padding != "SAME":
        return padded_image(site, window)
    image, view, build = site.physical(0, NHWC), site.view(), site.builder
    batch, _, _, channels = build.tensors[image].shape
    name = f"{build.tensors[view.tensor].name}:pad"
    result = build.activation(name, (batch, *window.padded(), channels), view.quant)
    build.emit(
        "PAD",
        (image, build.integers(window.paddings())),
        (result,),
        "the divisor counts the padding",
    )
    return result, "VALID"


def _ones_convolution(site: Site, window: Window, image: int, result: int) -> None:
    """sum(x) * s_in / k^2, accumulated in int32 and rounded once."""
    build, name = site.builder, site.node.outputs[0]
    channels = build.tensors[image].shape[-1]
    quant = site.view().quant
    assert quant is not None
    scale = np.float32(1.0) / np.float32(window.kernel[0] * window.kernel[1])
    zeros = (0,) * channels
    ones = build.constant(
        f"{name}:ones",
        np.ones((1, *window.kernel, channels), np.int8),
        "weight",
        Quantization((float(scale),) * channels, zeros, 3),
    )
    product = float(np.float32(np.float64(scale) * np.float64(quant.scale)))
    bias = build.constant(
        f"{name}:bias",
        np.zeros(channels, np.int32),
        "bias",
        Quantization((product,) * channels, zeros),
    )
    options: dict[str, int | float | bool | str] = {
        "Padding": "VALID",
        "StrideH": window.strides[0],
        "StrideW": window.strides[1],
        "DilationHFactor": 1,
        "DilationWFactor": 1,
        "DepthMultiplier": 1,
    }
    macs = int(np.prod(build.tensors[result].shape)) * window.kernel[0] * window.kernel[1]
    why = "average as a sum of ones: XNNPACK has no int8 AVERAGE_POOL_2D"
    build.emit(
        "DEPTHWISE_CONV_2D",
        (image, ones, bias),
        (result,),
        why,
        macs=macs,
        fused=True,
        options=options,
    )


RULES = (MaxPool(), AveragePool())
