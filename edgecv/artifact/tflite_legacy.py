"""What kills tflite-runtime 2.14 although nothing is wrong with the file; younger engines run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgecv.artifact.flatbuffer import DamageError
from edgecv.artifact.tflite_operands import Operator, integers

__all__ = ["LegacyError", "check_legacy"]

_FLOAT32, _INT32 = 0, 2
#: Largest rank that its kernels broadcast over; XNNPACK's for floats; 4 for other operators. Measured for each
#: operator and type: beyond it a check inside the kernel aborts.
_RANKS: Final[Mapping[str, int]] = {
    "ADD": 6,
    "DIV": 5,
    "MAXIMUM": 5,
    "MINIMUM": 5,
    "SELECT_V2": 5,
    "SUB": 5,
}
_FLOAT_RANKS: Final = dict.fromkeys(
    ("ADD", "ATAN2", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"), 6
)
_BROADCASTS: Final = frozenset(
    {"ADD", "ATAN2", "BITWISE_XOR", "DIV", "EQUAL", "FLOOR_DIV", "FLOOR_MOD", "GREATER", "GREATER_EQUAL", "LESS"}
    | {"LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MINIMUM", "MUL", "NOT_EQUAL", "POW", "PRELU"}
    | {"RIGHT_SHIFT", "SELECT_V2", "SQUARED_DIFFERENCE", "SUB"}
)  # fmt: skip
#: Operators whose kernels go where the values of an input send them.
_TRUSTING: Final = frozenset(
    {"BROADCAST_ARGS", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD"}
    | {"UNSORTED_SEGMENT_SUM"}
)


class LegacyError(DamageError):
    """The file is sound, and this engine would die of it."""


def check_legacy(operator: Operator) -> None:
    """Refuse what the kernels of tflite-runtime 2.14 abort on.

    Raises:
        LegacyError: What it is.
    """
    if operator.name in _TRUSTING:
        raise LegacyError("it goes where the values of its inputs send it")
    inputs = [tensor for tensor in operator.inputs if tensor is not None]
    if operator.name in _BROADCASTS and len({tensor.shape for tensor in inputs}) > 1:
        kinds = {tensor.kind for tensor in inputs}
        ranks = _FLOAT_RANKS if kinds == {_FLOAT32} else _RANKS
        most = ranks.get(operator.name, 4)
        if any(tensor.shape is not None and len(tensor.shape) > most for tensor in inputs):
            raise LegacyError(f"it broadcasts over more than {most} dimensions")
    if operator.name == "DEPTHWISE_CONV_2D":
        if len(inputs) < 3:
            raise LegacyError("it has no bias, and one is read")
        if not operator.options["multiplier"]:
            # younger engines take the number from the shapes
            raise LegacyError("its depth multiplier is 0, which gives another result there")
    if operator.name == "DIV" and inputs[0].kind == _INT32:
        divisors = integers(operator, 1)
        # -1 overflows where the dividend is the smallest integer
        if divisors is None or 0 in divisors or -1 in divisors:
            raise LegacyError("it divides integers by what may be 0")
