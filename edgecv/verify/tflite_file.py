"""A TFLite artifact against its source: every tensor by name, in the source's order of dimensions."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv.errors import ModelLoadError, require
from edgecv.verify.mismatch import Mismatch, compare_elements, compare_per_channel
from edgecv.verify.source import Array, Rounding, Source, User, channel_first, to_int8

__all__ = ["FileTensor", "compare_tflite", "read_tensors"]

#: Operators of the source that only rename positions: with equal parameters they need no tensor of their own.
_RENAMING = {"Flatten", "Identity", "Dropout", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
#: Copies of a tensor that must carry its parameters.
_COPIES = (":pad", ":reshape", ":transpose", ":slice")
#: How far a bias scale may be from s_in * s_w to count as that (TFLite kernel_util.cc).
_BIAS_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class FileTensor:
    """One tensor as it lies in the file.

    Attributes:
        name: Its name.
        dtype: NumPy name.
        shape: Its shape.
        scales: float32, empty for a float tensor.
        zero_points: int64, as many.
        axis: Channel dimension.
        data: Elements of a constant, or None.
        reader: Operator that reads it first, or "".
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: Array
    zero_points: Array
    axis: int
    data: Array | None
    reader: str

    def data_1d(self) -> Array:
        """Elements of a constant in one dimension."""
        assert self.data is not None
        return self.data.reshape(-1)


def compare_tflite(data: bytes, source: Source) -> list[Mismatch]:
    """Compare; see :func:`edgecv.verify.parameters.compare_parameters`."""
    tensors = read_tensors(data)
    mismatches: list[Mismatch] = []
    for rounding in source.activations():
        mismatches += _compare_activation(rounding, tensors, source)
    for tensor in tensors.values():
        mismatches += _compare_copy(tensor, tensors)
    for rounding in source.dequantized_constants():
        for user in source.users.get(rounding.output, ())[:1]:
            mismatches += _compare_quantized(rounding, user, tensors, source)
    for name, values in source.plain_constants().items():
        for user in source.users[name][:1]:
            mismatches += _compare_plain(name, values, user, tensors, source)
    return mismatches


def read_tensors(data: bytes) -> dict[str, FileTensor]:
    """Every tensor of the first subgraph by name; a zip tail behind the flatbuffer does not matter.

    Raises:
        ModelLoadError: The flatbuffer is damaged.
        MissingExtraError: The TFLite schema is not installed.
    """
    require("tflite", "flatbuffers", extra="convert")
    import tflite

    try:
        return _read_tensors(tflite, data)
    except (struct.error, IndexError, ValueError, AttributeError) as error:
        raise ModelLoadError(
            f"the TFLite file is damaged ({error})", cure="Convert the model again."
        ) from error


def _read_tensors(tflite: Any, data: bytes) -> dict[str, FileTensor]:
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    names = {
        code: name
        for name, code in vars(tflite.BuiltinOperator).items()
        if not name.startswith("_")
    }
    types = {
        code: name.lower()
        for name, code in vars(tflite.TensorType).items()
        if not name.startswith("_")
    }
    readers: dict[int, str] = {}
    for i in range(graph.OperatorsLength()):
        op = graph.Operators(i)
        code = model.OperatorCodes(op.OpcodeIndex())
        for j in range(op.InputsLength()):
            readers.setdefault(
                op.Inputs(j), names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            )
    found = {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        name, dtype = tensor.Name().decode(), types[tensor.Type()]
        shape = tuple(tensor.Shape(j) for j in range(tensor.ShapeLength()))
        buffer = model.Buffers(tensor.Buffer())
        elements = None
        if buffer.DataLength():
            elements = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).reshape(shape)
        scales, zeros, axis = _quantization(tensor.Quantization())
        found[name] = FileTensor(
            name, dtype, shape, scales, zeros, axis, elements, readers.get(i, "")
        )
    return found


