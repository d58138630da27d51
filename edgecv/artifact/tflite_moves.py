"""Shapes of TFLite operators that move, repeat or cut elements; None where the file leaves one open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from edgecv.artifact.flatbuffer import DamageError
from edgecv.artifact.tflite_operands import Operator, Shape, axis_of, integers, positive, shape_of

__all__ = ["MOVES"]


def _reshape(operator: Operator) -> Shape | None:
    given = shape_of(operator, 0)
    if given is None:
        return None
    second = operator.inputs[1] if len(operator.inputs) > 1 else None
    wanted = integers(operator, 1) if second and second.stored else operator.options["shape"]
    if not wanted or (second and not second.stored and not operator.options["shape"]):
        return None
    size, rest = math.prod(given), math.prod(s for s in wanted if s != -1)
    if min(wanted) < -1 or wanted.count(-1) > 1 or (size % rest if rest else size):
        # old converters wrote a single 0 for a scalar
        if wanted == (0,) and size == 1:
            return None
        raise DamageError(f"{list(given)} cannot become {list(wanted)}")
    if -1 in wanted:
        return tuple(size // rest if s == -1 else s for s in wanted) if rest else None
    if rest != size:
        raise DamageError(f"{list(given)} cannot become {list(wanted)}")
    return tuple(wanted)


def _squeeze(operator: Operator) -> Shape | None:
    given = shape_of(operator, 0)
    if given is None:
        return None
    axes = {axis_of(axis, len(given)) for axis in operator.options["dims"]}
    if any(given[axis] != 1 for axis in axes):
        raise DamageError(f"dimensions {sorted(axes)} of {list(given)} are not all 1")
    return tuple(s for at, s in enumerate(given) if (at not in axes if axes else s != 1))


def _expand(operator: Operator) -> Shape | None:
    given, axis = shape_of(operator, 0), integers(operator, 1, 1)
    if given is None or axis is None:
        return None
    at = axis_of(axis[0], len(given) + 1)
    return (*given[:at], 1, *given[at:])


def _concat(operator: Operator) -> Shape | None:
    shapes = [shape_of(operator, position) for position in range(len(operator.inputs))]
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    axis = axis_of(operator.options["axis"], len(known[0]))
    if (
        len({len(shape) for shape in known}) > 1
        or len({(*shape[:axis], 1, *shape[axis + 1 :]) for shape in known}) > 1
    ):
        raise DamageError(f"shapes {', '.join(str(list(s)) for s in known)} along axis {axis}")
    return (*known[0][:axis], sum(s[axis] for s in known), *known[0][axis + 1 :])


def _pack(operator: Operator) -> Shape | None:
    given = shape_of(operator, 0)
    if operator.options["count_values"] != len(operator.inputs):
        raise DamageError(f"it packs {operator.options['count_values']} values and has others")
    if given is None:
        return None
    if any(shape_of(operator, at) not in (None, given) for at in range(len(operator.inputs))):
        raise DamageError("it packs tensors of several shapes")
    at = axis_of(operator.options["axis"], len(given) + 1)
    return (*given[:at], len(operator.inputs), *given[at:])


def _unpack(operator: Operator) -> Shape | None:
    given, count = shape_of(operator, 0), operator.options["count_values"]
    if given is None:
        return None
    at = axis_of(operator.options["axis"], len(given))
    if count != given[at] or count != len(operator.outputs):
        raise DamageError(f"it unpacks {count} values of {given[at]} into {len(operator.outputs)}")
    return (*given[:at], *given[at + 1 :])


def _split(operator: Operator) -> Shape | None:
    sized = operator.name == "SPLIT_V"
    given, axis = shape_of(operator, 0 if sized else 1), integers(operator, 2 if sized else 0, 1)
    count = operator.options["count_splits"]
    if count != len(operator.outputs):
        raise DamageError(f"it splits into {count} and has {len(operator.outputs)} outputs")
    sizes = integers(operator, 1, count) if sized else None
    if given is None or axis is None:
        return None
    at = axis_of(axis[0], len(given))
    if not sized:
        if given[at] % count:
            raise DamageError(f"{given[at]} cannot be split into {count}")
        return (*given[:at], given[at] // count, *given[at + 1 :])
    if sizes is None:
        return None
    rest = given[at] - sum(s for s in sizes if s != -1)
    if min(sizes) < -1 or sizes.count(-1) > 1 or (rest < 0 if -1 in sizes else rest):
        raise DamageError(f"{given[at]} cannot be split into {list(sizes)}")
    return (*given[:at], rest if sizes[0] == -1 else sizes[0], *given[at + 1 :])


def _transpose(operator: Operator) -> Shape | None:
    given = shape_of(operator, 0)
    if given is None:
        return None
    order = integers(operator, 1, len(given))
    if order is None:
        return None
    axes = [axis_of(axis, len(given)) for axis in order]
    if len(set(axes)) != len(given):
        raise DamageError(f"the order {list(order)} of {list(given)}")
    return tuple(given[axis] for axis in axes)


def _pad(operator: Operator) -> Shape | None:
    given = shape_of(operator, 0)
    if given is None:
        return None
    amounts = integers(operator, 1, 2 * len(given))
    if amounts is None:
        return None
    if min(amounts, default=0) < 0:
        raise DamageError(f"it pads by {min(amounts)}")
    pairs = zip(given, amounts[::2], amounts[1::2], strict=True)
    return tuple(before + size + after for size, before, after in pairs)


def _gather(operator: Operator) -> Shape | None:
    given, places = shape_of(operator, 0), shape_of(operator, 1)
    if given is None or places is None:
        return None
    axis = axis_of(operator.options["axis"], len(given))
    batch = operator.options["batch_dims"]
    batch += len(places) if batch < 0 else 0
    if not 0 <= batch <= min(axis, len(places)) or given[:batch] != places[:batch]:
        raise DamageError(f"places {list(places)} of {list(given)} in {batch} batch dimensions")
    found = integers(operator, 1)
    if found and not 0 <= min(found) <= max(found) < given[axis]:
        raise DamageError(f"it gathers place {max(found)} of {given[axis]}")
    return (*given[:axis], *places[batch:], *given[axis + 1 :])


def _slice(operator: Operator) -> Shape | None:
    given = shape_of(operator, 0)
    if given is None:
        return None
    begins, sizes = integers(operator, 1, len(given)), integers(operator, 2, len(given))
    if begins is None or sizes is None:
        return None
    result = []
    for total, begin, size in zip(given, begins, sizes, strict=True):
        size = total - begin if size == -1 else size
        if begin < 0 or size < 0 or begin + size > total:
            raise DamageError(f"{list(sizes)} from {list(begins)} of {list(given)}")
        result.append(size)
    return tuple(result)


def _strided_slice(operator: Operator) -> None:
    given = shape_of(operator, 0)
    for position in (1, 2, 3):
        values = integers(operator, position)
        if values is None or given is None:
            continue
        if len(values) > len(given) + 4 or (position == 3 and 0 in values):
            raise DamageError(f"its input {position} is {list(values)}")


def _resize(operator: Operator) -> Shape | None:
    image, size = shape_of(operator, 0, 4), integers(operator, 1, 2)
    if image is None or size is None:
        return None
    positive((*image, *size))
    return image[0], *size, image[3]


def _tile(operator: Operator) -> Shape | None:
    given = shape_of(operator, 0)
    times = integers(operator, 1, None if given is None else len(given))
    if given is None or times is None:
        return None
    if min(times, default=0) < 0:
        raise DamageError(f"it repeats {list(times)} times")
    return tuple(size * count for size, count in zip(given, times, strict=True))


def _topk(operator: Operator) -> Shape | None:
    given, count = shape_of(operator, 0), integers(operator, 1, 1)
    if given is None or count is None:
        return None
    if not given or not 1 <= count[0] <= given[-1]:
        raise DamageError(f"the {count[0]} largest of {list(given)}")
    return (*given[:-1], count[0])


def _filled(position: int) -> Callable[[Operator], Shape | None]:
    def infer(operator: Operator) -> Shape | None:
        sizes = integers(operator, position)
        if sizes is not None and min(sizes, default=0) < 0:
            raise DamageError(f"its result would have the shape {list(sizes)}")
        return sizes

    return infer


def _blocks(operator: Operator) -> Shape | None:
    image, block = shape_of(operator, 0, 4), operator.options["block"]
    if image is None:
        return None
    if operator.name == "SPACE_TO_DEPTH":
        if image[1] % block or image[2] % block:
            raise DamageError(f"blocks of {block} in {list(image)}")
        return image[0], image[1] // block, image[2] // block, image[3] * block**2
    if image[3] % block**2:
        raise DamageError(f"blocks of {block} in {list(image)}")
    return image[0], image[1] * block, image[2] * block, image[3] // block**2


#: Operator → shape of its first result.
MOVES: Final[Mapping[str, Callable[[Operator], Shape | None]]] = {
    "BROADCAST_TO": _filled(1),
    "CONCATENATION": _concat,
    "DEPTH_TO_SPACE": _blocks,
    "EXPAND_DIMS": _expand,
    "FILL": _filled(0),
    "GATHER": _gather,
    "MIRROR_PAD": _pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _blocks,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TOPK_V2": _topk,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
