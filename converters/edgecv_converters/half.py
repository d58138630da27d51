"""float16 constants: which ones are stored so, the same for every target.

Storing rounds half to even, to 11 bits; engines compute with the rounded numbers in float32.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgecv.errors import UnsupportedError
from edgecv_converters.ir import Array, Graph

__all__ = ["as_float16", "nothing_to_store", "refuse_quantized"]

#: Fewer elements save less than the operator takes that brings them back: about 200 bytes of tables.
_LEAST_ELEMENTS: Final = 128
#: Smallest normal float16. Below, steps are 2^-24 wide, however small the number: where everything is
#: smaller, rounding costs more than 2^-11 of the largest magnitude.
_LEAST_MAGNITUDE: Final = 2.0**-14
_ROUNDINGS: Final = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def as_float16(data: Array) -> Array | None:
    """A constant rounded to float16, or None for one that stays as it is.

    That is one of another type, of few elements (an epsilon of 1e-12 would become 0), with a number that
    float16 cannot hold, or with nothing but numbers below float16's normal range. All others keep every
    element within 2^-11 of the largest magnitude.

    >>> as_float16(np.full(200, 1 / 3, np.float32))[0]
    np.float16(0.3333)
    >>> as_float16(np.full(200, 1e5, np.float32)) is None
    True
    """
    if data.dtype != np.float32 or data.size < _LEAST_ELEMENTS:
        return None
    with np.errstate(over="ignore"):
        rounded = data.astype(np.float16)
    magnitude = np.abs(rounded).max()
    return rounded if _LEAST_MAGNITUDE <= magnitude < np.inf else None


def nothing_to_store(graph: Graph) -> str:
    """The warning for a model none of whose constants :func:`as_float16` takes."""
    largest = max((c.data.size for c in graph.constants.values()), default=0)
    return (
        f"no constant is stored in float16: the largest has {largest} elements (fewer than {_LEAST_ELEMENTS} save"
        " nothing), or their numbers are beyond float16's range"
    )


def refuse_quantized(graph: Graph) -> None:
    """Raise where *graph*, as the source has it, is quantized.

    Raises:
        UnsupportedError: It is; the message says how many quantizers it has.
    """
    roundings = [node for node in graph.nodes if node.op in _ROUNDINGS and not node.domain]
    if roundings:
        raise UnsupportedError(
            f"float16 is a form of float models, and this one is quantized ({len(roundings)} QuantizeLinear and"
            f" DequantizeLinear, the first is {roundings[0].name!r})",
            cure="Convert the float model it was made from, or leave float16 out (--float16).",
        )
