"""An OpenVINO artifact against its source, read from the xml and the bin directly, without the engine.

``read_model`` turns DequantizeLinear into Multiply(Subtract(Convert(x), Convert(zero point)), scale) and
QuantizeLinear into a FakeQuantize whose bounds are scale * (lowest - zero point) and so on, in float32.
Both keep the ONNX tensor names on their output ports, so what is compared is what the engine computes with.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgecv.errors import ModelLoadError
from edgecv.verify.mismatch import Mismatch, compare_elements, compare_per_channel
from edgecv.verify.source import Array, Rounding, Source

__all__ = ["compare_openvino"]

_DTYPES = {
    "f32": "float32", "f16": "float16", "f64": "float64", "i8": "int8", "u8": "uint8", "i16": "int16",
    "u16": "uint16", "i32": "int32", "u32": "uint32", "i64": "int64", "u64": "uint64", "boolean": "bool",
}  # fmt: skip
#: Layers between a constant and what it is used for that change no value.
_TRANSPARENT = {"Convert", "Reshape", "Unsqueeze", "Squeeze", "Broadcast"}


@dataclass(frozen=True)
class _Layer:
    """One layer: type, ONNX names of its outputs, what its inputs are, and its place in the bin."""

    id: str
    type: str
    names: frozenset[str]
    data: Mapping[str, str]
    inputs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Network:
    layers: Mapping[str, _Layer]
    by_name: Mapping[str, _Layer]
    weights: bytes

    def behind(self, layer: _Layer, position: int) -> list[_Layer]:
        """What an input reads: layers that change no value, up to the first other one, which is last."""
        found: list[_Layer] = []
        name = layer.inputs[position] if position < len(layer.inputs) else ""
        # bounded: in a damaged file the edges may form a ring
        while name in self.layers and len(found) < len(self.layers):
            found.append(self.layers[name])
            if found[-1].type not in _TRANSPARENT or not found[-1].inputs:
                break
            name = found[-1].inputs[0]
        return found

    def source(self, layer: _Layer, position: int) -> _Layer | None:
        """The layer behind an input, seen through layers that change no value."""
        return next(reversed(self.behind(layer, position)), None)

    def operand(self, layer: _Layer, position: int) -> Array | None:
        """The constant behind an input, in the shape in which it broadcasts."""
        path = self.behind(layer, position)
        values = self.constant(path[-1]) if path else None
        for passed in reversed(path[:-1]):
            shape = self.constant(self.source(passed, 1)) if passed.type == "Reshape" else None
            if values is not None and shape is not None and shape.prod() == values.size:
                values = values.reshape(shape.reshape(-1))
        return values

    def constant(self, layer: _Layer | None) -> Array | None:
        """Elements of a Const layer, or None when it is none or lies outside the bin."""
        if layer is None or layer.type != "Const" or layer.data.get("element_type") not in _DTYPES:
            return None
        dtype = np.dtype(_DTYPES[layer.data["element_type"]])
        shape = _integers(layer.data.get("shape", ""))
        offset, size = (_integers(layer.data.get(key, "")) for key in ("offset", "size"))
        if shape is None or not offset or not size:
            return None
        count = math.prod(shape)
        if size[0] != dtype.itemsize * count or offset[0] + size[0] > len(self.weights):
            return None
        return np.frombuffer(self.weights, dtype, count, offset[0]).reshape(shape)


def compare_openvino(
    xml: bytes, weights: bytes, source: Source, *, halves: bool = False
) -> list[Mismatch]:
    """Compare; see :func:`edgecv.verify.parameters.compare_parameters`.

    Args:
        xml: The network; an ``rt_info`` element does not matter.
        weights: The ``.bin``.
        source: What to compare with.
        halves: Whether constants may be float16, behind a Convert.
    """
    network = _parse(xml, weights)
    mismatches: list[Mismatch] = []
    # read_model drops what no output depends on
    for rounding in (r for r in source.roundings if r.output in source.live):
        if rounding.integers is not None and not source.readers(rounding.output):
            # a constant that is only rounded again, to integers that stand for it
            continue
        if rounding.op == "QuantizeLinear":
            mismatches += _compare_quantize(rounding, network, source)
        else:
            mismatches += _compare_dequantize(rounding, network, source)
    plain, parameters = source.plain_constants(), source.parameters()
    for name, values in {**parameters, **plain}.items():
        # the frontend makes attributes of some parameters
        if name not in source.live or (name not in plain and name not in network.by_name):
            continue
        layer = network.by_name.get(name)
        if halves and layer is not None and layer.type == "Convert":
            layer = network.source(layer, 0)
        found = network.constant(layer)
        axis = source.channel_axis(name) if name in plain else None
        mismatches += _compare_constant(name, "value", values, found, axis)
    return list(dict.fromkeys(mismatches))


def _integers(said: str) -> tuple[int, ...] | None:
    """Numbers separated by commas, none negative; None where *said* is something else."""
    parts = [part.strip() for part in said.split(",") if part.strip()]
    return tuple(map(int, parts)) if all(p.isascii() and p.isdigit() for p in parts) else None


def _parse(xml: bytes, weights: bytes) -> _Network:
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as error:
        raise ModelLoadError(
            f"the OpenVINO xml is damaged ({error})", cure="Convert the model again."
        ) from error
    layers: dict[str, _Layer] = {}
    by_name: dict[str, _Layer] = {}
    for element in root.findall("./layers/layer"):
        names = [
            n for port in element.findall("./output/port") for n in _names(port.get("names", ""))
        ]
        data = element.find("data")
        inputs = [""] * len(element.findall("./input/port"))
        layer = _Layer(
            element.get("id", ""),
            element.get("type", ""),
            frozenset(names),
            {} if data is None else data.attrib,
            inputs,
        )
        layers[layer.id] = layer
        by_name.update(dict.fromkeys(names, layer))
    for edge in root.findall("./edges/edge"):
        target = layers.get(edge.get("to-layer", ""))
        port = _integers(edge.get("to-port", ""))
        if target is not None and port and port[0] < len(target.inputs):
            target.inputs[port[0]] = edge.get("from-layer", "")
    return _Network(layers, by_name, weights)


def _names(said: str) -> list[str]:
    """Tensor names of a port: separated by commas; a comma inside a name is escaped."""
    return [n.replace("\\,", ",") for n in re.split(r"(?<!\\),", said) if n]


def _compare_quantize(expected: Rounding, network: _Network, source: Source) -> list[Mismatch]:
    """Bounds of the FakeQuantize behind the tensor that QuantizeLinear writes."""
    name = source.title(expected)
    layer = network.by_name.get(expected.output)
    if layer is not None and layer.type == "Convert":
        layer = network.source(layer, 0)
    behind = source.by_output.get(expected.input)
    if behind is not None and behind.integers is not None and network.constant(layer) is not None:
        # a constant that is rounded again: its integers are compared with the DequantizeLinear behind it
        return []
    if layer is None or layer.type != "FakeQuantize":
        said = "nothing" if layer is None else layer.type
        return [Mismatch(name, "form", "a FakeQuantize", said)]
    mismatches = []
    if layer.data.get("levels") != "256":
        mismatches.append(Mismatch(name, "form", "256 levels", layer.data.get("levels")))
    values = source.constants.get(expected.input)
    limits = np.iinfo(expected.dtype)
    for position, side, limit in ((1, "lowest", limits.min), (2, "highest", limits.max)):
        steps = (limit - expected.zero_points).astype(np.float32)
        real = _along((expected.scales * steps).astype(np.float32), expected.axis, values)
        found = network.operand(layer, position)
        mismatches += _compare_operand(name, f"{side}_real", real, found)
        integer = np.full(1, limit, np.float32)
        found = network.operand(layer, position + 2)
        mismatches += _compare_operand(name, f"{side}_integer", integer, found)
    if values is not None:
        found = network.constant(network.source(layer, 0))
        mismatches += _compare_constant(name, "value", values, found, expected.axis)
    return mismatches


def _compare_dequantize(expected: Rounding, network: _Network, source: Source) -> list[Mismatch]:
    """Constants of the Multiply and Subtract that write the tensor."""
    name, axis, integers = source.title(expected), expected.axis, expected.integers
    multiply = network.by_name.get(expected.output)
    if multiply is None or multiply.type != "Multiply":
        found = "nothing" if multiply is None else multiply.type
        return [Mismatch(name, "form", "a Multiply by the scale", found)]
    scales = _along(expected.scales, axis, integers)
    mismatches = _compare_operand(name, "scale", scales, network.operand(multiply, 1))
    inner = network.source(multiply, 0)
    if inner is not None and inner.type == "Subtract":
        wanted = _along(expected.zero_points.astype(expected.dtype), axis, integers)
        mismatches += _compare_operand(name, "zero_point", wanted, network.operand(inner, 1))
        inner = network.source(inner, 0)
    elif expected.zero_points.any():
        zeros = tuple(expected.zero_points.tolist())
        mismatches.append(Mismatch(name, "zero_point", zeros, "none"))
    there = network.constant(inner)
    if integers is None or (expected.input in source.by_output and there is None):
        # integers that a FakeQuantize makes: it was compared with its QuantizeLinear
        return mismatches
    channels = source.channel_axis(expected.output)
    return mismatches + _compare_constant(name, "integer", integers, there, channels)


def _along(values: Array, axis: int | None, tensor: Array | None) -> Array:
    """One value per channel in the shape that broadcasts along dimension *axis* of *tensor*."""
    if axis is None or tensor is None:
        return values
    return values.reshape([-1 if d == axis % tensor.ndim else 1 for d in range(tensor.ndim)])


def _compare_operand(name: str, kind: str, wanted: Array, found: Array | None) -> list[Mismatch]:
    """One number or one per channel, and the dimension along which the engine spreads them."""
    if found is None:
        return [Mismatch(name, "presence", f"a constant {kind}", "nothing")]
    if found.dtype != wanted.dtype:
        return [Mismatch(name, "dtype", str(wanted.dtype), str(found.dtype))]
    mismatches = compare_per_channel(name, kind, wanted.reshape(-1), found.reshape(-1))
    shape = (1,) * (wanted.ndim - found.ndim) + found.shape
    if wanted.ndim > 1 and found.size == wanted.size > 1 and shape != wanted.shape:
        mismatches.append(Mismatch(name, "form", f"{kind} of shape {wanted.shape}", f"{shape}"))
    return mismatches


def _compare_constant(
    name: str, kind: str, wanted: Array, found: Array | None, axis: int | None
) -> list[Mismatch]:
    if found is None:
        return [Mismatch(name, "presence", "a constant", "nothing")]
    return compare_elements(name, kind, wanted, found, axis)
