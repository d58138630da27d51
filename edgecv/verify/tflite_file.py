"""A TFLite artifact against its source: every tensor by name, in the source's order of dimensions.

What the converter adds (padded copies, zero biases, filters of ones) has no counterpart there: it must be
what its place in the graph demands, and anything else that carries numbers is a mismatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from edgecv.verify.carried import carried_grids, same_grid
from edgecv.verify.mismatch import Mismatch, compare_elements, compare_per_channel
from edgecv.verify.source import Array, Rounding, Source, User, to_int8
from edgecv.verify.tflite_bridges import (
    Bridges,
    Grid,
    arrangements,
    on_grid,
    real_values,
    repeated,
    rounded,
    squeezed,
)
from edgecv.verify.tflite_derived import Derived
from edgecv.verify.tflite_reading import FileModel, FileOperator, FileTensor, read_tflite

__all__ = ["compare_tflite"]

#: Operators of the source that only rename positions: with equal parameters they need no tensor of their own.
_RENAMING = {
    "DepthToSpace", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice",
    "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
#: Operators of the file that move integers: their output carries the parameters of their input.
_MOVING = {"MAX_POOL_2D", "PAD", "PADV2", "REDUCE_MAX", "RESHAPE", "SLICE", "TRANSPOSE"}
#: Operators of the source whose constant has the order of dimensions of what stands beside it, or another one.
_BESIDE = {
    "Add", "Concat", "Div", "Expand", "Flatten", "Max", "Min", "Mul", "PRelu", "Reshape", "Squeeze", "Sub", "Transpose",
    "Unsqueeze",
}  # fmt: skip
_PRODUCTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


def compare_tflite(data: bytes, source: Source, *, halves: bool = False) -> list[Mismatch]:
    """Compare; see :func:`edgecv.verify.parameters.compare_parameters`.

    Args:
        data: The artifact.
        source: What to compare with.
        halves: Whether constants may be float16, behind a DEQUANTIZE.
    """
    file = read_tflite(data)
    return _Comparison(file.unpacked() if halves else file, source).run()


@dataclass
class _Comparison:
    """State of one comparison.

    Attributes:
        file: The artifact.
        source: What to compare with.
        grids: Tensor of the file → its parameters by the source.
        constants: Constants of the file that were compared.
    """

    file: FileModel
    source: Source
    grids: dict[str, Grid] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.derived = Derived(self.file, self.source, self._in_source_order)
        self.bridges = Bridges(self.file, self.grids)
        self.carried = carried_grids(self.source)

    def run(self) -> list[Mismatch]:
        """All differences, each once."""
        mismatches = self.derived.run()
        self.constants |= self.derived.compared
        for rounding in (*self.source.activations(), *self.source.integer_inputs()):
            mismatches += self._activation(rounding)
        for rounding in self.source.dequantized_constants():
            mismatches += self._constant(rounding.output, self._quantized(rounding))
        for name, values in self.source.plain_constants().items():
            mismatches += self._constant(name, self._plain(name, values))
        for operator in self.file.operators:
            mismatches += self._moved(operator) + self._edge(operator)
        for tensor in self.file.tensors.values():
            mismatches += self._added(tensor)
        mismatches += self.derived.clamps()
        return list(dict.fromkeys(mismatches))

    # activations

    def _activation(self, expected: Rounding) -> list[Mismatch]:
        name = self.source.title(expected)
        found, renamed = self._find_activation(expected)
        if found is None:
            return [Mismatch(name, "presence", "an int8 tensor", "nothing")]
        if found.dtype != "int8":
            return [Mismatch(name, "dtype", "int8", found.dtype)]
        if renamed:
            # the same tensor under another name: its own rounding is compared
            return []
        grid = _grid(expected)
        self.grids[found.name] = grid
        return _compare_grid(name, grid, found)

    def _find_activation(self, expected: Rounding) -> tuple[FileTensor | None, bool]:
        """By the quantizer's name, a graph output's, or the rounded tensor's; else behind moves.

        The second value: whether it is the tensor of an earlier rounding to the same grid.
        """
        renamed = False
        while True:
            present = [
                self.file.tensors[n] for n in self._names(expected) if n in self.file.tensors
            ]
            found = next((t for t in present if t.dtype == "int8"), None)
            before = None if found is not None else self._same_before(expected)
            if before is None:
                return found or next(iter(present), None), renamed
            expected, renamed = before, True

    def _names(self, expected: Rounding) -> list[str]:
        """What the tensor that a rounding makes may be called."""
        outputs = [r.output for r in self.source.roundings if r.input == expected.output]
        names = [
            self.source.title(expected),
            *(o for o in outputs if o in self.source.outputs),
            expected.output,
            expected.input,
        ]
        # behind an edge that is not int8
        return names + [f"{name}:int8" for name in names]

    def _same_before(self, expected: Rounding) -> Rounding | None:
        """The rounding that made the integers which *expected* finds on its own grid, moved or not."""
        op, inputs = self.source.producers.get(expected.input, ("", ()))
        alone = op == "Concat" and len(inputs) == 1
        if op not in _RENAMING and not alone:
            return None
        before = self.carried.get(expected.input if op == "DequantizeLinear" else inputs[0])
        return before if before is not None and same_grid(before, expected) else None

    def _moved(self, operator: FileOperator) -> list[Mismatch]:
        """Copies in another order, padded or cut: parameters of what they copy. Bridges: what they must be."""
        grid = self.grids.get(operator.inputs[0]) if operator.inputs else None
        if operator.op not in _MOVING:
            grid = self.bridges.wanted(operator)
        if grid is None:
            return []
        mismatches = []
        # PADV2 pads with a constant of its own
        for name in (*operator.outputs, *operator.inputs[2:] * (operator.op == "PADV2")):
            if name not in self.grids:
                self.grids[name] = grid
                mismatches += _compare_grid(name, grid, self.file.tensors[name])
        return mismatches

    def _edge(self, operator: FileOperator) -> list[Mismatch]:
        """A uint8 input or output: the grid of the int8 tensor beside it, 128 apart."""
        found = self.bridges.shifted(operator)
        if found is None:
            return []
        edge, grid = found
        self.grids[edge.name] = grid
        return _compare_grid(edge.name, grid, edge)

    # constants

    def _constant(
        self, name: str, compare: Callable[[User, FileTensor], list[Mismatch]]
    ) -> list[Mismatch]:
        """Every use of the constant must find its numbers in one of the file's tensors for it."""
        mismatches: list[Mismatch] = []
        candidates = list(self._candidates(name))
        for user in self.source.readers(name):
            if user.is_parameter or (name, user.inputs) in self.derived.replaced:
                continue
            results = [compare(user, found) for found in candidates]
            nothing = [Mismatch(name, "presence", "a constant", "nothing")]
            mismatches += sorted(results, key=len)[0] if results else nothing
            matching = zip(candidates, results, strict=True)
            self.constants.update(found.name for found, result in matching if not result)
        if mismatches:
            # which of them is wrong was said
            self.constants.update(found.name for found in candidates)
        return mismatches

    def _candidates(self, name: str) -> Iterator[FileTensor]:
        """Tensors for constant *name*: a second arrangement, or grid, of it has a number behind its name."""
        for base in (name, f"{name}:bias"):
            number, numbered = 1, base
            while (found := self.file.tensors.get(numbered)) is not None:
                if found.data is not None:
                    yield found
                number += 1
                numbered = f"{base}:{number}"

    def _quantized(self, expected: Rounding) -> Callable[[User, FileTensor], list[Mismatch]]:
        name = expected.output
        assert expected.integers is not None
        integers, zeros = to_int8(expected.integers, expected.zero_points, expected.dtype)

        def compare(user: User, found: FileTensor) -> list[Mismatch]:
            real = real_values(integers, zeros, expected)
            if found.dtype == "float32":
                return self._elements(name, "value", real, found, user)
            if (grid := self._joins(found)) is not None:
                return self._regridded(name, real, grid, found, user)
            if self._is_bias(user, found):
                return self._bias(expected, integers, zeros, user, found)
            self.grids[found.name] = grid = Grid(expected.scales, zeros)
            mismatches = _compare_grid(name, grid, found)
            reader, _ = self.file.readers.get(found.name, (None, 0))
            along = 3 if reader is not None and reader.op == "DEPTHWISE_CONV_2D" else 0
            if expected.axis is not None and found.axis != along:
                mismatches.append(
                    Mismatch(name, "form", "scales along output channels", f"axis {found.axis}")
                )
            return mismatches + self._elements(name, "integer", integers, found, user)

        return compare

    def _plain(self, name: str, values: Array) -> Callable[[User, FileTensor], list[Mismatch]]:
        def compare(user: User, found: FileTensor) -> list[Mismatch]:
            product = self._product_scale(user) if self._is_bias(user, found) else None
            if found.dtype == "int32" and product is not None:
                return _compare_rounded(name, values.astype(np.float64), product, found)
            if found.dtype == "int8" and (grid := self._joins(found)) is not None:
                return self._regridded(name, values, grid, found, user)
            return self._elements(name, "value", values, found, user)

        return compare

    def _elements(
        self, name: str, what: str, wanted: Array, found: FileTensor, user: User
    ) -> list[Mismatch]:
        """Compare in the arrangement that fits: beside an activation a constant lies as that does."""
        axis = self.source.channel_axis(name)
        if user.op == "Expand" and found.data is not None:
            wanted = repeated(wanted, found.data.shape)
        plain = self._in_source_order(found, user, wanted.shape)
        mismatches = compare_elements(name, what, wanted, plain, axis)
        if not mismatches or user.op not in _BESIDE:
            return mismatches
        assert found.data is not None
        others = arrangements(found.data, wanted.shape)
        compared = [compare_elements(name, what, wanted, other, axis) for other in others]
        return min([mismatches, *compared], key=len)

    def _joins(self, found: FileTensor) -> Grid | None:
        """Grid of the concatenation that reads a constant; None where another operator does."""
        reader, _ = self.file.readers.get(found.name, (None, 0))
        if reader is None or reader.op != "CONCATENATION":
            return None
        return self.bridges.concatenated(reader.outputs[0])

    def _regridded(
        self, name: str, real: Array, grid: Grid, found: FileTensor, user: User
    ) -> list[Mismatch]:
        """An input of a concatenation, rounded to its grid as QuantizeLinear rounds."""
        self.grids[found.name] = grid
        wanted = rounded(real, grid)
        return _compare_grid(name, grid, found) + self._elements(
            name, "integer", wanted, found, user
        )

    def _bias(
        self, expected: Rounding, integers: Array, zeros: Array, user: User, found: FileTensor
    ) -> list[Mismatch]:
        """Integers on the grid s_in * s_w stay; others must have been rounded to it."""
        product = self._product_scale(user)
        if product is not None and not on_grid(expected, product):
            centered = integers.reshape(-1).astype(np.int64) - zeros
            real = centered * expected.scales.astype(np.float64)
            return _compare_rounded(expected.output, real, product, found)
        size = found.scales.size if product is None else product.size
        grid = Grid(_spread(expected.scales, size), _spread(expected.zero_points, size))
        return _compare_bias(expected.output, grid, integers, found)

    def _product_scale(self, user: User) -> Array | None:
        """s_in * s_w of the operator that reads a bias, or None where they are not quantized."""
        inputs = user.inputs
        if user.op == "Add":
            # a bias that the converter bound to the product before it
            inputs = self.source.producers.get(user.inputs[1 - user.position], ("", ()))[1]
        if len(inputs) < 2:
            return None
        activation = self.source.by_output.get(inputs[0])
        weight = self.source.by_output.get(inputs[1])
        if activation is None or weight is None:
            return None
        product: Array = weight.scales.astype(np.float64) * activation.scales.astype(np.float64)[0]
        return product

    def _is_bias(self, user: User, found: FileTensor) -> bool:
        if user.op in ("Conv", "Gemm"):
            return user.position == 2
        reader, position = self.file.readers.get(found.name, (None, 0))
        return user.op == "Add" and reader is not None and reader.op in _PRODUCTS and position == 2

    def _in_source_order(self, found: FileTensor, user: User, shape: tuple[int, ...]) -> Array:
        """The file's constant with the source's dimensions in the source's order, by what reads it."""
        assert found.data is not None
        data = found.data
        reader, position = self.file.readers.get(found.name, (None, 0))
        op = "" if reader is None else reader.op
        if op in _PRODUCTS and position == 1:
            if data.ndim == 4:
                return data.transpose((3, 0, 1, 2) if op == "DEPTHWISE_CONV_2D" else (0, 3, 1, 2))
            turned = (user.op == "MatMul" and user.position == 1) or (
                user.op == "Gemm" and not user.transposed
            )
            return data.T if turned else data
        if data.ndim == 4:
            data = data.transpose(0, 3, 1, 2)
        # dimensions of size 1 come and go
        return data.reshape(shape) if squeezed(data.shape) == squeezed(shape) else data

    # what the source does not have

    def _added(self, tensor: FileTensor) -> list[Mismatch]:
        """A tensor without counterpart: a zero bias, a filter of ones, a filler of padding, or wrong."""
        name, data = tensor.name, tensor.data
        if data is None:
            known = tensor.dtype not in ("int8", "uint8") or name in self.grids
            said = f"an {tensor.dtype} tensor"
            return [] if known else [Mismatch(name, "presence", "nothing", said)]
        if name in self.constants or (not tensor.scales.size and data.dtype.kind == "i"):
            # compared, or a shape, axes or amounts of padding
            return []
        operator, position = self.file.readers.get(name, (FileOperator("", (), ()), 0))
        if operator.op == "PADV2" and position == 2:
            filler = self.bridges.filler(tensor, self.source, self.derived.origins)
            return compare_elements(name, "value", np.full_like(data, filler), data, None)
        if operator.op in _PRODUCTS and position == 2:
            return self._zero_bias(tensor, operator)
        if operator.op == "DEPTHWISE_CONV_2D" and position == 1 and tensor.dtype == "int8":
            return self._average(tensor)
        return [Mismatch(name, "presence", "nothing", f"a {tensor.dtype} constant")]

    def _zero_bias(self, tensor: FileTensor, operator: FileOperator) -> list[Mismatch]:
        assert tensor.data is not None
        zeros = np.zeros_like(tensor.data)
        activation, weight = (self.grids.get(name) for name in operator.inputs[:2])
        if tensor.dtype == "float32" or activation is None or weight is None:
            return compare_elements(tensor.name, "value", zeros, tensor.data, 0)
        product = weight.scales.astype(np.float64) * activation.scales.astype(np.float64)[0]
        grid = Grid(product.astype(np.float32), np.zeros(product.size, np.int64))
        return _compare_bias(tensor.name, grid, zeros, tensor)

    def _average(self, tensor: FileTensor) -> list[Mismatch]:
        """AveragePool as a sum: ones whose scale is 1 / window."""
        assert tensor.data is not None
        _, height, width, channels = tensor.data.shape
        scale = np.float32(1) / np.float32(height * width)
        grid = Grid(np.full(channels, scale), np.zeros(channels, np.int64))
        self.grids[tensor.name] = grid
        ones = np.ones_like(tensor.data)
        return _compare_grid(tensor.name, grid, tensor) + compare_elements(
            tensor.name, "integer", ones, tensor.data, 3
        )


def _grid(rounding: Rounding) -> Grid:
    empty = np.zeros(0, np.int8)
    return Grid(rounding.scales, to_int8(empty, rounding.zero_points, rounding.dtype)[1])


def _compare_grid(name: str, grid: Grid, found: FileTensor) -> list[Mismatch]:
    zeros = found.zero_points.astype(np.int64)
    return compare_per_channel(name, "scale", grid.scales, found.scales) + compare_per_channel(
        name, "zero_point", grid.zero_points, zeros
    )


def _compare_bias(name: str, grid: Grid, integers: Array, found: FileTensor) -> list[Mismatch]:
    assert found.data is not None
    wanted, there = integers.reshape(-1), found.data.reshape(-1)
    return _compare_grid(name, grid, found) + compare_elements(name, "integer", wanted, there, 0)


def _compare_rounded(name: str, real: Array, product: Array, found: FileTensor) -> list[Mismatch]:
    grid = Grid(product.astype(np.float32), np.zeros(product.size, np.int64))
    steps = np.rint(real.reshape(-1) / product).astype(np.int32)
    return _compare_bias(name, grid, steps, found)


def _spread(values: Array, size: int) -> Array:
    return np.broadcast_to(values, (size,)) if values.size == 1 else values
