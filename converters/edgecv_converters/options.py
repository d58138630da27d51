"""How a source is read: sizes for the dimensions that the file leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecv.errors import InputError

__all__ = ["ReadOptions"]


@dataclass(frozen=True)
class ReadOptions:
    """Sizes of open dimensions.

    Attributes:
        batch: Size of the first dimension of every input that leaves it open; None stands for 1.
        shapes: Name of an input → its whole shape. A dimension that the file fixes must be repeated
            as it is.

    Raises:
        InputError: A size that is no whole number of at least 1.

    >>> ReadOptions(batch=2), ReadOptions(shapes={"input": (1, 3, 160, 160)})
    (ReadOptions(batch=2, shapes={}), ReadOptions(batch=None, shapes={'input': (1, 3, 160, 160)}))
    """

    batch: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> ReadOptions:
        """What :meth:`to_json` put into a manifest's ``parent``, other keys aside.

        Raises:
            InputError: No sizes.

        >>> ReadOptions.from_json({"kind": "onnx", "shapes": {"input": [2, 3]}})
        ReadOptions(batch=None, shapes={'input': (2, 3)})
        """
        shapes = said.get("shapes", {})
        if not isinstance(shapes, Mapping) or not all(isinstance(v, list) for v in shapes.values()):
            raise InputError(
                f"the manifest's shapes are {shapes!r}", cure="Convert the model again."
            )
        return cls(said.get("batch"), {name: tuple(shape) for name, shape in shapes.items()})

    def to_json(self) -> dict[str, Any]:
        """The sizes that were given, JSON-ready."""
        said: dict[str, Any] = {} if self.batch is None else {"batch": self.batch}
        if self.shapes:
            said["shapes"] = {name: list(shape) for name, shape in self.shapes.items()}
        return said

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.batch is not None and not _is_size(self.batch):
            raise InputError(
                f"the batch is {self.batch!r}", cure="Give a whole number of at least 1."
            )
        for name, shape in self.shapes.items():
            if not all(map(_is_size, shape)):
                raise InputError(
                    f"the shape of the input {name!r} is {shape!r}",
                    cure="Give a whole number of at least 1 for each dimension.",
                )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31
