"""The layout algebra against NumPy: a layout is an index array that never had to be written down."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv_converters.layout import CopyPlan, Layout


def positions(layout: Layout) -> np.ndarray:
    """Physical index of every logical element."""
    axes = []
    for dim in layout.dims:
        steps = [np.arange(f.size) * f.stride for f in dim]
        axes.append([sum(pick) for pick in itertools.product(*steps)])
    index = np.array([sum(pick) for pick in itertools.product(*axes)], np.int64)
    return (index + layout.offset).reshape(layout.shape)


def divisors(size: int) -> list[int]:
    return [d for d in range(1, size + 1) if size % d == 0]


@st.composite
def shapes(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """Any shape of *size* elements."""
    shape: list[int] = []
    while size > 1 and len(shape) < 4:
        shape.append(draw(st.sampled_from(divisors(size))))
        size //= shape[-1]
    return (*shape, size)


@st.composite
def walks(draw: st.DrawFn) -> tuple[Layout, np.ndarray, int]:
    """A layout after some permutes, reshapes and slices, and NumPy's index array after the same ones."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4))
    size = prod(shape)
    layout, index = Layout.row_major(shape), np.arange(size).reshape(shape)
    for step in draw(st.lists(st.sampled_from(["permute", "reshape", "slice"]), max_size=5)):
        moved: Layout | None
        if step == "permute":
            perm = draw(st.permutations(range(index.ndim)))
            moved, wanted = layout.permute(perm), index.transpose(perm)
        elif step == "reshape":
            new = draw(shapes(index.size))
            moved, wanted = layout.reshape(new), index.reshape(new)
        else:
            axis = draw(st.integers(0, index.ndim - 1))
            stride = draw(st.integers(1, 2))
            start = draw(st.integers(0, index.shape[axis] - 1))
            count = draw(st.integers(1, (index.shape[axis] - 1 - start) // stride + 1))
            moved = layout.slice(axis, start, count, stride)
            cut = slice(start, start + (count - 1) * stride + 1, stride)
            wanted = index[(slice(None),) * axis + (cut,)]
        if moved is not None:
            layout, index = moved, wanted
    return layout, index, size


def perform(plan: CopyPlan, data: np.ndarray) -> np.ndarray:
    if plan.slice_shape is not None:
        assert plan.begin is not None
        assert plan.slice_size is not None
        cut = tuple(slice(b, b + s) for b, s in zip(plan.begin, plan.slice_size, strict=True))
        data = data.reshape(plan.slice_shape)[cut]
    if plan.perm is not None:
        assert plan.transpose_shape is not None
        data = data.reshape(plan.transpose_shape).transpose(plan.perm)
    return data.ravel()


@given(walks())
@settings(max_examples=300, deadline=None)
def test_layout_equals_numpy(walk: tuple[Layout, np.ndarray, int]) -> None:
    layout, index, size = walk
    assert layout.shape == index.shape
    assert (positions(layout) == index).all()
    assert layout.is_row_major() == (index.ravel() == np.arange(index.size)).all()
    assert layout.fills(size) == (sorted(index.ravel()) == list(range(size)))


@given(walks())
@settings(max_examples=300, deadline=None)
def test_copy_plan_gathers_the_elements(walk: tuple[Layout, np.ndarray, int]) -> None:
    layout, index, size = walk
    plan = layout.copy_plan(size)
    if plan is None:
        # only a slice can make a view that one slice and one transpose do not gather
        assert not layout.fills(size)
        return
    assert (perform(plan, np.arange(size)) == index.ravel()).all()
    if layout.is_row_major() and layout.size == size:
        assert plan.is_free


@given(walks(), st.data())
@settings(max_examples=300, deadline=None)
def test_what_one_slice_reads_stays_so(
    walk: tuple[Layout, np.ndarray, int], data: st.DataObject
) -> None:
    """Neither a permutation nor a reshape makes a view that SLICE can read into one that it cannot."""
    layout, _, size = walk
    if layout.copy_plan(size) is None:
        return
    layout = layout.permute(data.draw(st.permutations(range(len(layout.shape)))))
    assert layout.copy_plan(size) is not None
    moved = layout.reshape(data.draw(shapes(layout.size)))
    if moved is not None:
        assert moved.copy_plan(size) is not None


@given(walks())
@settings(max_examples=200, deadline=None)
def test_physical_order_aligns_another_tensor(walk: tuple[Layout, np.ndarray, int]) -> None:
    layout, index, _ = walk
    sizes, order = layout.physical_order()
    aligned = index.reshape(sizes).transpose(order).ravel()
    # brought into that order, the elements rise through the buffer
    assert (np.diff(aligned) > 0).all()


def test_reshape_refuses_other_sizes_and_cut_factors() -> None:
    layout = Layout.row_major((4, 6))
    assert layout.reshape((5, 5)) is None
    assert layout.permute((1, 0)).reshape((8, 3)) is None
    assert layout.permute((1, 0)).reshape((2, 3, 2, 2)) is not None


def test_slice_refuses_what_lies_outside() -> None:
    layout = Layout.row_major((4, 6))
    assert layout.slice(0, 3, 2) is None
    assert layout.slice(0, 0, 0) is None
    assert layout.slice(1, 1, 5) is not None


def test_window_partition_is_one_transpose() -> None:
    """MobileViT's unfold: NCHW reshape, transpose, reshape, transpose, reshape become one 5-D transpose."""
    nchw = Layout.row_major((1, 8, 8, 6)).permute((0, 3, 1, 2))
    view = nchw.reshape((6 * 4, 2, 4, 2))
    assert view is not None
    view = view.permute((0, 2, 1, 3)).reshape((1, 6, 16, 4))
    assert view is not None
    plan = view.permute((0, 3, 2, 1)).reshape((4, 16, 6)).copy_plan(1 * 8 * 8 * 6)  # type: ignore[union-attr]
    assert plan is not None
    assert plan.slice_shape is None
    assert plan.perm is not None
    assert len(plan.perm) <= 5