def _quantization(said: Any) -> tuple[Array, Array, int]:
    if said is None or not said.ScaleLength():
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    zeros = (
        said.ZeroPointAsNumpy()
        if said.ZeroPointLength()
        else np.zeros(said.ScaleLength(), np.int64)
    )
    return said.ScaleAsNumpy(), zeros, int(said.QuantizedDimension())


def _compare_activation(
    expected: Rounding, tensors: Mapping[str, FileTensor], source: Source
) -> list[Mismatch]:
    name = expected.input.removesuffix("/float") or expected.input
    found = _find_activation(expected, tensors, source)
    if found is None:
        return [Mismatch(name, "presence", "an int8 tensor", "nothing")]
    if found.dtype != "int8":
        return [Mismatch(name, "dtype", "int8", found.dtype)]
    _, zeros = to_int8(np.zeros(0, np.int8), expected.zero_points, expected.dtype)
    return compare_per_channel(name, "scale", expected.scales, found.scales) + compare_per_channel(
        name, "zero_point", zeros, found.zero_points.astype(np.int64)
    )


def _find_activation(
    expected: Rounding, tensors: Mapping[str, FileTensor], source: Source
) -> FileTensor | None:
    """By the quantizer's name, a graph output's, or the rounded tensor's; else behind renaming operators."""
    outputs = [r.output for r in source.roundings if r.input == expected.output]
    names = [
        expected.input.removesuffix("/float"),
        *(o for o in outputs if o in source.outputs),
        expected.output,
    ]
    for name in names:
        if name in tensors and tensors[name].dtype == "int8":
            return tensors[name]
    op, inputs = source.producers.get(expected.input, ("", ()))
    if op not in _RENAMING:
        return next((tensors[name] for name in names if name in tensors), None)
    before = _rounding_behind(inputs[0], source)
    same = before is not None and _parameters(before) == _parameters(expected)
    return _find_activation(before, tensors, source) if before is not None and same else None


def _rounding_behind(name: str, source: Source) -> Rounding | None:
    """The QuantizeLinear whose DequantizeLinear writes *name*."""
    by_output = {r.output: r for r in source.roundings}
    dequantize = by_output.get(name)
    return None if dequantize is None else by_output.get(dequantize.input)


def _parameters(rounding: Rounding) -> tuple[bytes, bytes, str]:
    return rounding.scales.tobytes(), rounding.zero_points.tobytes(), rounding.dtype


def _compare_copy(tensor: FileTensor, tensors: Mapping[str, FileTensor]) -> list[Mismatch]:
    """A padded or reordered copy must carry the parameters of what it copies."""
    suffix = next((s for s in _COPIES if s in tensor.name), None)
    original = tensors.get(tensor.name.partition(suffix)[0]) if suffix else None
    if original is None or tensor.dtype != "int8" or original.dtype != "int8":
        return []
    return compare_per_channel(
        tensor.name, "scale", original.scales, tensor.scales
    ) + compare_per_channel(tensor.name, "zero_point", original.zero_points, tensor.zero_points)


def _compare_quantized(
    expected: Rounding, user: User, tensors: Mapping[str, FileTensor], source: Source
) -> list[Mismatch]:
    name = expected.output
    found = tensors.get(name) or tensors.get(f"{name}:bias")
    if found is None or found.data is None or expected.integers is None:
        return [Mismatch(name, "presence", "a constant", "nothing")]
    integers, zeros = to_int8(expected.integers, expected.zero_points, expected.dtype)
    if found.dtype == "float32":
        shape = [1] * integers.ndim
        if expected.axis is not None:
            shape[expected.axis] = -1
        real = (integers.astype(np.float32) - zeros.reshape(shape)) * expected.scales.reshape(shape)
        wanted = _canonical(real.astype(np.float32), user)
        return compare_elements(name, "value", wanted, _canonical_in_file(found, user))
    if _is_bias(user, found):
        return _compare_bias(expected, integers, found, user, source)
    mismatches = compare_per_channel(name, "scale", expected.scales, found.scales)
    mismatches += compare_per_channel(name, "zero_point", zeros, found.zero_points.astype(np.int64))
    if expected.axis is not None and found.axis != (
        3 if found.reader == "DEPTHWISE_CONV_2D" else 0
    ):
        mismatches.append(
            Mismatch(name, "form", "scales along output channels", f"axis {found.axis}")
        )
    return mismatches + compare_elements(
        name, "integer", _canonical(integers, user), _canonical_in_file(found, user)
    )


