"""How a source is read, and how an artifact is written, where there is a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edgecv.errors import InputError

__all__ = ["IO_DTYPES", "LAYOUTS", "ReadOptions", "WriteOptions"]

#: What tensors at the edge of a file may be.
IO_DTYPES: Final = ("int8", "uint8", "float32")
#: Orders of dimensions of a tensor of four at the edge.
LAYOUTS: Final = ("nhwc", "nchw")


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


@dataclass(frozen=True)
class WriteOptions:
    """Form of the file, where its format leaves a choice. What it computes stays the same.

    Attributes:
        io: dtype of every input and output: ``"int8"``, ``"uint8"`` (the same scale, zero point + 128) or
            ``"float32"``. None is the target's own: in TFLite int8 where the source quantizes the tensor,
            in OpenVINO and ONNX what the source has. Tensors that hold no real numbers (indices, flags)
            stay what they are.
        layout: Order of the dimensions of every input and output that has four: ``"nhwc"`` or ``"nchw"``,
            the source's. None is ``"nhwc"`` in TFLite and ``"nchw"`` elsewhere.
        float16: Store the constants of a float model in half the bytes; what engines compute stays float32.

    Raises:
        InputError: Another value.

    >>> WriteOptions(io="uint8").to_json(), WriteOptions(layout="nchw", float16=True).to_json()
    ({'io': 'uint8'}, {'layout': 'nchw', 'float16': True})
    """

    io: str | None = None
    layout: str | None = None
    float16: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value, known in (("io", self.io, IO_DTYPES), ("layout", self.layout, LAYOUTS)):
            if value is not None and value not in known:
                raise InputError(
                    f"{name} is {value!r}",
                    cure=f"Use one of {', '.join(known)}, or leave it out.",
                )
        if not isinstance(self.float16, bool):
            raise InputError(f"float16 is {self.float16!r}", cure="Use True or False.")

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> WriteOptions:
        """What :meth:`to_json` put into a manifest's ``parent``, other keys aside.

        Raises:
            InputError: No such values.

        >>> WriteOptions.from_json({"kind": "onnx", "io": "float32"})
        WriteOptions(io='float32', layout=None, float16=False)
        """
        return cls(said.get("io"), said.get("layout"), said.get("float16", False))

    def to_json(self) -> dict[str, Any]:
        """What was asked for, JSON-ready."""
        said = {"io": self.io, "layout": self.layout, "float16": self.float16 or None}
        return {key: value for key, value in said.items() if value is not None}


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31
