"""Shapes in which a slice or a transpose is written, so that fewer reshapes stand around it.

A copy plan counts in joined dimensions: [20, 3] where the tensor is [1, 4, 5, 3]. Written in the tensor's
own dimensions, and in those that the consumer wants, the same operator needs no RESHAPE before or behind it.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

__all__ = ["fit_slice", "fit_transpose"]

Shape = tuple[int, ...]
#: More dimensions than these need later operator versions than the plain form (op_version.cc).
_MAX_RANK = 5


def fit_slice(
    shape: Shape, joined: Shape, begin: Shape, size: Shape
) -> tuple[Shape, Shape, Shape] | None:
    """Shape, begin and size of a slice in the dimensions of *shape*, or None when it cuts across them.

    Args:
        shape: Of the tensor.
        joined: The shape that the slice counts in; as many elements.
        begin: Its start.
        size: Its size.

    >>> fit_slice((1, 4, 5, 6), (20, 6), (0, 2), (20, 3))
    ((1, 4, 5, 6), (0, 0, 0, 2), (1, 4, 5, 3))
    """
    groups = _groups(joined, shape)
    if groups is None or len(shape) > _MAX_RANK:
        return None
    begins: list[int] = []
    sizes: list[int] = []
    for group, start, count in zip(groups, begin, size, strict=True):
        # every dimension but the first of more than one element must be whole
        lead = next((i for i, extent in enumerate(group) if extent > 1), 0)
        inner = prod(group[lead + 1 :])
        if start % inner or count % inner:
            return None
        begins += [0] * lead + [start // inner] + [0] * len(group[lead + 1 :])
        sizes += [*group[:lead], count // inner, *group[lead + 1 :]]
    return shape, tuple(begins), tuple(sizes)


def fit_transpose(shape: Shape, joined: Shape, perm: Shape, wanted: Shape) -> tuple[Shape, Shape]:
    """Shape and permutation of the same transpose with the fewest reshapes around it.

    Args:
        shape: Of the tensor.
        joined: The shape that the transpose counts in.
        perm: Its permutation.
        wanted: Shape that the consumer wants the result in.

    >>> fit_transpose((1, 4, 5, 3), (20, 3), (1, 0), (1, 3, 4, 5))
    ((1, 4, 5, 3), (0, 3, 1, 2))
    """
    plain = [[size] for size in joined]
    found = [plain]
    for sides in (("after",), ("before",), ("after", "before")):
        pieces: list[list[int]] | None = plain
        for side in sides:
            if pieces is not None and side == "before":
                pieces = _refined(pieces, shape)
            elif pieces is not None:
                finer = _refined([pieces[axis] for axis in perm], wanted)
                pieces = finer and [finer[perm.index(i)] for i in range(len(perm))]
        if pieces is not None:
            found.append(pieces)
    forms = [_written(pieces, perm, shape, wanted) for pieces in found]
    return min(forms, key=lambda form: _cost(form, shape, wanted))


def _cost(form: tuple[Shape, Shape], shape: Shape, wanted: Shape) -> tuple[int, int, int]:
    before, perm = form
    after = tuple(before[axis] for axis in perm)
    return int(len(perm) > _MAX_RANK), int(before != shape) + int(after != wanted), len(perm)


def _written(
    pieces: list[list[int]], perm: Shape, shape: Shape, wanted: Shape
) -> tuple[Shape, Shape]:
    """Shape and permutation, dimensions of one element put where the tensor or the consumer has them."""
    before = [(i, j) for i, group in enumerate(pieces) for j in range(len(group))]
    after = [(i, j) for i in perm for j in range(len(pieces[i]))]
    sizes = tuple(pieces[i][j] for i, j in before)
    moved = tuple(pieces[i][j] for i, j in after)
    plain = tuple(before.index(key) for key in after)
    fits_before, fits_after = _squeezed(shape) == sizes, _squeezed(wanted) == moved
    if fits_before and fits_after and len(shape) != len(wanted):
        # one of the two needs a reshape for its dimensions of one element alone
        fits_after = False
    if not fits_before and not fits_after:
        return sizes, plain
    model = shape if fits_before else wanted
    order = [axis for axis, size in enumerate(model) if size > 1]
    ones = [axis for axis, size in enumerate(model) if size == 1]
    if not fits_before:
        # the source may put its ones anywhere: in front
        place = dict(zip(plain, order, strict=True))
        source = [place[i] for i in range(len(sizes))]
        by_place = {axis: len(ones) + source.index(axis) for axis in order}
        by_place |= {axis: i for i, axis in enumerate(ones)}
        return (1,) * len(ones) + sizes, tuple(by_place[axis] for axis in range(len(model)))
    if not fits_after:
        return shape, (*ones, *(order[i] for i in plain))
    rest, free = iter(order[i] for i in plain), iter(ones)
    return shape, tuple(next(free) if size == 1 else next(rest) for size in wanted)


def _refined(pieces: list[list[int]], order: Shape) -> list[list[int]] | None:
    """*pieces* split at the borders of *order* too, or None when a border is no multiple."""
    borders = {1}
    for sizes in (order, [size for group in pieces for size in group]):
        done = 1
        for size in reversed(sizes):
            done *= size
            borders.add(done)
    rising = sorted(borders)
    if any(upper % lower for lower, upper in pairwise(rising)):
        return None
    steps = [upper // lower for lower, upper in pairwise(rising)]
    split: list[list[int]] = []
    for group in reversed(pieces):
        taken: list[int] = []
        while prod(taken) < prod(group):
            taken.insert(0, steps.pop(0))
        split.insert(0, taken)
    return split


def _groups(joined: Shape, shape: Shape) -> list[Shape] | None:
    """*shape* cut into runs whose products are *joined*, or None."""
    groups: list[Shape] = []
    rest = list(shape)
    for size in joined:
        taken: list[int] = []
        while rest and (prod(taken) < size or (rest[0] == 1 and not taken)):
            taken.append(rest.pop(0))
        if prod(taken) != size:
            return None
        groups.append(tuple(taken))
    if groups and prod(rest) == 1:
        groups[-1] = (*groups[-1], *rest)
    return groups


def _squeezed(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)
