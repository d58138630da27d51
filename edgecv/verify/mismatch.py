"""One difference between an artifact and its source, and the comparisons that find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv.verify.source import Array, channel_first

__all__ = ["LIMIT", "Mismatch", "compare_elements", "compare_per_channel"]

#: Differences listed per tensor and field; a last one says how many there are altogether.
LIMIT = 16


@dataclass(frozen=True)
class Mismatch:
    """One difference.

    Attributes:
        tensor: Its name in the source.
        field: ``"scale"``, ``"zero_point"``, ``"integer"``, ``"value"``, ``"shape"``, ``"dtype"``,
            ``"presence"``, ``"form"`` or ``"clamp"``; of an OpenVINO FakeQuantize ``"lowest_real"``,
            ``"highest_real"``, ``"lowest_integer"`` or ``"highest_integer"``.
        expected: What the source says.
        found: What the artifact has.
        channel: Output channel, or None for a tensor with one scale.
        index: Flat position in the source's order with the output channel first, for elements.

    >>> print(Mismatch("conv1.weight", "integer", 12, 13, channel=3, index=85))
    conv1.weight, channel 3, element 85: integer is 13, the source has 12
    """

    tensor: str
    field: str
    expected: Any
    found: Any
    channel: int | None = None
    index: int | None = None

    def __str__(self) -> str:
        where = "" if self.channel is None else f", channel {self.channel}"
        where += "" if self.index is None else f", element {self.index}"
        return f"{self.tensor}{where}: {self.field} is {self.found}, the source has {self.expected}"


def compare_per_channel(tensor: str, field: str, expected: Array, found: Array) -> list[Mismatch]:
    """Compare scales or zero points, one or one per channel, bit for bit."""
    expected, found = np.atleast_1d(expected), np.atleast_1d(found)
    if expected.shape != found.shape:
        return [Mismatch(tensor, field, f"{expected.size} numbers", f"{found.size} numbers")]
    single = expected.size == 1
    return _listed(
        tensor, field, expected, found, channel=lambda i: None if single else i, indexed=False
    )


def compare_elements(
    tensor: str, field: str, expected: Array, found: Array, axis: int | None
) -> list[Mismatch]:
    """Compare elements bit for bit.

    Args:
        tensor: Name in the source.
        field: What the elements are.
        expected: The source's.
        found: The artifact's, in the source's order. Where that is float16, the source's float32 is
            rounded to it first.
        axis: Dimension of the output channels, or None without channels.
    """
    if expected.shape != found.shape:
        return [Mismatch(tensor, "shape", expected.shape, found.shape)]
    if expected.dtype == np.float32 and found.dtype == np.float16:
        with np.errstate(over="ignore"):
            rounded = expected.astype(np.float16)
        if not np.isfinite(rounded).all():
            return [Mismatch(tensor, "dtype", "float32: float16 cannot hold it", "float16")]
        expected = rounded
    if expected.dtype != found.dtype:
        return [Mismatch(tensor, "dtype", str(expected.dtype), str(found.dtype))]
    per_channel = 0 if axis is None else expected.size // max(expected.shape[axis], 1)
    return _listed(
        tensor,
        field,
        channel_first(expected, axis).ravel(),
        channel_first(found, axis).ravel(),
        channel=lambda i: i // per_channel if per_channel else None,
        indexed=True,
    )


def _listed(
    tensor: str,
    field: str,
    expected: Array,
    found: Array,
    *,
    channel: Callable[[int], int | None],
    indexed: bool,
) -> list[Mismatch]:
    wrong = np.flatnonzero(_bits(expected) != _bits(found)).tolist()
    listed = [
        Mismatch(
            tensor, field, expected[i].item(), found[i].item(), channel(i), i if indexed else None
        )
        for i in wrong[:LIMIT]
    ]
    if len(wrong) > LIMIT:
        listed.append(
            Mismatch(tensor, field, f"all {expected.size} equal", f"{len(wrong)} different")
        )
    return listed


def _bits(values: Array) -> Array:
    """Floats as integers, so that NaN equals itself and -0 differs from 0."""
    if values.dtype.kind != "f":
        return values
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
