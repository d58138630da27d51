"""The numbers of x * 0.5 * (1 + Erf(x / sqrt(2))), which one operator of a TFLite file stands for."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from edgecv.verify.source import Source

__all__ = ["Read", "gelu_constants"]

#: (constant, all inputs of the operator that reads it)
Read = tuple[str, tuple[str, ...]]
#: Constants behind DequantizeLinear are off by the rounding of their scale.
_TOLERANCE = 1e-5


def gelu_constants(result: str, source: Source) -> tuple[Read, ...]:
    """Constants of the chain that ends in *result*; empty where it is none, or has other numbers.

    Args:
        result: Name of a tensor of the source.
        source: The source.
    """
    for value, shifted, half in _products(result, source):
        one = _beside(shifted, "Add", 1.0, source)
        op, inputs = source.producers.get(one[0] if one else "", ("", ()))
        if one is None or op != "Erf":
            continue
        for scaling, number in (("Mul", 1 / sqrt(2)), ("Div", sqrt(2))):
            root = _beside(inputs[0], scaling, number, source)
            if root is not None and root[0] == value:
                return (half, one[1], root[1])
    return ()


def _products(result: str, source: Source) -> Iterator[tuple[str, str, Read]]:
    """Three factors of *result*, two of them computed and the third one half, in every order."""
    op, inputs = source.producers.get(result, ("", ()))
    if op != "Mul":
        return
    for inner, outer in (inputs, inputs[::-1]):
        half = _beside(result, "Mul", 0.5, source)
        if half is not None and half[0] == inner:
            # (a * b) * 0.5
            op, both = source.producers.get(inner, ("", ()))
            if op == "Mul":
                first, second = both
                yield from ((first, second, half[1]), (second, first, half[1]))
        half = _beside(inner, "Mul", 0.5, source)
        if half is not None:
            # (a * 0.5) * b
            yield from ((half[0], outer, half[1]), (outer, half[0], half[1]))


def _beside(name: str, op: str, number: float, source: Source) -> tuple[str, Read] | None:
    """What *name* is computed from, if it is an *op* of that and of *number*; and the constant."""
    found, inputs = source.producers.get(name, ("", ()))
    if found != op or len(inputs) != 2:
        return None
    for value, constant in (inputs, inputs[::-1] if op != "Div" else inputs):
        values = source.real(constant)
        if values is None or values.size != 1 or source.real(value) is not None:
            continue
        if abs(float(values.reshape(-1)[0]) - number) <= _TOLERANCE * number:
            return value, (constant, inputs)
    return None
