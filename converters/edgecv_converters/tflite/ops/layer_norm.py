"""Layer normalization over the last dimension."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import numpy as np

from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.floats import rows, scalar, step
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.rules import Rule

__all__ = ["RULES", "LayerNormalization"]

_WHY = "in float: on integers slower, and up to 11 LSB off"


class LayerNormalization(Rule):
    """MEAN, SUB, MUL, MEAN, ADD, RSQRT, MUL, MUL, ADD in float; the difference serves twice.

    The pass fuse-layer-norm makes such nodes of their older spelling; those may lack the scale, and carry
    the name of the constant that is their epsilon.
    """

    op: ClassVar[str] = "LayerNormalization"
    versions: ClassVar[tuple[int, ...]] = (17,)
    nearest: ClassVar[str] = (
        "LayerNormalization(axis=-1) with constant scale and bias, its first output alone"
    )
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_layer_norm.py",
        "float32": "tests/ops/test_layer_norm.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/reduce.cc, sub.cc, mul.cc, elementwise.cc; xnnpack_delegate.cc VisitReduceNode,"
        " VisitBinaryNode, VisitUnaryNode"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Axis, outputs, scale and bias."""
        shape = graph.shape(node.inputs[0])
        axis = int(node.attributes.get("axis", -1))
        if not shape or axis not in (-1, len(shape) - 1):
            return f"axis must be the last of {len(shape)}, got {axis}"
        read = [n for n in node.outputs[1:] if n in graph.consumers or n in graph.outputs]
        if read:
            return f"only the first output may be read, got a reader of {read[0]!r}"
        for kind, name in zip(("scale", "bias"), node.inputs[1:3], strict=False):
            if not name:
                continue
            constant = graph.constants.get(name)
            if constant is None:
                return f"the {kind} must be a constant, got the activation {name!r}"
            if constant.data.size != shape[-1]:
                return f"the {kind} must have {shape[-1]} elements, got {constant.data.size}"
        return None

    def lower(self, low: Lowering, node: Node) -> None:
        """Over rows of a matrix where the value has more dimensions than the kernels broadcast."""
        site = low.site(node, integer=False)
        logical = low.graph.shape(node.inputs[0])
        shape = logical if len(logical) <= 4 else (prod(logical[:-1]), logical[-1])
        values = low.planner.reshape(rows(site), shape, None)
        axis, keep = low.builder.integers((len(shape) - 1,)), {"KeepDims": True}
        column = (*shape[:-1], 1)
        mean = step(site, "MEAN", (values, axis), "mean", _WHY, keep, shape=column)
        centered = step(site, "SUB", (values, mean), "centered", _WHY)
        square = step(site, "MUL", (centered, centered), "square", _WHY)
        variance = step(site, "MEAN", (square, axis), "variance", _WHY, keep, shape=column)
        steady = step(site, "ADD", (variance, _epsilon(site)), "steady", _WHY)
        factor = step(site, "RSQRT", (steady,), "factor", _WHY)
        rest = [("MUL", factor, "normal")]
        for op, position, label in (("MUL", 1, "scaled"), ("ADD", 2, "shifted")):
            name = node.inputs[position] if len(node.inputs) > position else ""
            if name:
                data = low.graph.constants[name].real().reshape(-1)
                rest.append((op, low.builder.constant(name, data, "weight"), label))
        for op, operand, label in rest[:-1]:
            centered = step(site, op, (centered, operand), label, _WHY)
        result = site.output(shape)
        low.builder.emit(rest[-1][0], (centered, rest[-1][1]), (result,), _WHY)
        site.done(result, Layout.row_major(logical))


def _epsilon(site: Site) -> int:
    """The constant under its own name where the source has one, else a parameter of the operator."""
    attributes = site.node.attributes
    name, value = attributes.get("epsilon_name"), float(attributes.get("epsilon", 1e-5))
    if name is None:
        return scalar(site, "epsilon", value)
    return site.builder.constant(
        str(name), np.asarray([value], np.float32), "parameter", shared=str(name)
    )


RULES = (LayerNormalization(),)
