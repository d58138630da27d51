"""Shapes of TFLite operators that must fit each other.

A kernel believes most of this: a filter of rank 3 or an axis of 7 ends the process, and an input that
grew from 6 to 7,667,718 columns keeps it busy. Tensors whose shape the file leaves open are passed over;
shapes in which a file contradicts itself are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edgecv.artifact.flatbuffer import DamageError
from edgecv.artifact.tflite_moves import MOVES
from edgecv.artifact.tflite_operands import Operator, Shape, axis_of, integers, positive, shape_of

__all__ = ["check_shapes"]

_VALID = 1
_MAX_RANK, _MAX_ELEMENTS = 8, 2**31


def check_shapes(operator: Operator) -> None:
    """Refuse an operator whose shapes contradict its options or each other.

    Raises:
        DamageError: What does not fit.
    """
    infer = _INFER.get(operator.name)
    expected = infer(operator) if infer else None
    if expected is None or not operator.outputs:
        return
    if len(expected) > _MAX_RANK or math.prod(expected) > _MAX_ELEMENTS:
        raise DamageError(f"its result would have the shape {list(expected)}")
    said = operator.outputs[0].shape
    # a converter that does not know a size writes 0, and one that knows none writes nothing
    if said and 0 not in said and said != expected:
        raise DamageError(f"its result has the shape {list(expected)}, the file says {list(said)}")


def _bias(operator: Operator, position: int, channels: int) -> None:
    bias = shape_of(operator, position)
    if bias is not None and math.prod(bias) != channels:
        raise DamageError(f"it has {channels} channels and {math.prod(bias)} biases")


def _windows(operator: Operator, size: int, filter_size: int, letter: str) -> int:
    """Places of a window along one side of a picture."""
    stride = operator.options[f"stride_{letter}"]
    extent = (filter_size - 1) * operator.options.get(f"dilation_{letter}", 1) + 1
    if operator.options["padding"] == _VALID:
        size -= extent - 1
    if size < 1:
        raise DamageError(f"its window of {extent} is larger than the picture")
    return int(-(-size // stride))


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    result = []
    for sizes in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        distinct = set(sizes) - {1}
        if len(distinct) > 1:
            raise DamageError(f"shapes {', '.join(str(list(s)) for s in shapes)} do not fit")
        result.append(distinct.pop() if distinct else 1)
    return tuple(result)


def _same(operator: Operator) -> Shape | None:
    return shape_of(operator, 0)


def _elementwise(operator: Operator) -> Shape | None:
    shapes = [shape_of(operator, position) for position in range(len(operator.inputs))]
    known = [shape for shape in shapes if shape is not None]
    return _broadcast(known) if len(known) == len(shapes) else None


def _conv(operator: Operator) -> Shape | None:
    image, kernel = shape_of(operator, 0, 4), shape_of(operator, 1, 4)
    if image is None or kernel is None:
        return None
    positive((*image, *kernel))
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    channels = kernel[3] if depthwise else kernel[0]
    misfit = channels % image[3] or kernel[0] != 1 if depthwise else image[3] % kernel[3]
    if misfit or (not depthwise and channels % (image[3] // kernel[3])):
        raise DamageError(f"a filter of shape {list(kernel)} does not fit {list(image)}")
    multiplier = operator.options.get("multiplier", 0)
    # it says again what the shapes say; younger engines ignore it
    if multiplier and image[3] * multiplier != channels:
        raise DamageError(f"{channels} channels are not {multiplier} for each of {image[3]}")
    _bias(operator, 2, channels)
    height = _windows(operator, image[1], kernel[1], "h")
    return image[0], height, _windows(operator, image[2], kernel[2], "w"), channels


def _transpose_conv(operator: Operator) -> Shape | None:
    kernel, image, result = (
        shape_of(operator, 1, 4),
        shape_of(operator, 2, 4),
        integers(operator, 0, 4),
    )
    if kernel is None or image is None or result is None:
        return None
    positive((*kernel, *image, *result))
    height = _windows(operator, result[1], kernel[1], "h")
    width = _windows(operator, result[2], kernel[2], "w")
    if (image[0], height, width, kernel[3]) != image or result[::3] != (image[0], kernel[0]):
        raise DamageError(
            f"a filter of shape {list(kernel)} does not make {list(result)} of {list(image)}"
        )
    _bias(operator, 3, kernel[0])
    return result


def _pool(operator: Operator) -> Shape | None:
    image = shape_of(operator, 0, 4)
    if image is None:
        return None
    positive(image)
    height = _windows(operator, image[1], operator.options["filter_h"], "h")
    width = _windows(operator, image[2], operator.options["filter_w"], "w")
    return image[0], height, width, image[3]


def _linear(operator: Operator) -> None:
    given, weights = shape_of(operator, 0), shape_of(operator, 1, 2)
    if given is None or weights is None:
        return
    positive((*given, *weights))
    if math.prod(given) % weights[1]:
        raise DamageError(f"weights of shape {list(weights)} do not fit {list(given)}")
    _bias(operator, 2, weights[0])
    result = operator.outputs[0]
    if result.shape and result.elements not in (0, math.prod(given) // weights[1] * weights[0]):
        raise DamageError(f"its result has {result.elements} elements")


def _matmul(operator: Operator) -> Shape | None:
    left, right = shape_of(operator, 0), shape_of(operator, 1)
    if left is None or right is None:
        return None
    if min(len(left), len(right)) < 2:
        raise DamageError(f"a product of shapes {list(left)} and {list(right)}")
    rows, inner = left[-2:][::-1] if operator.options["flag_x"] else left[-2:]
    other, columns = right[-2:][::-1] if operator.options["flag_y"] else right[-2:]
    if inner != other:
        raise DamageError(f"a product of shapes {list(left)} and {list(right)}")
    return (*_broadcast([left[:-2], right[:-2]]), rows, columns)


def _reduce(operator: Operator) -> Shape | None:
    given, axes = shape_of(operator, 0), integers(operator, 1)
    if given is None or axes is None:
        return None
    reduced = {axis_of(axis, len(given)) for axis in axes} if given else set()
    if len(axes) > max(1, len(given)):
        raise DamageError(f"{len(axes)} axes of a tensor of {len(given)} dimensions")
    if operator.options["flag_keep_dims"]:
        return tuple(1 if at in reduced else size for at, size in enumerate(given))
    return tuple(size for at, size in enumerate(given) if at not in reduced)


def _arg(operator: Operator) -> Shape | None:
    given, axis = shape_of(operator, 0), integers(operator, 1, 1)
    if given is None or axis is None:
        return None
    at = axis_of(axis[0], len(given))
    positive(given)
    return (*given[:at], *given[at + 1 :])


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_INFER: Final[Mapping[str, Callable[[Operator], Shape | None]]] = {
    **dict.fromkeys(
        _names(
            "ABS CEIL COS ELU EXP FLOOR GELU HARD_SWISH L2_NORMALIZATION LEAKY_RELU LOCAL_RESPONSE_NORMALIZATION"
            " LOGICAL_NOT LOGISTIC LOG LOG_SOFTMAX NEG RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 ROUND RSQRT SIGN SIN"
            " SOFTMAX SQRT SQUARE TANH ZEROS_LIKE CAST DEQUANTIZE QUANTIZE FAKE_QUANT CUMSUM REVERSE_V2"
            " REVERSE_SEQUENCE DENSIFY"
        ),
        _same,
    ),
    **dict.fromkeys(
        _names(
            "ADD ADD_N ATAN2 BITWISE_XOR DIV EQUAL FLOOR_DIV FLOOR_MOD GREATER GREATER_EQUAL LESS LESS_EQUAL"
            " LOGICAL_AND LOGICAL_OR MAXIMUM MINIMUM MUL NOT_EQUAL POW PRELU RIGHT_SHIFT SELECT_V2"
            " SQUARED_DIFFERENCE SUB"
        ),
        _elementwise,
    ),
    **dict.fromkeys(_names("CONV_2D DEPTHWISE_CONV_2D"), _conv),
    **dict.fromkeys(_names("AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D"), _pool),
    **dict.fromkeys(
        _names("MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL"), _reduce
    ),
    **dict.fromkeys(_names("ARG_MAX ARG_MIN"), _arg),
    "BATCH_MATMUL": _matmul,
    "FULLY_CONNECTED": _linear,
    "TRANSPOSE_CONV": _transpose_conv,
    **MOVES,
}
