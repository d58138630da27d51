"""The physical form in which operands that broadcast meet, and which physical axes a logical dimension has.

The operand of the result's shape stays as it lies; the other one, usually small, is brought into its order
with dimensions of one element where it repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from edgecv_converters.ir import Array, Constant
from edgecv_converters.layout import Layout
from edgecv_converters.plan import Quantization
from edgecv_converters.tflite.lowering import Site
from edgecv_converters.tflite.views import NHWC, View

__all__ = [
    "MAX_BROADCAST_RANK",
    "Frame",
    "axis_marks",
    "joined_rank",
    "operand_shape",
    "plain_constant",
    "row_major_frame",
]

#: The builtin kernels broadcast up to here in their first versions (kernels/internal/reference/add.h).
MAX_BROADCAST_RANK = 4
#: XNN_MAX_TENSOR_DIMS: the delegate leaves operators on tensors of more dimensions.
_MAX_RANK = 6


@dataclass(frozen=True)
class Frame:
    """Physical form of an elementwise result.

    Attributes:
        shape: Physical shape.
        layout: Where the logical elements lie in it; fills it.
    """

    shape: tuple[int, ...]
    layout: Layout

    def fitting(self, logical: Sequence[tuple[int, ...]]) -> Frame | None:
        """This frame, if need be in another shape, so that operands of *logical* shapes can repeat along axes.

        Args:
            logical: Shapes of the operands, as many dimensions as the frame's logical tensor.

        Returns:
            None when that takes more dimensions than kernels broadcast over.
        """
        marks = [_repeats(shape, self.layout) for shape in logical]
        fits = all(axis_marks(self.layout, self.shape, mark) is not None for mark in marks)
        repeated = any(any(mark) for mark in marks)
        if fits and len(self.shape) <= (MAX_BROADCAST_RANK if repeated else _MAX_RANK):
            return self
        merged: list[tuple[int, tuple[bool, ...]]] = []
        for _, dim, factor in _pieces(self.layout):
            mark = tuple(m[dim] for m in marks)
            if merged and merged[-1][1] == mark:
                merged[-1] = (merged[-1][0] * factor, mark)
            else:
                merged.append((factor, mark))
        if len(merged) > MAX_BROADCAST_RANK:
            return None
        return replace(self, shape=tuple(size for size, _ in merged))

    def constant(self, data: Array) -> Array:
        """*data* (as many dimensions as the logical tensor) arranged for this frame."""
        sizes, order, shape = self._arrangement(data.shape)
        arranged = data.reshape(sizes).transpose(order).reshape(shape)
        lengths = [size for size in arranged.shape if size > 1]
        # a number, or a row of them that repeats: without the dimensions in front
        lead = next((i for i, size in enumerate(arranged.shape) if size > 1), arranged.ndim - 1)
        return arranged.reshape(arranged.shape[lead:]) if len(lengths) < 2 else arranged

    def tensor(self, site: Site, view: View) -> int:
        """Planned tensor that holds *view* (as many dimensions as the logical tensor) for this frame."""
        planner = site.low.planner
        sizes, order, shape = self._arrangement(view.shape)
        split = view.layout.reshape(sizes)
        if split is None:
            view = View(planner.physical(view), Layout.row_major(view.shape), view.quant)
            split = view.layout.reshape(sizes)
            assert split is not None, "a row-major tensor splits anywhere"
        own = site.builder.tensors[view.tensor].shape
        same = len(own) <= len(shape) and _without_lead(own) == _without_lead(shape)
        return planner.physical(replace(view, layout=split), order, own if same else shape)

    def _arrangement(
        self, logical: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Sizes to split an operand into, their order, and its shape in the frame."""
        repeats = _repeats(logical, self.layout)
        flat = [
            (1 if repeats[dim] else factor.size, factor.stride)
            for dim, factors in enumerate(self.layout.dims)
            for factor in factors
        ]
        order = sorted(range(len(flat)), key=lambda i: -flat[i][1])
        marks = axis_marks(self.layout, self.shape, repeats)
        assert marks is not None, "the frame fits"
        shape = tuple(1 if mark else size for size, mark in zip(self.shape, marks, strict=True))
        return tuple(size for size, _ in flat), tuple(order), shape


def row_major_frame(logical: tuple[int, ...]) -> Frame:
    """For operands none of which has the result's shape: NHWC for pictures, else logical order."""
    order = NHWC if len(logical) == 4 else tuple(range(len(logical)))
    shape = tuple(logical[axis] for axis in order)
    inverse = tuple(order.index(axis) for axis in range(len(order)))
    return Frame(shape, Layout.row_major(shape).permute(inverse))


def axis_marks(
    layout: Layout, shape: tuple[int, ...], marked: Sequence[bool]
) -> tuple[bool, ...] | None:
    """Which physical axes belong to *marked* logical dimensions.

    Args:
        layout: Fills a tensor of *shape*.
        shape: Physical shape.
        marked: Per logical dimension.

    Returns:
        Per physical axis; False for an axis of one element. None when an axis belongs to both kinds.

    >>> nchw = Layout.row_major((1, 4, 6, 3)).permute((0, 3, 1, 2))
    >>> axis_marks(nchw, (1, 4, 6, 3), (False, True, False, False))
    (False, False, False, True)
    """
    found: list[bool] = []
    stride = prod(shape)
    for size in shape:
        above, stride = stride, stride // size
        kinds = {
            marked[dim]
            for dim, factors in enumerate(layout.dims)
            for factor in factors
            if size > 1 and factor.stride < above and stride < factor.stride * factor.size
        }
        if len(kinds) > 1:
            return None
        found.append(kinds.pop() if kinds else False)
    return tuple(found)


def joined_rank(result: tuple[int, ...], operands: Sequence[tuple[int, ...]]) -> int:
    """Dimensions that are left when neighbors that repeat in the same operands are joined."""
    kinds = [
        tuple(shape[i] == 1 for shape in operands) for i, size in enumerate(result) if size > 1
    ]
    return sum(1 for i, kind in enumerate(kinds) if not i or kind != kinds[i - 1])


def operand_shape(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """*shape* with dimensions of one element in front."""
    return (1,) * (rank - len(shape)) + shape


def plain_constant(site: Site, constant: Constant, data: Array) -> int:
    """Plan *constant*, arranged as *data*: its integers with their parameters, or real values."""
    quantization = None
    if site.integer and constant.quant is not None:
        scales, zeros = constant.quant.scales, constant.quant.zero_points
        quantization = Quantization(tuple(scales.tolist()), tuple(zeros.tolist()))
    return site.builder.constant(constant.name, data, "weight", quantization)


def _repeats(logical: tuple[int, ...], layout: Layout) -> tuple[bool, ...]:
    """Per dimension, whether an operand repeats along it."""
    return tuple(size == 1 and full > 1 for size, full in zip(logical, layout.shape, strict=True))


def _pieces(layout: Layout) -> list[tuple[int, int, int]]:
    """(stride, logical dimension, size) of the factors, outer to inner."""
    found = [(f.stride, dim, f.size) for dim, factors in enumerate(layout.dims) for f in factors]
    return sorted(found, reverse=True)


def _without_lead(shape: tuple[int, ...]) -> tuple[int, ...]:
    lead = next((i for i, size in enumerate(shape) if size > 1), len(shape))
    return shape[lead:]
