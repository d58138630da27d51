"""Operators that run in float, between DEQUANTIZE and QUANTIZE where the values are integers.

One rounding, as ONNX means it; XNNPACK makes a table of a chain of unary operators between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from edgecv_converters.ir import Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.views import View

__all__ = ["lower_unary", "rows", "scalar", "step", "whole"]

#: XNN_MAX_TENSOR_DIMS: the delegate leaves operators on tensors of more dimensions.
_MAX_RANK = 6
#: The builtin kernels broadcast up to here in their first versions (kernels/internal/reference/add.h).
_BROADCAST_RANK = 4


def lower_unary(
    low: Lowering,
    node: Node,
    op: str,
    reason: str,
    options: Mapping[str, int | float | bool | str] | None = None,
) -> None:
    """*node* as one float operator, in whatever order its input lies."""
    site = low.site(node, integer=False)
    view = whole(site, _MAX_RANK)
    result = site.output(low.builder.tensors[view.tensor].shape)
    low.builder.emit(op, (view.tensor,), (result,), reason, options=options)
    site.done(result, view.layout)


def whole(site: Site, max_rank: int = _BROADCAST_RANK) -> View:
    """Input 0 in float, filling its tensor in whatever order; a tensor of more dimensions is flattened."""
    planner = site.low.planner
    view = planner.dequantized(planner.compact(site.low.views[site.node.inputs[0]]))
    shape = site.builder.tensors[view.tensor].shape
    if len(shape) <= max_rank:
        return view
    return View(planner.reshape(view.tensor, (prod(shape),), None), view.layout, None)


def rows(site: Site) -> int:
    """Tensor that holds input 0 in float and in logical order; integers are moved before they grow."""
    planner, view = site.low.planner, site.low.views[site.node.inputs[0]]
    tensor = planner.physical(view)
    layout = Layout.row_major(site.builder.tensors[tensor].shape)
    return planner.dequantized(View(tensor, layout, view.quant)).tensor


def step(
    site: Site,
    op: str,
    inputs: tuple[int, ...],
    label: str,
    reason: str,
    options: Mapping[str, int | float | bool | str] | None = None,
    *,
    shape: tuple[int, ...] | None = None,
) -> int:
    """One float operator inside the chain that computes the node; its result is ``<output>:<label>``.

    Args:
        site: Where the node is lowered.
        op: Name in the schema.
        inputs: Tensor indices.
        label: What it computes.
        reason: Why.
        options: Fields of its options.
        shape: Of the result; by default the first input's.
    """
    shape = site.builder.tensors[inputs[0]].shape if shape is None else shape
    result = site.builder.activation(f"{site.node.outputs[0]}:{label}", shape, None)
    return site.builder.emit(op, inputs, (result,), reason, options=options)


def scalar(site: Site, label: str, value: float) -> int:
    """A float operand that broadcasts, ``<output>:<label>``; shared by all nodes with the same value."""
    data = np.asarray([value], np.float32)
    name = f"{site.node.outputs[0]}:{label}"
    return site.builder.constant(name, data, "parameter", shared=(label, data.tobytes()))