def _compare_bias(
    expected: Rounding, integers: Array, found: FileTensor, user: User, source: Source
) -> list[Mismatch]:
    """Integers on the grid s_in * s_w stay; others must have been rounded to it."""
    name = expected.output
    product = _product_scale(user, source)
    on_grid = product is None or (
        integers.dtype == np.int32
        and not expected.zero_points.any()
        and expected.scales.size in (1, product.size)
        and bool((np.abs(expected.scales - product) <= _BIAS_TOLERANCE * product).all())
    )
    if on_grid or product is None:
        scales = np.broadcast_to(expected.scales, found.scales.shape)
        mismatches = compare_per_channel(name, "scale", scales, found.scales)
        return mismatches + compare_elements(name, "integer", integers.reshape(-1), found.data_1d())
    real = (integers.reshape(-1) - expected.zero_points) * expected.scales.astype(np.float64)
    return _compare_rounded(name, real, product, found)


def _compare_rounded(name: str, real: Array, product: Array, found: FileTensor) -> list[Mismatch]:
    mismatches = compare_per_channel(name, "scale", product.astype(np.float32), found.scales)
    steps = np.rint(real.reshape(-1) / product).astype(np.int32)
    return mismatches + compare_elements(name, "integer", steps, found.data_1d())


def _product_scale(user: User, source: Source) -> Array | None:
    """s_in * s_w of the operator that reads a bias, or None where they are not quantized."""
    by_output = {r.output: r for r in source.roundings}
    inputs = user.inputs
    if user.op == "Add":
        # a bias that the converter bound to the product before it
        inputs = source.producers.get(user.inputs[1 - user.position], ("", ()))[1]
    if len(inputs) < 2:
        return None
    activation, weight = by_output.get(inputs[0]), by_output.get(inputs[1])
    if activation is None or weight is None:
        return None
    product: Array = weight.scales.astype(np.float64) * activation.scales.astype(np.float64)[0]
    return product


def _compare_plain(
    name: str, values: Array, user: User, tensors: Mapping[str, FileTensor], source: Source
) -> list[Mismatch]:
    found = tensors.get(name) or tensors.get(f"{name}:bias")
    if found is None or found.data is None:
        return [Mismatch(name, "presence", "a constant", "nothing")]
    product = _product_scale(user, source) if _is_bias(user, found) else None
    if found.dtype == "int32" and product is not None:
        return _compare_rounded(name, values.astype(np.float64), product, found)
    return compare_elements(
        name, "value", _canonical(values, user), _canonical_in_file(found, user)
    )


def _is_bias(user: User, found: FileTensor) -> bool:
    bound = user.op == "Add" and found.reader in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
    return bound or (user.op in ("Conv", "Gemm") and user.position == 2)


def _canonical(values: Array, user: User) -> Array:
    """The source's order with output channels first."""
    if user.op == "MatMul" or (user.op == "Gemm" and user.position == 1 and not user.transposed):
        return channel_first(values, values.ndim - 1)
    flat = user.op == "Add" or (user.op in ("Conv", "Gemm") and user.position == 2)
    return values.reshape(-1) if flat else values


def _canonical_in_file(found: FileTensor, user: User) -> Array:
    """The file's constant brought into that order, by the operator that reads it."""
    assert found.data is not None
    if found.reader == "CONV_2D" and found.data.ndim == 4:
        return found.data.transpose(0, 3, 1, 2)
    if found.reader == "DEPTHWISE_CONV_2D" and found.data.ndim == 4:
        return found.data.transpose(3, 0, 1, 2)
    if user.op == "Add":
        order = (0, 3, 1, 2) if found.data.ndim == 4 else tuple(range(found.data.ndim))
        return found.data.transpose(order).reshape(-1)
    return found.data
