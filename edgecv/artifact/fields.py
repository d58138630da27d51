"""A strict reader of one JSON object: values are checked when taken, unknown keys are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from edgecv.errors import EdgecvError, ModelLoadError

__all__ = ["Fields", "damaged"]

T = TypeVar("T")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def damaged(reason: str) -> ModelLoadError:
    """The error for a manifest that cannot be read, with *reason* inside."""
    return ModelLoadError(
        f"its manifest is damaged: {reason}",
        cure="Copy the file again from where it was made, or convert it again.",
    )


class Fields:
    """The keys of one object.

    Args:
        values: The object.
        where: Its place in the document, for messages; empty for the document itself.
        error: Makes the error from what is wrong.
    """

    def __init__(
        self, values: Any, where: str, error: Callable[[str], EdgecvError] = damaged
    ) -> None:
        if not isinstance(values, Mapping):
            raise error(f"{where or 'it'} is {_short(values)}, not an object")
        self.where = where
        self._error = error
        self._values = values
        self._known: set[str] = set()
        self._nested: dict[str, Any] = {}

    def wrong(self, key: str, expected: str) -> EdgecvError:
        """The error for a value that is not what it should be."""
        return self._error(f"{self._path(key)} is {_short(self._values.get(key))}, not {expected}")

    def skip(self, *keys: str) -> None:
        """Say that *keys* are known and handled elsewhere."""
        self._known.update(keys)

    def text(self, key: str) -> str:
        """A string."""
        value = self._take(key)
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def choice(self, key: str, known: Sequence[str]) -> str:
        """One of *known*."""
        value = self.text(key)
        if value not in known:
            raise self.wrong(key, f"one of {', '.join(known)}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._take(key)
        if not _is_number(value):
            raise self.wrong(key, "a number")
        return float(value)

    def integer(self, key: str) -> int:
        """An integer."""
        value = self._take(key)
        if not _is_integer(value):
            raise self.wrong(key, "an integer")
        return int(value)

    def integers(self, key: str, *, low: int, count: int | None = None) -> tuple[int, ...]:
        """Integers from *low* up, *count* of them when given."""
        value = self._list(key)
        if not all(_is_integer(v) and v >= low for v in value) or count not in (None, len(value)):
            raise self.wrong(key, f"{'a list of' if count is None else count} integers from {low}")
        return tuple(value)

    def triple(self, key: str, *, positive: bool = False) -> tuple[float, float, float]:
        """Three finite numbers."""
        value = self._list(key)
        if len(value) != 3 or not all(_is_number(v) and (v > 0 or not positive) for v in value):
            raise self.wrong(key, f"three {'positive ' if positive else ''}numbers")
        return float(value[0]), float(value[1]), float(value[2])

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._list(key)
        if not all(isinstance(v, str) for v in value):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def digest(self, key: str) -> str:
        """A SHA-256 digest, or the empty string."""
        value = self.text(key)
        if value and not _DIGEST.fullmatch(value):
            raise self.wrong(key, "a SHA-256 digest")
        return value

    def free_object(self, key: str) -> dict[str, Any] | None:
        """An object of any content, or None."""
        value = self._take(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "an object or null")
        return value

    def text_object(self, key: str) -> dict[str, str]:
        """An object whose values are strings."""
        value = self._take(key)
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise self.wrong(key, "an object of texts")
        return value

    def optional(self, key: str, read: Callable[[Fields], T]) -> T | None:
        """An object that *read* understands, or None."""
        value = self._take(key)
        if value is None:
            return None
        fields = Fields(value, self._path(key), self._error)
        result = read(fields)
        if rest := fields.leftovers():
            self._nested[key] = rest
        return result

    def each(self, key: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of objects that *read* understands."""
        items = [
            Fields(value, f"{self._path(key)}[{i}]", self._error)
            for i, value in enumerate(self._list(key))
        ]
        result = tuple(read(fields) for fields in items)
        if any(rests := [fields.leftovers() for fields in items]):
            self._nested[key] = rests
        return result

    def leftovers(self) -> dict[str, Any]:
        """Unknown keys of this object and, at their places, of the objects in it."""
        own = {key: value for key, value in self._values.items() if key not in self._known}
        return {**own, **self._nested}

    def _path(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise self._error(f"{self._path(key)} is missing")
        self._known.add(key)
        return self._values[key]

    def _list(self, key: str) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # float() of a huge integer overflows; nothing here is near that
    return (_is_integer(value) and abs(value) < 2**53) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
