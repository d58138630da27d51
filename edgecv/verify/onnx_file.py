"""An ONNX artifact against its source: the same roundings with the same numbers, by tensor name."""

from __future__ import annotations

import numpy as np

from edgecv.verify.mismatch import Mismatch, compare_elements, compare_per_channel
from edgecv.verify.source import Array, Rounding, Source, read_source

__all__ = ["compare_onnx"]


def compare_onnx(data: bytes, source: Source, *, halves: bool = False) -> list[Mismatch]:
    """Compare; see :func:`edgecv.verify.parameters.compare_parameters`.

    Args:
        data: The artifact.
        source: What to compare with.
        halves: Whether constants may be float16, behind a Cast.
    """
    artifact = read_source(data)
    constants = {**artifact.constants, **(_cast(artifact) if halves else {})}
    found = {(r.op, r.output): r for r in artifact.roundings}
    mismatches: list[Mismatch] = []
    for expected in source.roundings:
        rounding = found.pop((expected.op, expected.output), None)
        if rounding is None:
            mismatches.append(Mismatch(expected.output, "presence", expected.op, "nothing"))
        else:
            mismatches += _compare(expected, rounding, source)
    mismatches += [Mismatch(r.output, "presence", "nothing", r.op) for r in found.values()]
    # the file is the source's own: clamp bounds, shapes and axes are there too
    for name in (n for n in source.constants if source.readers(n)):
        if name in constants:
            wanted, there = source.constants[name], constants[name]
            mismatches += compare_elements(name, "value", wanted, there, source.channel_axis(name))
        else:
            mismatches.append(Mismatch(name, "presence", "a constant", "nothing"))
    # a Q and its DQ read the same scale: one fault, said once
    return list(dict.fromkeys(mismatches))


def _cast(artifact: Source) -> dict[str, Array]:
    """Name of what a Cast of a float16 constant makes → that constant."""
    return {
        name: artifact.constants[inputs[0]]
        for name, (op, inputs) in artifact.producers.items()
        if op == "Cast"
        and inputs[0] in artifact.constants
        and artifact.constants[inputs[0]].dtype == np.float16
    }


def _compare(expected: Rounding, found: Rounding, source: Source) -> list[Mismatch]:
    name = source.title(expected)
    if (expected.input, expected.dtype, expected.axis) != (found.input, found.dtype, found.axis):
        said = [f"{r.dtype} of {r.input!r}, axis {r.axis}" for r in (expected, found)]
        return [Mismatch(name, "form", said[0], said[1])]
    mismatches = compare_per_channel(name, "scale", expected.scales, found.scales)
    mismatches += compare_per_channel(name, "zero_point", expected.zero_points, found.zero_points)
    if expected.integers is None:
        return mismatches
    if found.integers is None:
        return [*mismatches, Mismatch(name, "presence", "constant integers", "nothing")]
    axis = source.channel_axis(expected.output)
    return mismatches + compare_elements(name, "integer", expected.integers, found.integers, axis)
