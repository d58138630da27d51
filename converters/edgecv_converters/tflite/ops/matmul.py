"""MatMul: of two activations, or with a constant on either side."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from edgecv.spec.types import QuantParams
from edgecv_converters.ir import Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.tflite.lowering import Lowering, Site
from edgecv_converters.tflite.ops.linear import lower_linear
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import View
from edgecv_converters.tflite.weights import weight_complaint

__all__ = ["RULES", "MatMul", "bridge_noise", "symmetric"]

#: kernels/batch_matmul.cc, Prepare.
_RANKS = (2, 5)
#: Noise of a bridge (:func:`bridge_noise`) from which on the product runs in float instead: docs/design/0003.
_MAX_BRIDGE_NOISE: Final = 0.7
#: Root mean square of an operand, as a part of what its grid spans: 0.12 to 0.20 measured, 0.15 in the mean,
#: over 40 operands of MobileViT, LeViT and EfficientViT.
_SPREAD: Final = 0.15


class MatMul(Rule):
    """FULLY_CONNECTED where one operand is a constant matrix, else BATCH_MATMUL."""

    op: ClassVar[str] = "MatMul"
    versions: ClassVar[tuple[int, ...]] = (1, 9, 13)
    nearest: ClassVar[str] = (
        "MatMul of two activations of 2 to 5 dimensions, or of one with a constant matrix"
    )
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_matmul.py, tests/ops/test_linear.py",
        "float32": "tests/ops/test_matmul.py, tests/ops/test_linear.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/fully_connected.cc, batch_matmul.cc; xnnpack_delegate.cc VisitFullyConnectedNode,"
        " VisitBatchMatMulNode (zero point 0 on the right)"
    )
    fuses_clamp: ClassVar[bool] = True

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Ranks, and the weight where there is one."""
        constants = [name in graph.constants for name in node.inputs[:2]]
        ranks = tuple(len(graph.shape(name)) for name in node.inputs[:2])
        if all(constants):
            return f"one operand must be computed, got the constants {list(node.inputs[:2])}"
        wanted = [(2, 2) if constant else _RANKS for constant in constants]
        if any(not low <= rank <= high for rank, (low, high) in zip(ranks, wanted, strict=True)):
            least, most = _RANKS
            return f"operands must have {least} to {most} dimensions, constants 2, got {ranks}"
        if constants[1]:
            return weight_complaint(graph, node, channel_axis=1)
        return weight_complaint(graph, _mirrored(node), channel_axis=0) if constants[0] else None

    def takes_clamp(self, graph: Graph, node: Node) -> bool:
        """BATCH_MATMUL has none."""
        return any(name in graph.constants for name in node.inputs[:2])

    def lower(self, low: Lowering, node: Node) -> None:
        """By which operand is a constant."""
        if node.inputs[1] in low.graph.constants:
            lower_linear(low, node, transposed=False)
        elif node.inputs[0] in low.graph.constants:
            _constant_left(low, _mirrored(node))
        else:
            _two_activations(low, node)


def _mirrored(node: Node) -> Node:
    """(A B)ᵀ = Bᵀ Aᵀ: the same product with its operands exchanged."""
    return replace(node, inputs=(node.inputs[1], node.inputs[0]))


def _constant_left(low: Lowering, node: Node) -> None:
    """FULLY_CONNECTED of the transposed activation; the result is a transposed view."""
    rank = len(low.graph.shape(node.inputs[0]))
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    why = "constant left operand: the transposed product"
    lower_linear(low, node, transposed=True, order=swapped, why=why)


