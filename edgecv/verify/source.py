"""The source ONNX as verification sees it: its roundings and constants, read without the converter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import ModelLoadError, require

__all__ = ["Array", "Rounding", "Source", "User", "channel_first", "read_source", "to_int8"]

Array = npt.NDArray[Any]

_ROUNDINGS = ("QuantizeLinear", "DequantizeLinear")
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: Operator → inputs that newer definitions have in place of attributes.
_PARAMETERS = {"Clip": (1, 2), "Pad": (2,), "Pow": (1,)}
_ELEMENTWISE = ("Add", "BatchNormalization", "Div", "Max", "Min", "Mul", "PRelu", "Sub")


@dataclass(frozen=True, eq=False)
class Rounding:
    """One QuantizeLinear or DequantizeLinear.

    Attributes:
        op: Its type.
        input: Name of the tensor that it reads.
        output: Name of the tensor that it writes.
        scales: float32, [1] or [C].
        zero_points: int64, as many.
        dtype: Integer type in the file.
        axis: Channel dimension, or None per tensor.
        integers: What a DequantizeLinear of a constant reads, or None.
    """

    op: str
    input: str
    output: str
    scales: Array
    zero_points: Array
    dtype: str
    axis: int | None
    integers: Array | None = None


@dataclass(frozen=True)
class User:
    """One place where a tensor is read.

    Attributes:
        op: Type of the operator.
        position: Which of its inputs.
        inputs: Names of all its inputs.
        transposed: Gemm's transB.
    """

    op: str
    position: int
    inputs: tuple[str, ...]
    transposed: bool

    @property
    def is_parameter(self) -> bool:
        """Whether what is read says how the operator works: a bound, a filler, an exponent."""
        return self.position in _PARAMETERS.get(self.op, ())


@dataclass(frozen=True, eq=False)
class Source:
    """What there is to compare.

    Attributes:
        roundings: In file order.
        constants: Name → elements, of all initializers.
        users: Name → where it is read.
        producers: Name → (operator type, inputs) of the operator that writes it.
        outputs: Names of the graph's outputs.
        attributes: Name → float attributes of the operator that writes it.
    """

    roundings: tuple[Rounding, ...]
    constants: Mapping[str, Array]
    users: Mapping[str, tuple[User, ...]]
    producers: Mapping[str, tuple[str, tuple[str, ...]]]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Mapping[str, float]]

    @cached_property
    def by_output(self) -> Mapping[str, Rounding]:
        """Name of the tensor that a rounding writes → the rounding."""
        return {r.output: r for r in self.roundings}

    @cached_property
    def live(self) -> frozenset[str]:
        """Tensors that an output depends on; engines drop the others."""
        found: set[str] = set()
        stack = list(self.outputs)
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack.extend(self.producers.get(name, ("", ()))[1])
        return frozenset(found)

    def title(self, rounding: Rounding) -> str:
        """What a message calls it: the rounded activation, or the constant as operators read it."""
        if rounding.op == "DequantizeLinear":
            before = self.by_output.get(rounding.input)
            if before is None or self._is_constant(before.input):
                return rounding.output
            rounding = before
        return rounding.input.removesuffix("/float") or rounding.input

    def dequantized_constants(self) -> tuple[Rounding, ...]:
        """Every DequantizeLinear of a constant, those of a constant that is rounded in the file included."""
        return tuple(
            r for r in self.roundings if r.op == "DequantizeLinear" and r.integers is not None
        )

    def activations(self) -> tuple[Rounding, ...]:
        """Every QuantizeLinear of something computed."""
        return tuple(
            r for r in self.roundings if r.op == "QuantizeLinear" and not self._is_constant(r.input)
        )

    def integer_inputs(self) -> tuple[Rounding, ...]:
        """Every DequantizeLinear of something that no QuantizeLinear made: an input of the graph."""
        return tuple(
            r
            for r in self.roundings
            if r.op == "DequantizeLinear" and r.integers is None and r.input not in self.by_output
        )

    def plain_constants(self) -> dict[str, Array]:
        """float32 constants that operators compute with."""
        return {
            name: data
            for name, data in self.constants.items()
            if data.dtype == np.float32
            and any(
                (data.ndim and not u.is_parameter) or u.op in _ELEMENTWISE
                for u in self.readers(name)
            )
        }

    def parameters(self) -> dict[str, Array]:
        """float32 constants that say how an operator works (:attr:`User.is_parameter`)."""
        return {
            name: data
            for name, data in self.constants.items()
            if data.dtype == np.float32 and any(u.is_parameter for u in self.readers(name))
        }

    def _is_constant(self, name: str) -> bool:
        """Whether *name* is one in the file, as it is or rounded before."""
        before = self.by_output.get(name)
        return name in self.constants or (before is not None and before.integers is not None)

    def readers(self, name: str) -> tuple[User, ...]:
        """Where *name* is computed with: every use but those in roundings."""
        return tuple(u for u in self.users.get(name, ()) if u.op not in _ROUNDINGS)

    def real(self, name: str) -> Array | None:
        """float32 values of a constant, plain or behind DequantizeLinear; None for what is computed."""
        rounding = self.by_output.get(name)
        if rounding is None:
            values = self.constants.get(name)
            return None if values is None else values.astype(np.float32)
        return None if rounding.integers is None else _real(rounding.integers, rounding)

    def channel_axis(self, name: str) -> int | None:
        """Dimension of a constant, as operators read it, that counts output channels; None without."""
        rounding = self.by_output.get(name)
        values = self.constants[name] if rounding is None else rounding.integers
        assert values is not None, f"{name} is computed"
        if rounding is not None and rounding.axis is not None:
            return rounding.axis % values.ndim
        return next((_channel_axis(u, values.ndim) for u in self.readers(name)), None)


def _channel_axis(user: User, ndim: int) -> int | None:
    """ONNX operator definitions: Conv W is [M, C/group, …], ConvTranspose W [C, M/group, …], MatMul B […, N]."""
    if not ndim or user.op not in (*_ELEMENTWISE, *_PRODUCTS):
        return None
    if user.op in _PRODUCTS and user.position == 1:
        last = user.op == "MatMul" or (user.op == "Gemm" and not user.transposed)
        return ndim - 1 if last else int(user.op == "ConvTranspose")
    # a bias, or an operand that broadcasts: against […, C, H, W] or […, C]
    return ndim - 3 if ndim > 2 else ndim - 1


def read_source(data: bytes) -> Source:
    """Read an ONNX file.

    Args:
        data: The whole file; a manifest entry at its end does not matter.

    Raises:
        ModelLoadError: Not an ONNX model, or one that computes nothing.
        MissingExtraError: The package onnx is not installed.
    """
    require("onnx", extra="convert")
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelLoadError(
            f"not an ONNX model ({error})", cure="Export the model again."
        ) from error
    if not model.graph.node or not model.graph.output:
        # cut off between two fields a file still parses, and comparing with nothing always succeeds
        raise ModelLoadError(
            "the ONNX model has no operators or no outputs", cure="Export the model again."
        )
    try:
        return _read(model.graph)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ModelLoadError(
            f"a constant or a rounding of the ONNX model is damaged ({error})",
            cure="Export the model again.",
        ) from error


def _read(graph: Any) -> Source:
    from onnx import AttributeProto, numpy_helper

    _see_through_copies(graph)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    users: dict[str, list[User]] = {}
    producers: dict[str, tuple[str, tuple[str, ...]]] = {}
    attributes: dict[str, dict[str, float]] = {}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    constants[node.output[0]] = numpy_helper.to_array(attribute.t)
            continue
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        for position, name in enumerate(node.input):
            users.setdefault(name, []).append(
                User(node.op_type, position, tuple(node.input), transposed)
            )
        floats = {a.name: float(a.f) for a in node.attribute if a.type == AttributeProto.FLOAT}
        for name in node.output:
            producers[name] = (node.op_type, tuple(node.input))
            attributes[name] = floats
    roundings = _roundings(graph.node, constants)
    outputs = tuple(o.name for o in graph.output)
    read = {n: tuple(u) for n, u in users.items()}
    return Source(roundings, constants, read, producers, outputs, attributes)


def _see_through_copies(graph: Any) -> None:
    """Readers of an Identity of a constant, rounded or not, read what it reads."""
    constants = {t.name for t in graph.initializer}
    copied: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = copied.get(name, name)
        if node.op_type == "Constant" or (
            node.op_type in _ROUNDINGS and node.input and node.input[0] in constants
        ):
            constants.update(node.output)
        if node.op_type == "Identity" and node.input and node.input[0] in constants:
            copied[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    if copied:
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)


def _roundings(nodes: Any, constants: Mapping[str, Array]) -> tuple[Rounding, ...]:
    found: list[Rounding] = []
    rounded: dict[str, Array] = {}
    dequantized: dict[str, tuple[Array, Rounding]] = {}
    for node in nodes:
        if (
            node.op_type not in ("QuantizeLinear", "DequantizeLinear")
            or node.input[1] not in constants
        ):
            continue
        scales = np.atleast_1d(constants[node.input[1]]).astype(np.float32)
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        name = node.input[0]
        integers = constants.get(name, rounded.get(name))
        if node.op_type == "QuantizeLinear" and name in dequantized:
            integers = _real(*dequantized[name])
        if node.op_type == "QuantizeLinear":
            dtype = "uint8" if zero is None else str(zero.dtype)
        else:
            dtype = str(
                zero.dtype
                if zero is not None
                else integers.dtype
                if integers is not None
                else "uint8"
            )
        zeros = np.zeros(1, np.int64) if zero is None else np.atleast_1d(zero).astype(np.int64)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if scales.size > 1 and integers is not None and integers.shape[axis] != scales.size:
            raise ValueError(
                f"{node.input[0]!r} has {scales.size} scales along axis {axis} of {integers.shape}"
            )
        rounding = Rounding(
            node.op_type,
            node.input[0],
            node.output[0],
            scales,
            np.broadcast_to(zeros, scales.shape),
            dtype,
            axis if scales.size > 1 else None,
            integers if node.op_type == "DequantizeLinear" else None,
        )
        found.append(rounding)
        if node.op_type == "QuantizeLinear" and integers is not None:
            rounded[node.output[0]] = _round(integers, rounding)
        elif integers is not None:
            dequantized[node.output[0]] = (integers, rounding)
    return tuple(found)


def _along(values: Array, rounding: Rounding, ndim: int) -> Array:
    shape = [1] * ndim
    if rounding.axis is not None:
        shape[rounding.axis] = -1
    return values.reshape(shape)


def _real(integers: Array, rounding: Rounding) -> Array:
    """What a DequantizeLinear makes; its constant may be rounded once more."""
    centered = integers.astype(np.float64) - _along(rounding.zero_points, rounding, integers.ndim)
    real: Array = (centered * _along(rounding.scales, rounding, integers.ndim)).astype(np.float32)
    return real


def _round(real: Array, rounding: Rounding) -> Array:
    steps = np.rint(real / _along(rounding.scales, rounding, real.ndim))
    steps = steps + _along(rounding.zero_points, rounding, real.ndim)
    limits = np.iinfo(rounding.dtype)
    integers: Array = np.clip(steps, limits.min, limits.max).astype(rounding.dtype)
    return integers


def to_int8(integers: Array, zero_points: Array, dtype: str) -> tuple[Array, Array]:
    """The same numbers in int8 terms: uint8 is shifted by -128, everything else stays."""
    if dtype != "uint8":
        return integers, zero_points
    return (integers.astype(np.int16) - 128).astype(np.int8), zero_points - 128


def channel_first(values: Array, axis: int | None) -> Array:
    """*values* with dimension *axis* in front, where they have one."""
    return values if not axis or values.ndim <= axis else np.moveaxis(values, axis, 0)
