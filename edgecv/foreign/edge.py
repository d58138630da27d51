"""What a model's tensors say of pictures and classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgecv.errors import InputError
from edgecv.spec.types import TensorSpec

__all__ = ["count_classes", "find_picture_input", "picture_size"]

_DTYPES = ("int8", "uint8", "float16", "float32")
_ARRAYS = "Run arrays with .infer."


def count_classes(outputs: Sequence[TensorSpec]) -> int | None:
    """Classes of a classifier: what one picture gets; None with several outputs, or an open one.

    >>> count_classes([TensorSpec("scores", (1, 1001), "uint8")])
    1001
    """
    if len(outputs) != 1 or not outputs[0].shape or any(size < 1 for size in outputs[0].shape):
        return None
    shape = outputs[0].shape
    return math.prod(shape[1:]) if len(shape) > 1 else shape[0]


def find_picture_input(inputs: Sequence[TensorSpec]) -> TensorSpec:
    """The one input that takes a picture.

    Raises:
        InputError: Several inputs, or one that a color picture cannot fill.
    """
    if len(inputs) != 1:
        raise InputError(
            f"the model has {len(inputs)} inputs, so it takes no single picture", cure=_ARRAYS
        )
    spec = inputs[0]
    picture_size(spec)
    if spec.dtype not in _DTYPES:
        raise InputError(
            f"the input {spec.name!r} of {spec.dtype} takes no picture (one of"
            f" {', '.join(_DTYPES)} does)",
            cure=_ARRAYS,
        )
    return spec


def picture_size(spec: TensorSpec) -> tuple[int, int]:
    """(height, width) of the color picture that an input takes.

    Raises:
        InputError: It takes none, or its shape leaves open which dimension the channels are.

    >>> picture_size(TensorSpec("x", (1, 3, 40, 48), "float32"))
    (40, 48)
    """
    shape = spec.shape
    last, first = len(shape) == 4 and shape[3] == 3, len(shape) == 4 and shape[1] == 3
    if spec.layout in ("NHWC", "NCHW"):
        last, first = last and spec.layout == "NHWC", first and spec.layout == "NCHW"
    if last == first or min(shape) < 1:
        raise InputError(
            f"the input {spec.name!r} of shape {list(shape)} takes no color picture: that would be"
            " [1, height, width, 3] or [1, 3, height, width]",
            cure=_ARRAYS,
        )
    return (shape[1], shape[2]) if last else (shape[2], shape[3])