def _two_activations(low: Lowering, node: Node) -> None:
    """BATCH_MATMUL; an operand that lies transposed in memory is read so."""
    graph = low.graph
    names = (*node.inputs, *node.outputs)
    integer = all(graph.values[name].quant is not None for name in names)
    reason = _float_reason(graph, node) if integer else None
    if reason is not None:
        low.warnings.append(f"MatMul {node.name!r} runs in float: {reason}")
        low.float_products += node.sources
    site = low.site(node, integer=integer and reason is None)
    left, right = site.view(0), site.view(1)
    if right.quant is not None and right.quant.zero_point:
        zero = right.quant.zero_point
        why = f"XNNPACK multiplies integers by zero point 0 on the right only, here {zero}"
        right = low.planner.bridged(right, symmetric(right.quant), "symmetric", why)
    adjoint_left = _is_free(site, left, swap=True) and not _is_free(site, left, swap=False)
    adjoint_right = _reads_transposed(site, right)
    operands = (
        low.planner.physical(left, _swap(left, adjoint_left)),
        low.planner.physical(right, _swap(right, adjoint_right)),
    )
    shape = graph.shape(node.outputs[0])
    result = site.output(shape)
    turned = [side for side, is_so in (("left", adjoint_left), ("right", adjoint_right)) if is_so]
    low.builder.emit(
        "BATCH_MATMUL",
        operands,
        (result,),
        "two activations"
        + (f", {' and '.join(turned)} as transposed" if turned else "")
        + (f"; in float: {reason}" if reason else ""),
        macs=int(np.prod(shape)) * left.shape[-1],
        options={"AdjX": adjoint_left, "AdjY": adjoint_right},
    )
    site.done(result, Layout.row_major(shape))


def _float_reason(graph: Graph, node: Node) -> str | None:
    """Why a product that the source quantizes is better computed in float, or None."""
    left, right, result = (
        graph.values[name].quant for name in (*node.inputs[:2], *node.outputs[:1])
    )
    assert left is not None
    assert right is not None
    assert result is not None
    if not right.zero_point:
        return None
    producer = graph.producers.get(node.inputs[0])
    weights = producer is not None and producer.op == "Softmax" and not producer.domain
    columns = graph.shape(node.inputs[0])[-1]
    noise = bridge_noise(left, right, result, None if weights else columns)
    if noise <= _MAX_BRIDGE_NOISE:
        return None
    return (
        f"its right operand {node.inputs[1]!r} has zero point {right.zero_point}, which XNNPACK does not multiply"
        f" in integers, and rounding it once more to zero point 0 would add noise of {noise:.2f} LSB"
        f" (more than {_MAX_BRIDGE_NOISE:g})"
    )


def bridge_noise(
    left: QuantParams, right: QuantParams, result: QuantParams, columns: int | None
) -> float:
    """Noise that rounding the right operand of a product to :func:`symmetric` adds, root mean square.

    A rounding to steps of s has the variance s^2 / 12, which a row of the left operand multiplies by the sum
    of its squares: *columns* times what is usual for its grid; at most 1 where the row are weights that sum
    to 1.

    Args:
        left: Grid of the left operand.
        right: Grid of the right operand, as the source has it.
        result: Grid of the product.
        columns: Of the left operand; None behind a Softmax.

    Returns:
        In steps of *result* (LSB).

    >>> grid = QuantParams(0.25, 9)
    >>> round(bridge_noise(grid, grid, QuantParams(8.0, 0), 16), 3)
    0.372
    """
    length = 1.0 if columns is None else _SPREAD * 255 * left.scale * columns**0.5
    return symmetric(right).scale * length / (12**0.5 * result.scale)


def symmetric(quant: QuantParams) -> QuantParams:
    """The finest grid with zero point 0 that holds all that *quant* represents.

    >>> symmetric(QuantParams(1.0, -128, "int8"))
    QuantParams(scale=2.007874011993408, zero_point=0, dtype='int8')
    """
    reach = max(128 + quant.zero_point, 127 - quant.zero_point)
    return QuantParams(float(np.float32(quant.scale * reach / 127)), 0, "int8")


def _swap(view: View, adjoint: bool) -> tuple[int, ...]:
    rank = len(view.shape)
    return (*range(rank - 2), rank - 1, rank - 2) if adjoint else tuple(range(rank))


def _is_free(site: Site, view: View, *, swap: bool) -> bool:
    total = int(np.prod(site.builder.tensors[view.tensor].shape))
    plan = view.layout.permute(_swap(view, swap)).copy_plan(total)
    return plan is not None and plan.is_free


def _reads_transposed(site: Site, right: View) -> bool:
    """Whether the right operand is read as its transpose: where that is free, or moves whole rows."""
    for swap in (False, True):
        if _is_free(site, right, swap=swap):
            return swap
    rows, columns = right.layout.dims[-2:]
    return bool(rows) and (not columns or rows[-1].stride < columns[-1].stride)


RULES = (MatMul(),)
