"""An ONNX artifact against its source: the same roundings with the same numbers, by tensor name."""

from __future__ import annotations

from edgecv.verify.mismatch import Mismatch, compare_elements, compare_per_channel
from edgecv.verify.source import Rounding, Source, channel_first, read_source

__all__ = ["compare_onnx"]


def compare_onnx(data: bytes, source: Source) -> list[Mismatch]:
    """Compare; see :func:`edgecv.verify.parameters.compare_parameters`."""
    artifact = read_source(data)
    found = {(r.op, r.output): r for r in artifact.roundings}
    mismatches: list[Mismatch] = []
    for expected in source.roundings:
        rounding = found.get((expected.op, expected.output))
        if rounding is None:
            mismatches.append(Mismatch(expected.output, "presence", expected.op, "nothing"))
        else:
            mismatches += _compare(expected, rounding)
    for name, values in source.plain_constants().items():
        if name in artifact.constants:
            mismatches += compare_elements(name, "value", values, artifact.constants[name])
        else:
            mismatches.append(Mismatch(name, "presence", "a constant", "nothing"))
    return mismatches


def _compare(expected: Rounding, found: Rounding) -> list[Mismatch]:
    name = expected.output
    if (expected.input, expected.dtype, expected.axis) != (found.input, found.dtype, found.axis):
        said = [f"{r.dtype} of {r.input!r}, axis {r.axis}" for r in (expected, found)]
        return [Mismatch(name, "form", said[0], said[1])]
    mismatches = compare_per_channel(name, "scale", expected.scales, found.scales)
    mismatches += compare_per_channel(name, "zero_point", expected.zero_points, found.zero_points)
    if expected.integers is None:
        return mismatches
    if found.integers is None:
        return [*mismatches, Mismatch(name, "presence", "constant integers", "nothing")]
    arrays = [
        channel_first(r.integers, expected.axis)
        for r in (expected, found)
        if r.integers is not None
    ]
    return mismatches + compare_elements(name, "integer", arrays[0], arrays[1])
