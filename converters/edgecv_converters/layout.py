"""Layout algebra: where each logical element of a tensor lies in a physical, row-major buffer.

A logical dimension is a tuple of factors (size, stride), outer to inner, as in CuTe's layouts. Transpose
permutes dimensions, reshape coalesces the factors and splits them anew, slice moves the offset; none of
them touches data. Only :meth:`Layout.copy_plan` says what it costs to lay the elements out in logical
order: at most one slice and one transpose between reshapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

__all__ = ["CopyPlan", "Factor", "Layout"]


class Factor(NamedTuple):
    """One piece of a logical dimension.

    Attributes:
        size: Number of steps, at least 2 (steps of 1 are dropped).
        stride: Distance of one step in physical elements.
    """

    size: int
    stride: int


Dimension = tuple[Factor, ...]


@dataclass(frozen=True)
class CopyPlan:
    """How to bring the elements of a layout into row-major logical order.

    The steps are performed in the order of the fields; None means that the step is not needed. Reshapes
    (free in every engine, but operators all the same) go between them.

    Attributes:
        slice_shape: Shape to give the physical buffer before slicing.
        begin: Start of the slice in *slice_shape*.
        slice_size: Size of the slice.
        transpose_shape: Shape before the transpose.
        perm: Its permutation.
    """

    slice_shape: tuple[int, ...] | None = None
    begin: tuple[int, ...] | None = None
    slice_size: tuple[int, ...] | None = None
    transpose_shape: tuple[int, ...] | None = None
    perm: tuple[int, ...] | None = None

    @property
    def is_free(self) -> bool:
        """Whether a reshape alone does."""
        return self.slice_shape is None and self.perm is None


@dataclass(frozen=True)
class Layout:
    """Logical tensor as a view of a physical buffer.

    Attributes:
        dims: One tuple of factors per logical dimension, outer to inner; an empty tuple has size 1.
        offset: Physical position of the first element.

    >>> nhwc = Layout.row_major((1, 4, 6, 3))
    >>> nchw = nhwc.permute((0, 3, 1, 2))
    >>> print(nchw)
    [1, 3, 4, 6] : [-, 1, 18, 3]
    >>> print(nchw.reshape((3, 24)))
    [3, 24] : [1, 3]
    """

    dims: tuple[Dimension, ...]
    offset: int = 0

    @classmethod
    def row_major(cls, shape: Sequence[int]) -> Layout:
        """The layout of a contiguous tensor of *shape* (sizes of at least 1)."""
        dims: list[Dimension] = []
        stride = 1
        for size in reversed(shape):
            dims.append(_dimension(size, stride))
            stride *= size
        return cls(tuple(reversed(dims)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical shape."""
        return tuple(prod(f.size for f in dim) for dim in self.dims)

    @property
    def size(self) -> int:
        """Number of logical elements."""
        return prod(self.shape)

    def permute(self, perm: Sequence[int]) -> Layout:
        """Reorder the logical dimensions."""
        return Layout(tuple(self.dims[axis] for axis in perm), self.offset)

    def reshape(self, shape: Sequence[int]) -> Layout | None:
        """Row-major reshape of the logical tensor; None when factors would have to be cut across.

        >>> Layout.row_major((4, 6)).permute((1, 0)).reshape((8, 3)) is None
        True
        """
        if prod(shape) != self.size:
            return None
        pool = list(_coalesce(f for dim in self.dims for f in dim))
        dims: list[Dimension] = []
        for size in reversed(shape):
            taken = _take(pool, size)
            if taken is None:
                return None
            dims.append(_coalesce(taken))
        return Layout(tuple(reversed(dims)), self.offset)

    def slice(self, axis: int, start: int, count: int, step: int = 1) -> Layout | None:
        """*count* elements of one dimension from *start* by *step*; None when it cuts across factors.

        Args:
            axis: Logical dimension, counted from 0.
            start: First index, inside the dimension.
            count: Number of elements, at least 1.
            step: Positive distance.
        """
        if count < 1 or step < 1 or start < 0 or start + (count - 1) * step >= self.shape[axis]:
            return None
        found = _slice_factors(self.dims[axis], start, count, step)
        if found is None:
            return None
        factors, moved = found
        dims = (*self.dims[:axis], factors, *self.dims[axis + 1 :])
        return Layout(dims, self.offset + moved)

    def is_row_major(self) -> bool:
        """Whether logical order is physical order without gaps, from the buffer's start."""
        return self.offset == 0 and _flat(self) == _flat(Layout.row_major(self.shape))

    def fills(self, physical_size: int) -> bool:
        """Whether the view holds every element of a buffer of *physical_size* exactly once."""
        if self.offset or self.size != physical_size:
            return False
        expected = 1
        for factor in sorted(_flat(self), key=lambda f: f.stride):
            if factor.stride != expected:
                return False
            expected *= factor.size
        return True

    def physical_order(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The reshape and the permutation of the logical tensor that follow the physical order.

        Returns:
            Sizes of the logical factors, and the order of those factors by falling stride. Reshaping any
            tensor of the same logical shape so, and permuting it so, aligns it with this one.

        >>> Layout.row_major((1, 2, 2, 3)).permute((0, 3, 1, 2)).physical_order()
        ((3, 4), (1, 0))
        """
        factors = _flat(self)
        order = sorted(range(len(factors)), key=lambda i: -factors[i].stride)
        return tuple(f.size for f in factors), tuple(order)

    def copy_plan(self, physical_size: int) -> CopyPlan | None:
        """How to bring the elements into logical order; None when one slice and one transpose do not do.

        Args:
            physical_size: Elements of the whole buffer.
        """
        factors = _flat(self)
        by_stride = sorted(range(len(factors)), key=lambda i: factors[i].stride)
        # what is read does not depend on the logical order: joined in physical order, runs may start anywhere
        runs = _coalesce(factors[i] for i in reversed(by_stride))
        cut = _cut(runs[::-1], self.offset, physical_size)
        if cut is None:
            return None
        slice_shape, begin, slice_size = cut
        outer_first = list(reversed(by_stride))
        perm = tuple(outer_first.index(i) for i in range(len(factors)))
        plan = CopyPlan()
        if slice_size != slice_shape:
            plan = CopyPlan(slice_shape, begin, slice_size)
        if perm != tuple(range(len(perm))):
            shape = tuple(factors[i].size for i in outer_first)
            plan = CopyPlan(plan.slice_shape, plan.begin, plan.slice_size, shape, perm)
        return plan

    def __str__(self) -> str:
        strides = ["·".join(f"{f.size}x{f.stride}" for f in dim) for dim in self.dims]
        plain = [
            str(dim[0].stride) if len(dim) == 1 else s or "-"
            for dim, s in zip(self.dims, strides, strict=True)
        ]
        at = f" @{self.offset}" if self.offset else ""
        return f"[{', '.join(map(str, self.shape))}] : [{', '.join(plain)}]{at}"


def _dimension(size: int, stride: int) -> Dimension:
    return (Factor(size, stride),) if size != 1 else ()


def _flat(layout: Layout) -> Dimension:
    return _coalesce(f for dim in layout.dims for f in dim)


def _coalesce(factors: Iterable[Factor]) -> Dimension:
    """Join neighbors that together are one evenly strided run."""
    joined: list[Factor] = []
    for factor in factors:
        if joined and joined[-1].stride == factor.size * factor.stride:
            joined[-1] = Factor(joined[-1].size * factor.size, factor.stride)
        else:
            joined.append(factor)
    return tuple(joined)


def _take(pool: list[Factor], size: int) -> list[Factor] | None:
    """Take factors of together *size* from the inner end of *pool*, splitting the last one taken."""
    taken: list[Factor] = []
    while size > 1:
        factor = pool.pop()
        if size % factor.size == 0:
            taken.insert(0, factor)
            size //= factor.size
        elif factor.size % size == 0:
            taken.insert(0, Factor(size, factor.stride))
            pool.append(Factor(factor.size // size, factor.stride * size))
            size = 1
        else:
            return None
    return taken


def _slice_factors(
    dim: Dimension, start: int, count: int, step: int
) -> tuple[Dimension, int] | None:
    if count == 1:
        return (), _position(dim, start)
    outer, inner = dim[0], dim[1:]
    period = prod(f.size for f in inner)
    if not inner:
        return (Factor(count, outer.stride * step),), start * outer.stride
    last = start + (count - 1) * step
    if start // period == last // period:
        found = _slice_factors(inner, start % period, count, step)
        return None if found is None else (found[0], found[1] + start // period * outer.stride)
    if step == 1 and start % period == 0 and count % period == 0:
        return (*_dimension(count // period, outer.stride), *inner), start // period * outer.stride
    if step % period == 0:
        return _dimension(count, outer.stride * (step // period)), _position(dim, start)
    return None


def _position(dim: Dimension, index: int) -> int:
    """Physical distance of one index of a dimension from its first element."""
    position = 0
    for factor in reversed(dim):
        position += index % factor.size * factor.stride
        index //= factor.size
    return position


def _cut(
    rising: Sequence[Factor], offset: int, physical_size: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Shape of the buffer, start and size of the slice (outer to inner) that holds exactly the factors.

    Args:
        rising: Factors by rising stride.
        offset: Of the view.
        physical_size: Elements of the buffer.
    """
    edges = [f.stride for f in rising] + [physical_size]
    sizes = [f.size for f in rising]
    if edges[0] != 1:
        # a gap below the innermost factor: a dimension of which one element is taken
        edges.insert(0, 1)
        sizes.insert(0, 1)
    shape, begin, size = [], [], []
    for count, stride, above in zip(sizes, edges[:-1], edges[1:], strict=True):
        extent, rest = divmod(above, stride)
        first = offset // stride % extent if extent else 0
        if rest or first + count > extent:
            return None
        shape.append(extent)
        begin.append(first)
        size.append(count)
    return tuple(shape[::-1]), tuple(begin[::-1]), tuple(size[::-1])
