"""Tensors of a TFLite file that stand on a grid the source has not there, because a kernel demands it.

Inputs of a concatenation are rounded to its grid first, and more of them than the delegate takes at once
meet in parts of it; the right operand of an integer product is rounded to a grid with zero point 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np

from edgecv.verify.source import Array, Rounding, Source
from edgecv.verify.tflite_reading import FileModel, FileOperator, FileTensor

__all__ = [
    "Bridges",
    "Grid",
    "arrangements",
    "on_grid",
    "real_values",
    "repeated",
    "rounded",
    "squeezed",
]

#: How far a bias scale may be from s_in * s_w to count as that (TFLite kernel_util.cc).
_BIAS_TOLERANCE = 1e-6
_COPYING = ("RESHAPE", "SLICE", "TRANSPOSE")


@dataclass(frozen=True, eq=False)
class Grid:
    """Parameters that a tensor must have, in int8 terms.

    Attributes:
        scales: float32, one or one per channel.
        zero_points: As many.
    """

    scales: Array
    zero_points: Array


@dataclass
class Bridges:
    """What bridges must be, by where they lead.

    Attributes:
        file: The artifact.
        grids: Tensor of the file → its parameters by the source, as far as they are known.
    """

    file: FileModel
    grids: Mapping[str, Grid]

    def wanted(self, operator: FileOperator) -> Grid | None:
        """Parameters that the result of *operator* must have; None where it is no bridge."""
        name = operator.outputs[0]
        if operator.op == "CONCATENATION":
            return self.concatenated(name) or self._shared(operator)
        if operator.op != "QUANTIZE":
            return None
        reader, position = self._reader(name)
        if reader is not None and reader.op == "CONCATENATION":
            return self.concatenated(reader.outputs[0])
        product = reader is not None and reader.op == "BATCH_MATMUL" and position == 1
        return self._symmetric(operator) if product else None

    def shifted(self, operator: FileOperator) -> tuple[FileTensor, Grid] | None:
        """A uint8 tensor beside an int8 one, and the grid that it must have: the same scale, 128 apart."""
        if operator.op != "QUANTIZE":
            return None
        tensors = [self.file.tensors[n] for n in (operator.inputs[0], operator.outputs[0])]
        by_dtype = {tensor.dtype: tensor for tensor in tensors}
        grid = self.grids.get(by_dtype["int8"].name) if "int8" in by_dtype else None
        if grid is None or "uint8" not in by_dtype:
            return None
        return by_dtype["uint8"], Grid(grid.scales, grid.zero_points + 128)

    def concatenated(self, name: str) -> Grid | None:
        """Grid of the concatenation that *name* is, or is a part of."""
        while name not in self.grids:
            reader, _ = self.file.readers.get(name, (None, 0))
            if reader is None or reader.op != "CONCATENATION":
                return None
            name = reader.outputs[0]
        return self.grids[name]

    def _shared(self, operator: FileOperator) -> Grid | None:
        """Grid of all inputs, where it is one: the result, which the source does not round, lies on it."""
        found = [self.grids.get(name) for name in operator.inputs]
        first = found[0]
        same = first is not None and all(
            grid is not None
            and np.array_equal(grid.scales, first.scales)
            and np.array_equal(grid.zero_points, first.zero_points)
            for grid in found
        )
        return first if same else None

    def _reader(self, name: str) -> tuple[FileOperator | None, int]:
        """What reads a tensor, behind copies of it."""
        reader, position = self.file.readers.get(name, (None, 0))
        while reader is not None and reader.op in _COPYING:
            reader, position = self.file.readers.get(reader.outputs[0], (None, 0))
        return reader, position

    def _symmetric(self, operator: FileOperator) -> Grid | None:
        """The finest grid with zero point 0 that holds all that the rounded tensor represents."""
        source = operator.inputs[0]
        before = self._producers.get(source)
        if before is not None and before.op == "DEQUANTIZE":
            source = before.inputs[0]
        grid = self.grids.get(source)
        if grid is None or grid.scales.size != 1 or not grid.zero_points[0]:
            return None
        zero = int(grid.zero_points[0])
        reach = max(128 + zero, 127 - zero)
        scale = np.float32(float(grid.scales[0]) * reach / 127)
        return Grid(np.array([scale], np.float32), np.zeros(1, np.int64))

    def filler(self, tensor: FileTensor, source: Source, origins: Mapping[str, str]) -> float:
        """The number that a Pad of the source pads with; the lowest in front of a maximum.

        Args:
            tensor: What PADV2 pads with.
            source: What to compare with.
            origins: Name of a tensor → the tensor that an operator of the source computes for it.
        """
        base, _, label = tensor.name.rpartition(":")
        op, inputs = source.producers.get(origins.get(base.removesuffix(":pad"), ""), ("", ()))
        limit = float(np.finfo(np.float32).max)
        value = -limit
        number = source.real(inputs[2]) if label == "value" and op == "Pad" else None
        if number is not None:
            value = float(number.reshape(-1)[0])
        grid = self.grids.get(tensor.name)
        if tensor.dtype == "float32" or grid is None:
            return min(max(value, -limit), limit)
        steps = value / float(grid.scales[0]) + int(grid.zero_points[0])
        return float(np.clip(np.rint(steps), -128, 127))

    @cached_property
    def _producers(self) -> Mapping[str, FileOperator]:
        return {name: op for op in self.file.operators for name in op.outputs}


def real_values(integers: Array, zeros: Array, rounding: Rounding) -> Array:
    """DequantizeLinear: scale * (integer - zero point), of one scale or one per channel."""
    shape = [1] * integers.ndim
    if rounding.axis is not None:
        shape[rounding.axis] = -1
    centered = integers.astype(np.float32) - zeros.reshape(shape)
    real: Array = (centered * rounding.scales.reshape(shape)).astype(np.float32)
    return real


def on_grid(bias: Rounding, product: Array) -> bool:
    """Whether a bias has the scale that kernels demand, so that its integers stay as they are."""
    if bias.dtype != "int32" or bias.zero_points.any() or bias.scales.size not in (1, product.size):
        return False
    return bool((np.abs(bias.scales - product) <= _BIAS_TOLERANCE * product).all())


def rounded(real: Array, grid: Grid) -> Array:
    """QuantizeLinear to one scale: round half to even, saturate."""
    steps = np.rint(real.astype(np.float32) / grid.scales[0]) + grid.zero_points[0]
    integers: Array = np.clip(steps, -128, 127).astype(np.int8)
    return integers


def arrangements(data: Array, shape: tuple[int, ...]) -> Iterator[Array]:
    """*data* with its dimensions in every order in which they have *shape*, those of one element apart."""
    wanted, long = squeezed(shape), data.reshape(squeezed(data.shape))
    for order in permutations(range(long.ndim)):
        turned = long.transpose(order)
        if turned.shape == wanted:
            yield turned.reshape(shape)


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """*shape* without dimensions of one element."""
    return tuple(size for size in shape if size != 1)


def repeated(data: Array, shape: tuple[int, ...]) -> Array:
    """*data* repeated to *shape* where it broadcasts to that, else as it is."""
    own = (1,) * (len(shape) - data.ndim) + data.shape
    fits = len(own) == len(shape) and all(a in (1, b) for a, b in zip(own, shape, strict=True))
    return np.broadcast_to(data, shape) if fits else data
