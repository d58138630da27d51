"""The edge of an artifact and the source's: the same numbers in other types and orders of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecv.artifact.manifest import Manifest
from edgecv.spec import QuantParams, TensorSpec, dequantize, quantize
from edgecv.verify.mismatch import Mismatch
from edgecv.verify.source import Array, Rounding, Source, to_int8

__all__ = ["as_in_file", "as_in_source", "compare_edges", "described", "in_int8_terms"]

_NHWC, _NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def described(
    specs: Sequence[TensorSpec], manifest: Manifest | None, edge: str, *, layout: str | None = None
) -> list[TensorSpec]:
    """What an engine says of inputs or outputs, with what only the manifest says: layout and quantization.

    Args:
        specs: As the engine gives them.
        manifest: Of the artifact, or None.
        edge: ``"inputs"`` or ``"outputs"``.
        layout: Of tensors that the manifest does not name; None keeps the engine's.
    """
    known = {spec.name: spec for spec in getattr(manifest, edge, ())}
    found = []
    for spec in specs:
        said = known.get(spec.name, spec if layout is None else replace(spec, layout=layout))
        # what the engine knows is what executes
        grid = said.quantization if spec.quantization is None else spec.quantization
        found.append(replace(spec, layout=said.layout, quantization=grid))
    return found


def compare_edges(manifest: Manifest | None, source: Source) -> list[Mismatch]:
    """Scales and zero points that a manifest gives for inputs and outputs, which engines of ONNX cannot know.

    Args:
        manifest: Of the artifact, or None.
        source: What to compare with.
    """
    inputs = {r.input: r for r in (*source.activations(), *source.integer_inputs())}
    mismatches: list[Mismatch] = []
    for specs, roundings in (
        (getattr(manifest, "inputs", ()), inputs),
        (getattr(manifest, "outputs", ()), source.by_output),
    ):
        for spec in specs:
            rounding, found = roundings.get(spec.name), spec.quantization
            if rounding is None or found is None:
                continue
            wanted = _params(rounding).as_dtype(found.dtype)
            for field in ("scale", "zero_point"):
                expected, there = getattr(wanted, field), getattr(found, field)
                if expected != there:
                    mismatches.append(
                        Mismatch(f"{spec.name} in the manifest", field, expected, there)
                    )
    return mismatches


def as_in_file(array: Array, spec: TensorSpec, source: Source, name: str) -> Array:
    """An input of the source as the artifact takes it.

    Args:
        array: In the source's dtype and order.
        spec: The artifact's input.
        source: For what the integers of its own inputs mean.
        name: Of the source's input.
    """
    if spec.layout == "NHWC":
        array = array.transpose(_NHWC)
    if array.dtype.kind == "f":
        array = array if spec.quantization is None else quantize(array, spec.quantization)
    elif spec.dtype == "float32":
        grid = next((r for r in source.integer_inputs() if r.input == name), None)
        array = array if grid is None else dequantize(array, _params(grid))
    elif spec.dtype in ("int8", "uint8"):
        array = _shifted(array, spec.dtype)
    return np.ascontiguousarray(array)


def as_in_source(array: Array, spec: TensorSpec, source: Source, name: str) -> Array:
    """An output of the artifact as real numbers in the source's order, or int8 terms where that gives integers.

    Args:
        array: As the artifact gives it.
        spec: The artifact's output.
        source: Whose output it is.
        name: Of the source's output.
    """
    if spec.layout == "NHWC":
        array = array.transpose(_NCHW)
    rounding = source.by_output.get(name)
    if rounding is not None and rounding.op == "QuantizeLinear":
        array = quantize(array, _params(rounding)) if array.dtype.kind == "f" else array
        return in_int8_terms(array)
    if spec.quantization is not None:
        return dequantize(array, spec.quantization)
    return in_int8_terms(array)


def in_int8_terms(array: Array) -> Array:
    """uint8 as int8, anything else as it is."""
    return to_int8(array, np.zeros(1, np.int64), str(array.dtype))[0]


def _shifted(array: Array, dtype: str) -> Array:
    """8-bit integers as the other type, 128 apart."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize > 1 or str(array.dtype) == dtype:
        return array
    shifted: Array = (array ^ array.dtype.type(-128 if array.dtype == np.int8 else 128)).view(dtype)
    return shifted


def _params(rounding: Rounding) -> QuantParams:
    return QuantParams(float(rounding.scales[0]), int(rounding.zero_points[0]), rounding.dtype)
