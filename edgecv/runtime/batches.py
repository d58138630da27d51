"""Other numbers of pictures than a file takes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError
from edgecv.spec.types import TensorSpec
from edgecv_runtimes.base import Array

__all__ = ["in_batches", "is_other_batch"]


def is_other_batch(
    array: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, outputs: tuple[TensorSpec, ...]
) -> bool:
    """Whether *array* fits but for the number of pictures, and the outputs keep those apart.

    Args:
        array: What was given.
        shape: What the file wants, the batch first.
        dtype: Likewise.
        outputs: Of the model; each must have the batch first, too.
    """
    return (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and len(shape) > 1
        and array.shape[1:] == shape[1:]
        and len(array) > 0
        and all(len(spec.shape) > 1 and spec.shape[0] == shape[0] for spec in outputs)
    )


def in_batches(
    infer: Callable[[Mapping[str, Array]], dict[str, Array]],
    feeds: Mapping[str, Array],
    inputs: tuple[TensorSpec, ...],
) -> dict[str, Array]:
    """As many calls as the file's own batch needs; the last one is filled up and cut.

    Args:
        infer: Runs exactly one batch.
        feeds: Arrays that pass :func:`is_other_batch`.
        inputs: Of the model.

    Returns:
        Output name → array with as many entries as *feeds* have.

    Raises:
        InputError: The inputs hold different numbers of pictures.
    """
    counts, sizes = {len(array) for array in feeds.values()}, {spec.shape[0] for spec in inputs}
    if len(counts) != 1 or len(sizes) != 1:
        held = {name: len(array) for name, array in feeds.items()}
        raise InputError(
            f"the inputs hold different numbers of pictures: {held}",
            cure=f"Give the same number in each, or {sorted(sizes)} as the file has them.",
        )
    [count], [size] = counts, sizes
    parts = []
    for start in range(0, count, size):
        # a whole batch is a view; only the last may have to be filled up
        part = slice(start, start + size)
        rows: Any = (
            part if start + size <= count else np.minimum(np.arange(size) + start, count - 1)
        )
        parts.append(infer({name: array[rows] for name, array in feeds.items()}))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
