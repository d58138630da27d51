"""Slices and transposes written in other dimensions are the same slices and transposes."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv_converters.tflite.fitting import fit_slice, fit_transpose

SIZES = st.lists(st.sampled_from([2, 3, 4, 6]), min_size=1, max_size=4)


@st.composite
def spellings(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """Any shape of *size* elements, ones among them."""
    shape: list[int] = []
    while size > 1 and len(shape) < 4:
        shape.append(draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
        size //= shape[-1]
    return (*shape, size)


@given(SIZES, st.data())
@settings(max_examples=400, deadline=None)
def test_transpose(joined: list[int], data: st.DataObject) -> None:
    perm = tuple(data.draw(st.permutations(range(len(joined)))))
    size = prod(joined)
    shape, wanted = data.draw(spellings(size)), data.draw(spellings(size))
    before, order = fit_transpose(shape, tuple(joined), perm, wanted)
    elements = np.arange(size)
    result = elements.reshape(before).transpose(order)
    assert (result.ravel() == elements.reshape(joined).transpose(perm).ravel()).all()


@given(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=2, max_size=4), st.data())
@settings(max_examples=200, deadline=None)
def test_no_reshape_around_a_permutation_of_whole_dimensions(
    shape: list[int], data: st.DataObject
) -> None:
    perm = tuple(data.draw(st.permutations(range(len(shape)))))
    wanted = tuple(shape[axis] for axis in perm)
    # joined as the layout algebra joins: ones dropped, neighbors that stay neighbors together
    kept = [axis for axis in perm if shape[axis] > 1]
    runs: list[list[int]] = []
    for axis in kept:
        between = range(runs[-1][-1] + 1, axis) if runs else range(0)
        if runs and axis > runs[-1][-1] and all(shape[b] == 1 for b in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    if len(runs) < 2:
        return
    in_source = sorted(runs)
    joined = tuple(prod(shape[a] for a in run) for run in in_source)
    joined_perm = tuple(in_source.index(run) for run in runs)
    before, order = fit_transpose(tuple(shape), joined, joined_perm, wanted)
    assert before == tuple(shape)
    assert tuple(before[axis] for axis in order) == wanted


@given(SIZES, st.data())
@settings(max_examples=300, deadline=None)
def test_slice(joined: list[int], data: st.DataObject) -> None:
    size = prod(joined)
    begin = tuple(data.draw(st.integers(0, extent - 1)) for extent in joined)
    count = tuple(
        data.draw(st.integers(1, extent - b)) for extent, b in zip(joined, begin, strict=True)
    )
    fitted = fit_slice(data.draw(spellings(size)), tuple(joined), begin, count)
    if fitted is None:
        return
    elements = np.arange(size)

    def cut(shape: tuple[int, ...], begin: tuple[int, ...], count: tuple[int, ...]) -> np.ndarray:
        where = tuple(slice(b, b + c) for b, c in zip(begin, count, strict=True))
        return elements.reshape(shape)[where].ravel()

    assert (cut(*fitted) == cut(tuple(joined), begin, count)).all()


def test_pictures_need_no_reshape() -> None:
    assert fit_transpose((1, 4, 5, 3), (20, 3), (1, 0), (1, 3, 4, 5)) == (
        (1, 4, 5, 3),
        (0, 3, 1, 2),
    )
    assert fit_transpose((1, 60), (20, 3), (1, 0), (1, 60)) == ((20, 3), (1, 0))
    assert fit_slice((1, 4, 5, 6), (20, 6), (0, 2), (20, 3)) == (
        (1, 4, 5, 6),
        (0, 0, 0, 2),
        (1, 4, 5, 3),
    )
    assert fit_slice((4, 5), (10, 2), (1, 0), (3, 1)) is None
