"""An OpenVINO artifact against its source, read from the xml and the bin directly, without the engine.

``read_model`` turns DequantizeLinear into Multiply(Subtract(Convert(x), Convert(zero point)), scale) and
QuantizeLinear into a FakeQuantize whose bounds are scale * (lowest - zero point) and so on, in float32.
Both keep the ONNX tensor names on their output ports, so what is compared is what the engine computes with.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgecv.errors import ModelLoadError
from edgecv.verify.mismatch import Mismatch, compare_elements, compare_per_channel
from edgecv.verify.source import Array, Rounding, Source, channel_first

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

    def source(self, layer: _Layer, position: int) -> _Layer | None:
        """The layer behind an input, seen through layers that change no value."""
        if position >= len(layer.inputs):
            return None
        found = self.layers.get(layer.inputs[position])
        while found is not None and found.type in _TRANSPARENT and found.inputs:
            found = self.layers.get(found.inputs[0])
        return found

    def constant(self, layer: _Layer | None) -> Array | None:
        """Elements of a Const layer, or None when it is none or lies outside the bin."""
        if layer is None or layer.type != "Const" or layer.data.get("element_type") not in _DTYPES:
            return None
        dtype = np.dtype(_DTYPES[layer.data["element_type"]])
        shape = [int(d) for d in layer.data.get("shape", "").split(",") if d.strip()]
        offset, size = int(layer.data["offset"]), int(layer.data["size"])
        if offset + size > len(self.weights) or size != dtype.itemsize * int(
            np.prod(shape, dtype=np.int64)
        ):
            return None
        return np.frombuffer(self.weights, dtype, size // dtype.itemsize, offset).reshape(shape)


def compare_openvino(xml: bytes, weights: bytes, source: Source) -> list[Mismatch]:
    """Compare; see :func:`edgecv.verify.parameters.compare_parameters`.

    Args:
        xml: The network; an ``rt_info`` element does not matter.
        weights: The ``.bin``.
        source: What to compare with.
    """
    network = _parse(xml, weights)
    mismatches: list[Mismatch] = []
    for rounding in source.roundings:
        if rounding.op == "QuantizeLinear":
            mismatches += _compare_quantize(rounding, network)
        else:
            mismatches += _compare_dequantize(rounding, network)
    for name, values in source.plain_constants().items():
        found = network.constant(network.by_name.get(name))
        if found is None:
            mismatches.append(Mismatch(name, "presence", "a constant", "nothing"))
        else:
            mismatches += compare_elements(name, "value", values, found)
    return mismatches


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
        port = int(edge.get("to-port", "0"))
        if target is not None and port < len(target.inputs):
            target.inputs[port] = edge.get("from-layer", "")
    return _Network(layers, by_name, weights)


def _names(said: str) -> list[str]:
    """Tensor names of a port: separated by commas; a comma inside a name is escaped."""
    return [n.replace("\\,", ",") for n in re.split(r"(?<!\\),", said) if n]


def _compare_quantize(expected: Rounding, network: _Network) -> list[Mismatch]:
    """Bounds of the FakeQuantize behind the tensor that QuantizeLinear writes."""
    layer = network.by_name.get(expected.output)
    while layer is not None and layer.type == "Convert":
        layer = network.layers.get(layer.inputs[0])
    name = expected.input.removesuffix("/float") or expected.input
    if layer is None or layer.type != "FakeQuantize":
        return [
            Mismatch(name, "form", "a FakeQuantize", "nothing" if layer is None else layer.type)
        ]
    limits = np.iinfo(expected.dtype)
    bounds = [network.constant(network.source(layer, i)) for i in (1, 2, 3, 4)]
    mismatches = []
    if layer.data.get("levels") != "256":
        mismatches.append(Mismatch(name, "form", "256 levels", layer.data.get("levels")))
    for found, limit, field_name in (
        (bounds[0], limits.min, "scale"),
        (bounds[1], limits.max, "scale"),
    ):
        steps = (limit - expected.zero_points).astype(np.float32)
        wanted = (expected.scales * steps).astype(np.float32)
        mismatches += _compare_constant(name, field_name, wanted, found)
    for found, limit in ((bounds[2], limits.min), (bounds[3], limits.max)):
        mismatches += _compare_constant(name, "zero_point", np.full(1, limit, np.float32), found)
    return mismatches


def _compare_dequantize(expected: Rounding, network: _Network) -> list[Mismatch]:
    """Constants of the Multiply and Subtract that write the tensor."""
    name = expected.output
    multiply = network.by_name.get(expected.output)
    if multiply is None or multiply.type != "Multiply":
        found = "nothing" if multiply is None else multiply.type
        return [Mismatch(name, "form", "a Multiply by the scale", found)]
    mismatches = _compare_constant(
        name, "scale", expected.scales, network.constant(network.source(multiply, 1))
    )
    inner = network.layers.get(multiply.inputs[0])
    if inner is not None and inner.type == "Subtract":
        zeros = network.constant(network.source(inner, 1))
        wanted = expected.zero_points.astype(expected.dtype)
        mismatches += _compare_constant(name, "zero_point", wanted, zeros)
        inner = network.source(inner, 0)
    elif expected.zero_points.any():
        mismatches.append(Mismatch(name, "zero_point", expected.zero_points.tolist(), "none"))
    if expected.integers is None:
        return mismatches
    while inner is not None and inner.type == "Convert":
        inner = network.layers.get(inner.inputs[0])
    integers = network.constant(inner)
    if integers is None:
        # integers of a constant that the file rounds itself: the bounds of that rounding were compared
        computed = inner is not None and inner.type == "FakeQuantize"
        return (
            mismatches
            if computed
            else [*mismatches, Mismatch(name, "presence", "constant integers", "nothing")]
        )
    return mismatches + compare_elements(
        name,
        "integer",
        channel_first(expected.integers, expected.axis),
        channel_first(integers, expected.axis),
    )


def _compare_constant(name: str, kind: str, wanted: Array, found: Array | None) -> list[Mismatch]:
    if found is None:
        return [Mismatch(name, "presence", f"a constant {kind}", "nothing")]
    if found.dtype != wanted.dtype:
        return [Mismatch(name, "dtype", str(wanted.dtype), str(found.dtype))]
    return compare_per_channel(name, kind, wanted, found.reshape(-1))
