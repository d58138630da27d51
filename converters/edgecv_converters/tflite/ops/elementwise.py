"""Sums, differences, products, quotients, maxima and minima of two tensors, with broadcasting."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.frames import (
    MAX_BROADCAST_RANK,
    Frame,
    joined_rank,
    operand_shape,
    plain_constant,
    row_major_frame,
)
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import NHWC, View
from edgecv_converters.tflite.xnnpack import ratio_complaint

__all__ = ["RULES", "Add", "Div", "Max", "Min", "Mul", "Sub"]

_FLOAT_ONLY = "XNNPACK has it in float only: one rounding behind it"
_TABLE = "a number beside integers: in float, which XNNPACK makes a table of; one rounding"


class _Binary(Rule):
    """One operator of two operands."""

    tflite: ClassVar[str]
    integers: ClassVar[bool] = True
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_elementwise.py",
        "float32": "tests/ops/test_elementwise.py",
    }
    fuses_clamp: ClassVar[bool] = True

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """How many operands, one of them computed, and over how many dimensions they broadcast."""
        if len(node.inputs) != 2:
            return f"there must be 2 operands, got {len(node.inputs)}"
        if all(name in graph.constants for name in node.inputs):
            return f"one operand must be computed, got the constants {list(node.inputs)}"
        result = graph.shape(node.outputs[0])
        shapes = [operand_shape(graph.shape(name), len(result)) for name in node.inputs]
        rank = joined_rank(result, shapes)
        if rank > MAX_BROADCAST_RANK and shapes[0] != shapes[1]:
            said = " and ".join(str(list(graph.shape(name))) for name in node.inputs)
            return f"broadcasting goes over {MAX_BROADCAST_RANK} groups of dimensions, got {rank} in {said}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """The operand of the result's shape keeps whatever order it is in; the other meets it there."""
        quantized = low.graph.values[node.outputs[0]].quant is not None
        reason = self._float_reason(low, node) if quantized else None
        site = low.site(node, integer=quantized and reason is None)
        frame, operands = _operands(site)
        result = site.output(frame.shape)
        why = f"operands in one order, {_order(frame)}" + (f"; {reason}" if reason else "")
        feature = _feature(self.tflite, site, operands, result)
        fused = self.fuses_clamp
        low.builder.emit(self.tflite, operands, (result,), why, feature=feature, fused=fused)
        site.done(result, frame.layout)

    def _float_reason(self, low: Lowering, node: Node) -> str | None:
        """Why operands of a quantized result are computed with in float, or None."""
        if not self.integers:
            return _FLOAT_ONLY
        graph, result = low.graph, low.graph.values[node.outputs[0]].quant
        assert result is not None
        scales = []
        for name in node.inputs:
            constant = graph.constants.get(name)
            if constant is None:
                quant = graph.values[name].quant
                if quant is not None:
                    scales.append(quant.scale)
                    continue
            elif constant.data.size == 1:
                return _TABLE
            elif constant.quant is not None:
                scales += constant.quant.scales.tolist()
                if constant.quant.scales.size == 1 and constant.data.dtype == np.int8:
                    continue
                kind = f"{constant.data.dtype} with {constant.quant.scales.size} scales"
                return f"{name!r} is {kind}: in float, one rounding"
            return f"{name!r} is not quantized: in float, one rounding"
        engine = low.builder.spec.engines["litert"]
        far = ratio_complaint(self.tflite, scales, result.scale, engine, node.inputs)
        return f"{far}, so outside XNNPACK: in float, one rounding" if far else None


def _operands(site: Site) -> tuple[Frame, tuple[int, int]]:
    """The form in which the operands meet, and their tensors in it."""
    graph, planner = site.low.graph, site.low.planner
    logical = graph.shape(site.node.outputs[0])
    shapes = [operand_shape(graph.shape(name), len(logical)) for name in site.node.inputs]
    views: list[View | None] = [
        None if name in graph.constants else _spread(site.view(position), shapes[position])
        for position, name in enumerate(site.node.inputs)
    ]
    base = next((v for v in views if v is not None and v.shape == logical), None)
    if base is None:
        frame = row_major_frame(logical).fitting(shapes)
        frame = frame or Frame(logical, Layout.row_major(logical)).fitting(shapes)
    else:
        first, second = views
        if first is not None and second is not None and first.shape == second.shape:
            first, second = planner.aligned(first, second)
            views, base = [first, second], first
        compact = planner.compact(base)
        frame = Frame(site.builder.tensors[compact.tensor].shape, compact.layout).fitting(shapes)
        if frame is None:
            tensor = planner.physical(base)
            frame = Frame(logical, Layout.row_major(logical)).fitting(shapes)
            compact = View(tensor, Layout.row_major(logical), base.quant)
        views = [compact if v is base else v for v in views]
    assert frame is not None, "joined dimensions in logical order are few: why_not"
    tensors = [
        _constant(site, name, shape, frame) if view is None else frame.tensor(site, view)
        for name, shape, view in zip(site.node.inputs, shapes, views, strict=True)
    ]
    return frame, (tensors[0], tensors[1])


