"""Arrays of numbers in a JSON document: short on the way out, checked on the way in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.errors import ModelLoadError

__all__ = ["Reader", "damaged_profile", "plain"]

Array = npt.NDArray[np.float64]

#: No profile of ours comes near; a document that claims more is not read.
_MOST: Final = 500_000
_LARGEST: Final = 1e12


def damaged_profile(reason: str) -> ModelLoadError:
    """The error for a profile that cannot be read."""
    return ModelLoadError(
        f"its drift profile is damaged: {reason}",
        cure="Make it again: edgecv drift profile MODEL --data PICTURES --overwrite",
    )


def plain(array: npt.NDArray[Any], digits: int = 5) -> list[Any]:
    """Nested lists of numbers with *digits* significant digits; integers stay integers.

    >>> plain(np.array([[0.123456789, 2.0]]), 3), plain(np.array([3]))
    ([[0.123, 2.0]], [3])
    """
    if array.ndim > 1:
        return [plain(row, digits) for row in array]
    if array.dtype.kind in "iu":
        return [int(v) for v in array]
    return [float(f"{v:.{digits}g}") for v in array]


class Reader:
    """The keys of one object, each checked when taken.

    Args:
        values: The object.
        where: Its place in the document, for messages.

    Raises:
        ModelLoadError: It is no object.
    """

    def __init__(self, values: Any, where: str = "") -> None:
        if not isinstance(values, Mapping):
            raise damaged_profile(f"{where or 'it'} is {_short(values)}, not an object")
        self._values, self._where = values, where

    def take(self, key: str) -> Any:
        """Any value."""
        if key not in self._values:
            raise damaged_profile(f"{self.place(key)} is missing")
        return self._values[key]

    def place(self, key: str) -> str:
        """Name of a key in messages."""
        return f"{self._where}.{key}" if self._where else key

    def wrong(self, key: str, expected: str) -> ModelLoadError:
        """The error for a value that is not what it should be."""
        return damaged_profile(f"{self.place(key)} is {_short(self.take(key))}, not {expected}")

    def object(self, key: str) -> Reader:
        """An object."""
        return Reader(self.take(key), self.place(key))

    def keys(self) -> tuple[str, ...]:
        """Names in the object."""
        if not all(isinstance(key, str) for key in self._values):
            raise damaged_profile(f"{self._where or 'it'} has keys that are no text")
        return tuple(self._values)

    def text(self, key: str) -> str:
        """Text of at most 200 characters."""
        value = self.take(key)
        if not isinstance(value, str) or len(value) > 200:
            raise self.wrong(key, "a short text")
        return value

    def number(self, key: str, low: float = -_LARGEST, high: float = _LARGEST) -> float:
        """A finite number in [low, high]."""
        value = self.take(key)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer in [low, high]."""
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"an integer from {low} to {high}")
        return value

    def names(self, key: str, expected: tuple[str, ...]) -> None:
        """A list of exactly these texts: what the numbers of the profile mean."""
        if self.take(key) != list(expected):
            raise damaged_profile(f"{self.place(key)} is of another version of edgecv")

    def array(
        self,
        key: str,
        shape: tuple[int | None, ...],
        *,
        low: float = -_LARGEST,
        high: float = _LARGEST,
        ascending: bool = False,
    ) -> Array:
        """Numbers in [low, high]: float64 of *shape*, where None is any length from 1.

        Args:
            key: Its name.
            shape: One or two dimensions.
            low: Least value.
            high: Largest value.
            ascending: Require it of the numbers, or of the first column.
        """
        value = self.take(key)
        rows = value if len(shape) == 2 else [value]
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise self.wrong(key, "a list of numbers" if len(shape) == 1 else "a list of lists")
        widths = {len(row) for row in rows}
        expected = shape[-1]
        bad_width = (
            len(widths) != 1 or 0 in widths or (expected is not None and widths != {expected})
        )
        bad_height = len(shape) == 2 and shape[0] not in (None, len(rows))
        if bad_width or bad_height or len(rows) * max(widths, default=0) > _MOST:
            raise damaged_profile(f"{self.place(key)} has another shape than {_shape(shape)}")
        if not all(_is_number(v) and low <= v <= high for row in rows for v in row):
            raise damaged_profile(
                f"{self.place(key)} holds something other than numbers from {low:g} to {high:g}"
            )
        table = np.array(rows, np.float64)
        if ascending and (np.diff(table[:, 0] if len(shape) == 2 else table[0]) < 0).any():
            raise damaged_profile(f"{self.place(key)} does not ascend")
        return table if len(shape) == 2 else np.asarray(table[0])

    def indices(self, key: str, length: int | None, low: int, high: int) -> npt.NDArray[np.int64]:
        """Integers in [low, high]: int64 [length]."""
        table = self.array(key, (length,), low=low, high=high)
        if (table != np.rint(table)).any():
            raise self.wrong(key, "a list of integers")
        return table.astype(np.int64)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return str(["any" if size is None else size for size in shape])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
