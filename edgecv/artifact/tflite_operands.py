"""What shapes and constants of TFLite operators are read with."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from edgecv.artifact.flatbuffer import DamageError

__all__ = ["Operator", "Shape", "Tensor", "axis_of", "integers", "positive", "shape_of"]

Shape = tuple[int, ...]
_MAX_CONSTANTS = 4096
_INT32, _INT64 = 2, 4


class Tensor(NamedTuple):
    """A tensor as operators see it.

    Attributes:
        name: For messages.
        shape: None where the file leaves it open.
        kind: TensorType.
        elements: Product of the shape that the file gives.
        stored: Places of a constant's bytes in the file; empty where nothing is stored.
        scales: Of its quantization.
        variable: It keeps its value from call to call.
    """

    name: str
    shape: tuple[int, ...] | None
    kind: int
    elements: int
    stored: range
    scales: tuple[float, ...]
    variable: bool


class Operator(NamedTuple):
    """An operator with its tensors.

    Attributes:
        name: As in BuiltinOperator.
        inputs: None where one is left out.
        outputs: What it writes.
        options: By name.
        data: The file.
    """

    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, Any]
    data: bytes


def shape_of(operator: Operator, position: int, rank: int | None = None) -> Shape | None:
    """Shape of an input, where the file tells it.

    Raises:
        DamageError: It is known and has another rank.
    """
    tensor = operator.inputs[position] if position < len(operator.inputs) else None
    if tensor is None or tensor.shape is None:
        return None
    if rank is not None and len(tensor.shape) != rank:
        raise DamageError(
            f"its input {position} has the shape {list(tensor.shape)}, not {rank} sizes"
        )
    return tensor.shape


def integers(operator: Operator, position: int, count: int | None = None) -> Shape | None:
    """A constant input of integers, where it is one.

    Raises:
        DamageError: It holds something else than integers, or not *count* of them.
    """
    tensor = operator.inputs[position] if position < len(operator.inputs) else None
    if tensor is None:
        return None
    if tensor.kind not in (_INT32, _INT64):
        raise DamageError(f"its input {position} does not hold integers")
    if count is not None and tensor.shape is not None and tensor.elements != count:
        raise DamageError(f"its input {position} has {tensor.elements} numbers, not {count}")
    if not tensor.stored or tensor.elements > _MAX_CONSTANTS:
        return () if tensor.shape is not None and not tensor.elements else None
    form = f"<{tensor.elements}{'i' if tensor.kind == _INT32 else 'q'}"
    return struct.unpack_from(form, operator.data, tensor.stored.start)


def axis_of(axis: int, rank: int) -> int:
    """*axis* counted from the front.

    Raises:
        DamageError: There is no such dimension.
    """
    if not -rank <= axis < rank:
        raise DamageError(f"axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


def positive(shape: Shape) -> Shape:
    """*shape*, whose sizes are divided by.

    Raises:
        DamageError: A size is 0.
    """
    if min(shape, default=1) < 1:
        raise DamageError(f"its tensors have a dimension of size 0: {list(shape)}")
    return shape