def _spread(view: View, shape: tuple[int, ...]) -> View:
    layout = view.layout.reshape(shape)
    assert layout is not None, "dimensions of size 1 always fit"
    return replace(view, layout=layout)


def _constant(site: Site, name: str, shape: tuple[int, ...], frame: Frame) -> int:
    constant = site.low.graph.constants[name]
    data = constant.data if site.integer else constant.real()
    return plain_constant(site, constant, frame.constant(data.reshape(shape)))


def _feature(op: str, site: Site, operands: tuple[int, int], result: int) -> str:
    """op_version.cc: an integer MUL that multiplies by 1 or more is of a later version."""
    if op != "MUL" or not site.integer:
        return ""
    first, second, out = (site.builder.tensors[i].quantization for i in (*operands, result))
    assert first is not None
    assert second is not None
    assert out is not None
    above = first.scales[0] * second.scales[0] / out.scales[0] >= 1
    return "rescale_above_1" if above else ""


def _order(frame: Frame) -> str:
    layout = frame.layout
    if layout.is_row_major():
        return "logical"
    picture = len(layout.shape) == 4 and layout.permute(NHWC).is_row_major()
    return "NHWC" if picture else str(layout)


class Add(_Binary):
    """ADD."""

    op: ClassVar[str] = "Add"
    versions: ClassVar[tuple[int, ...]] = (7, 13, 14)
    tflite: ClassVar[str] = "ADD"
    nearest: ClassVar[str] = "Add of two operands, one of them computed"
    kernel: ClassVar[str] = "LiteRT tflite/kernels/add.cc; xnnpack_delegate.cc VisitBinaryNode"


class Sub(_Binary):
    """SUB."""

    op: ClassVar[str] = "Sub"
    versions: ClassVar[tuple[int, ...]] = (7, 13, 14)
    tflite: ClassVar[str] = "SUB"
    nearest: ClassVar[str] = "Sub of two operands, one of them computed"
    kernel: ClassVar[str] = "LiteRT tflite/kernels/sub.cc; xnnpack_delegate.cc VisitBinaryNode"


class Mul(_Binary):
    """MUL."""

    op: ClassVar[str] = "Mul"
    versions: ClassVar[tuple[int, ...]] = (7, 13, 14)
    tflite: ClassVar[str] = "MUL"
    nearest: ClassVar[str] = "Mul of two operands, one of them computed"
    kernel: ClassVar[str] = "LiteRT tflite/kernels/mul.cc; xnnpack_delegate.cc VisitBinaryNode"


class Div(_Binary):
    """DIV in float: no engine has it on integers, and a reciprocal would round once more."""

    op: ClassVar[str] = "Div"
    versions: ClassVar[tuple[int, ...]] = (7, 13, 14)
    tflite: ClassVar[str] = "DIV"
    integers: ClassVar[bool] = False
    nearest: ClassVar[str] = "Div of two operands, one of them computed"
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/div.cc; xnnpack_delegate.cc VisitBinaryNode (float32)"
    )


class _Selection(_Binary):
    """MAXIMUM or MINIMUM: in float, without a clamp of its own."""

    integers: ClassVar[bool] = False
    fuses_clamp: ClassVar[bool] = False
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/maximum_minimum.cc; xnnpack_delegate.cc VisitBinaryNode (float32)"
    )


class Max(_Selection):
    """MAXIMUM."""

    op: ClassVar[str] = "Max"
    versions: ClassVar[tuple[int, ...]] = (8, 12, 13)
    tflite: ClassVar[str] = "MAXIMUM"
    nearest: ClassVar[str] = "Max of two operands, one of them computed"


class Min(_Selection):
    """MINIMUM."""

    op: ClassVar[str] = "Min"
    versions: ClassVar[tuple[int, ...]] = (8, 12, 13)
    tflite: ClassVar[str] = "MINIMUM"
    nearest: ClassVar[str] = "Min of two operands, one of them computed"


RULES = (Add(), Sub(), Mul(), Div(), Max(), Min())
