"""Tensors of the source that lie on a grid without being rounded: results of operators that move integers."""

from __future__ import annotations

from collections.abc import Mapping

from edgecv.verify.source import Rounding, Source

__all__ = ["carried_grids", "same_grid"]

#: Operators whose results are elements of their first input, or zeros.
_MOVING = {
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Reshape",
    "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip


def carried_grids(source: Source) -> Mapping[str, Rounding]:
    """Name of a tensor, as operators read it → the rounding of an activation whose grid it lies on.

    What DequantizeLinear writes is on its own; what moves that without rounding it stays on it, and so do
    parts of one grid side by side.
    """
    found: dict[str, Rounding] = {}
    for name, (op, inputs) in source.producers.items():
        if op == "DequantizeLinear":
            rounding = source.by_output.get(name)
            if rounding is not None and rounding.integers is None:
                found[name] = source.by_output.get(rounding.input, rounding)
            continue
        parts = [found.get(read) for read in (inputs if op == "Concat" else inputs[:1])]
        first = parts[0] if parts else None
        if first is None or (op != "Concat" and not _moves(op, inputs, source)):
            continue
        if all(part is not None and same_grid(part, first) for part in parts):
            found[name] = first
    return found


def same_grid(first: Rounding, second: Rounding) -> bool:
    """Whether two roundings have the same parameters, bit for bit."""
    return (first.scales.tobytes(), first.zero_points.tobytes(), first.dtype) == (
        second.scales.tobytes(), second.zero_points.tobytes(), second.dtype,
    )  # fmt: skip


def _moves(op: str, inputs: tuple[str, ...], source: Source) -> bool:
    """0 lies on every grid; another number that a Pad adds may not."""
    if op != "Pad" or len(inputs) < 3 or not inputs[2]:
        return op in _MOVING
    filler = source.constants.get(inputs[2])
    return filler is not None and not filler.any()
