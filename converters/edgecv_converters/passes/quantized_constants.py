"""Weights and biases behind DequantizeLinear become constants that carry their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters.ir import Array, Constant, ConstantQuant, Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["AbsorbConstants", "absorbed", "parameters_of", "quantized", "rounded_constant"]

_INTEGERS = {"int8": (-128, 127), "uint8": (0, 255)}
_RECALIBRATE = "Quantize the model again; its calibration saw NaN or infinity."


class AbsorbConstants(Pass):
    """Turn DequantizeLinear(constant) and DequantizeLinear(QuantizeLinear(constant)) into quantized constants."""

    name: ClassVar[str] = "absorb-constants"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Keep integers and scales as they are; uint8 is shifted to int8 by -128."""
        constants = dict(graph.constants)
        integers: dict[str, Constant] = {}
        gone: set[int] = set()
        for node in graph.nodes:
            if node.domain or node.op not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            source = integers.get(node.inputs[0]) or constants.get(node.inputs[0])
            if source is None:
                continue
            gone.add(id(node))
            if node.op == "QuantizeLinear":
                integers[node.outputs[0]] = quantized(source, node, graph.constants)
            else:
                constants[node.outputs[0]] = absorbed(source, node, graph.constants)
        nodes = [node for node in graph.nodes if id(node) not in gone]
        # operators of other kinds may read the integers themselves; they are judged later
        read = {*graph.outputs, *(name for node in nodes for name in node.inputs)}
        constants |= {name: constant for name, constant in integers.items() if name in read}
        values = {name: value for name, value in graph.values.items() if name not in constants}
        return graph.rewired(nodes, values=values, constants=constants)

    def postcondition(self, graph: Graph) -> str | None:
        """No QuantizeLinear or DequantizeLinear reads a constant."""
        return rounded_constant(graph)


def rounded_constant(graph: Graph) -> str | None:
    """Which QuantizeLinear or DequantizeLinear reads a constant, or None."""
    for node in graph.nodes:
        rounds = not node.domain and node.op in ("QuantizeLinear", "DequantizeLinear")
        if rounds and node.inputs[0] in graph.constants:
            return f"{node.name!r} reads a constant"
    return None


def parameters_of(node: Node, constants: Mapping[str, Constant]) -> tuple[Array, Array, str]:
    """Scales (float32, 1-D), zero points (int32, 1-D, as many) and integer type of a Q or DQ node.

    Raises:
        UnsupportedError: Blocked or computed parameters, or an integer type other than 8 bits.
        ModelLoadError: A scale that is not positive and finite, or a zero point outside its type.
    """
    missing = [n for n in node.inputs[1:3] if n and n not in constants]
    if len(node.inputs) < 2 or missing or node.attributes.get("block_size"):
        raise UnsupportedError(
            f"{node.op} {node.name!r} has computed or blocked parameters",
            cure="Use constant scales and zero points, per tensor or per channel.",
        )
    scale = constants[node.inputs[1]].data
    zero = constants[node.inputs[2]].data if len(node.inputs) > 2 and node.inputs[2] else None
    if (
        scale.dtype != np.float32
        or scale.ndim > 1
        or (zero is not None and zero.size not in (1, scale.size))
    ):
        raise UnsupportedError(
            f"{node.op} {node.name!r} has scales of type {scale.dtype} and shape {scale.shape}",
            cure="Use float32 scales, one or one per channel, and as many zero points.",
        )
    scales = np.atleast_1d(scale)
    wrong = np.flatnonzero(~(np.isfinite(scales) & (scales > 0)))
    if wrong.size:
        channel = int(wrong[0])
        raise ModelLoadError(
            f"the scale of {node.op} {node.name!r}, channel {channel}, is {scales[channel]!s}",
            cure=_RECALIBRATE,
        )
    dtype = "uint8" if zero is None else str(zero.dtype)
    zeros = (
        np.zeros(scales.size, np.int32)
        if zero is None
        else np.broadcast_to(zero.reshape(-1), scales.shape)
    )
    return scales, zeros.astype(np.int32), dtype


def absorbed(source: Constant, node: Node, constants: Mapping[str, Constant]) -> Constant:
    """What DequantizeLinear makes of integers, with its parameters; uint8 is shifted to int8.

    Args:
        source: The integers.
        node: The DequantizeLinear.
        constants: Its scale and zero point by name.

    Raises:
        EdgecvError: As :func:`parameters_of`, or integers of another type.
    """
    scales, zeros, dtype = parameters_of(node, constants)
    name, data = node.outputs[0], source.data
    if len(node.inputs) < 3 or not node.inputs[2]:
        dtype = str(data.dtype)
    if str(data.dtype) != dtype or dtype not in (*_INTEGERS, "int32"):
        raise UnsupportedError(
            f"the constant {source.name!r} is {data.dtype} with a zero point of type {dtype}",
            cure="Weights are int8 or uint8, biases int32.",
        )
    if dtype == "uint8":
        data, zeros = (data.astype(np.int16) - 128).astype(np.int8), zeros - 128
    return Constant(name, data, ConstantQuant(scales, zeros, _axis(scales, node, data)))


def _axis(scales: Array, node: Node, data: Array) -> int | None:
    if scales.size == 1:
        return None
    axis = int(node.attributes.get("axis", 1))
    axis += data.ndim if axis < 0 else 0
    if not 0 <= axis < data.ndim or data.shape[axis] != scales.size:
        raise ModelLoadError(
            f"{node.op} {node.name!r} has {scales.size} scales along axis {axis} of {list(data.shape)}",
            cure="The file is damaged; export the model again.",
        )
    return axis


def quantized(source: Constant, node: Node, constants: Mapping[str, Constant]) -> Constant:
    """What QuantizeLinear makes of a constant (ONNX: round half to even, saturate): its integers.

    Args:
        source: Float, or integers with the parameters of what they stand for.
        node: The QuantizeLinear.
        constants: Its scale and zero point by name.

    Raises:
        EdgecvError: As :func:`parameters_of`, or integers of another type.
    """
    scales, zeros, dtype = parameters_of(node, constants)
    # a constant that was rounded before is rounded again, as what it then stood for
    real = source.data if source.quant is None else source.real()
    if dtype not in _INTEGERS or real.dtype != np.float32:
        raise UnsupportedError(
            f"{node.op} {node.name!r} makes {dtype} of {real.dtype}",
            cure="Weights are int8 or uint8.",
        )
    quant = ConstantQuant(scales, zeros, _axis(scales, node, real))
    rank = real.ndim
    # beyond float32 is beyond the integers, too
    with np.errstate(over="ignore"):
        steps = np.rint(real / quant.along(scales, rank)) + quant.along(zeros, rank)
    low, high = _INTEGERS[dtype]
    return Constant(node.outputs[0], np.clip(steps, low, high).astype(dtype))
