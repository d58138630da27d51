"""Convolutions: plain, grouped, depthwise, dilated, with any non-negative padding."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC
from edgecv_converters.tflite.weights import add_bias, add_weight, weight_complaint
from edgecv_converters.tflite.windows import Window, window_complaint, window_of

__all__ = ["RULES", "Conv", "padded_image"]


class Conv(Rule):
    """CONV_2D, or DEPTHWISE_CONV_2D where every input channel is its own group."""

    op: ClassVar[str] = "Conv"
    versions: ClassVar[tuple[int, ...]] = (1, 11)
    nearest: ClassVar[str] = (
        "2-D convolution of NCHW with constant weights, int8 symmetric per output channel"
    )
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_conv.py",
        "float32": "tests/ops/test_conv.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/conv.cc, depthwise_conv.cc; xnnpack_delegate.cc VisitConv2DNode"
    )
    fuses_clamp: ClassVar[bool] = True

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Shapes, window, group and weight."""
        weight = graph.constants.get(node.inputs[1])
        if weight is None or weight.data.ndim != 4:
            return "the weight must be a constant of 4 dimensions"
        complaint = window_complaint(graph, node) or weight_complaint(graph, node, channel_axis=0)
        if complaint:
            return complaint
        group, channels = int(node.attributes.get("group", 1)), graph.shape(node.inputs[0])[1]
        outputs, per_group = weight.data.shape[:2]
        if group < 1 or per_group * group != channels or outputs % group:
            return f"{channels} channels into {outputs} do not go with group {group} and weights of {per_group}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """Pad explicitly where TFLite's SAME differs; XNNPACK fuses that PAD into the convolution."""
        site = low.site(node)
        weight = low.graph.constants[node.inputs[1]]
        outputs, per_group, height, width = weight.data.shape
        group = int(node.attributes.get("group", 1))
        window = window_of(low.graph, node, (height, width))
        image, padding = padded_image(site, window)
        depthwise = group > 1 and per_group == 1
        filters = (
            add_weight(site, lambda w: w.transpose(1, 2, 3, 0), axis=3)
            if depthwise
            else add_weight(site, lambda w: w.transpose(0, 2, 3, 1), axis=0)
        )
        quant = site.view().quant
        bias = add_bias(site, outputs, quant.scale if quant else 1.0)
        shape = (low.graph.shape(node.inputs[0])[0], *window.output, outputs)
        result = site.output(shape)
        macs = int(np.prod(shape)) * height * width * per_group
        options: dict[str, int | float | bool | str] = {
            "Padding": padding,
            "StrideH": window.strides[0],
            "StrideW": window.strides[1],
            "DilationHFactor": window.dilations[0],
            "DilationWFactor": window.dilations[1],
        }
        inputs = (image, filters, bias)
        if depthwise:
            options["DepthMultiplier"] = outputs // group
            feature = "dilated" if window.dilations != (1, 1) else ""
            why = f"one group per channel, {window.padding} padding"
            low.builder.emit(
                "DEPTHWISE_CONV_2D",
                inputs,
                (result,),
                why,
                feature=feature,
                macs=macs,
                fused=True,
                options=options,
            )
        else:
            feature = "grouped" if group > 1 else ""
            why = f"{window.padding} padding" + (f", {group} groups" if group > 1 else "")
            low.builder.emit(
                "CONV_2D",
                inputs,
                (result,),
                why,
                feature=feature,
                macs=macs,
                fused=True,
                options=options,
            )
        site.done(result, Layout.row_major(shape).permute((0, 3, 1, 2)))


def padded_image(site: Site, window: Window) -> tuple[int, str]:
    """The NHWC image of input 0, padded with zeros where TFLite would not do it itself, and its padding."""
    image = site.physical(0, NHWC)
    if window.padding != "explicit":
        return image, window.padding
    build, view = site.builder, site.view()
    batch, _, _, channels = build.tensors[image].shape
    root = build.tensors[view.tensor].name
    result = build.activation(f"{root}:pad", (batch, *window.padded(), channels), view.quant)
    inputs = (image, build.integers(window.paddings()))
    build.emit("PAD", inputs, (result,), f"pads {list(window.pads)} are not TFLite's SAME")
    return result, "VALID"


RULES = (Conv(),)
