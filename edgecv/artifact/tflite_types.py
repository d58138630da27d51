"""Types and scales that TFLite operators need of their tensors.

Kernels divide by scales and choose code by the type of one tensor while they walk another: integers
without a scale end the process (a multiplier that is not finite, SIGABRT), and a result of a narrower
type than the input is written beyond its end.
"""

from __future__ import annotations

from typing import Final

from edgecv.artifact.flatbuffer import DamageError
from edgecv.artifact.tflite_operands import Operator

__all__ = ["check_types"]

_FLOAT32, _BOOL, _INT16 = 0, 6, 7
#: TensorTypes of text, and of handles: resource, variant.
_TEXT, _HANDLES = 5, {13, 14}
#: TensorTypes of quantized activations: uint8, int16, int8.
_QUANTIZED: Final = (3, _INT16, 9)

#: Operators that compute with scales; others hand integers on as they are.
_SCALED: Final = frozenset(
    {"ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "ELU", "EQUAL", "EXP"}
    | {"FULLY_CONNECTED", "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU"}
    | {"LESS", "LESS_EQUAL", "LOG", "LOGISTIC", "LOG_SOFTMAX", "MEAN", "MUL", "NOT_EQUAL", "PRELU", "QUANTIZE"}
    | {"RELU", "RELU6", "RSQRT", "SOFTMAX", "SQRT", "SQUARED_DIFFERENCE", "SUB", "SUM", "TANH", "TRANSPOSE_CONV"}
)  # fmt: skip
#: Beginnings of the operators that take handles and everything else.
_HANDLERS: Final = ("VAR_", "READ_", "ASSIGN_", "HASHTABLE", "CALL", "IF", "WHILE", "CUSTOM")
#: Operators that take text.
_READERS: Final = frozenset(
    {"BROADCAST_TO", "CONCATENATION", "EQUAL", "EXPAND_DIMS", "FILL", "GATHER", "GATHER_ND", "LSH_PROJECTION"}
    | {"NOT_EQUAL", "PACK", "RANK", "RESHAPE", "SELECT", "SELECT_V2", "SHAPE", "SKIP_GRAM", "SLICE", "SPLIT"}
    | {"SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "UNPACK"}
)  # fmt: skip
#: Operators whose inputs and results are all of one type.
_ALIKE: Final = frozenset(
    {"ADD", "ADD_N", "ATAN2", "BITWISE_XOR", "CONCATENATION", "DIV", "FAKE_QUANT", "FLOOR_DIV", "FLOOR_MOD"}
    | {"MATRIX_DIAG", "MATRIX_SET_DIAG", "MAXIMUM", "MINIMUM", "MUL", "PACK", "POW", "PRELU", "RIGHT_SHIFT"}
    | {"SQUARED_DIFFERENCE", "SUB", "UNPACK"}
)  # fmt: skip
#: Operators that hand the elements of their first input on: their first result has its type.
_HANDED_ON: Final = frozenset(
    {"ABS", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CEIL", "COS", "CUMSUM", "DEPTH_TO_SPACE"}
    | {"DYNAMIC_UPDATE_SLICE", "ELU", "EXPAND_DIMS", "FLOOR", "GATHER_ND", "LEAKY_RELU", "MAX_POOL_2D"}
    | {"MIRROR_PAD", "NEG", "PAD", "PADV2", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE"}
    | {"REVERSE_SEQUENCE", "REVERSE_V2", "ROUND", "SIGN", "SIN", "SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH"}
    | {"SQUARE", "SQUEEZE", "STRIDED_SLICE", "TILE", "TOPK_V2", "TRANSPOSE", "UNIQUE", "ZEROS_LIKE"}
)  # fmt: skip
#: A scale of the result may be this much smaller than the largest of the inputs; int16 allows 2^14.
_SUM_RATIO, _SQUARE_RATIO = 2**13, 2**12


def check_types(operator: Operator) -> None:
    """Refuse an operator whose tensors have no scale, or types that do not go together.

    Raises:
        DamageError: What does not fit.
    """
    name = operator.name
    inputs = [tensor for tensor in operator.inputs if tensor is not None]
    if name in _SCALED:
        for tensor in (*inputs, *operator.outputs):
            # channels of weights that are all 0 may have a scale of 0
            if tensor.kind in _QUANTIZED and (
                not tensor.scales or (min(tensor.scales) <= 0 and not tensor.stored)
            ):
                raise DamageError(f"the integers of {tensor.name!r} have no scale")
    kinds = {tensor.kind for tensor in (*inputs, *operator.outputs)}
    foreign = kinds & _HANDLES or (_TEXT in kinds and name not in _READERS)
    if foreign and not name.startswith(_HANDLERS):
        raise DamageError(f"it computes, and has tensors of the types {sorted(kinds)}")
    if name in _ALIKE and len(kinds) > 1:
        raise DamageError(f"its tensors are of the types {sorted(kinds)}")
    if name in _HANDED_ON and inputs[0].kind != operator.outputs[0].kind:
        kinds = {inputs[0].kind, operator.outputs[0].kind}
        raise DamageError(f"its result is not of its input's type: {sorted(kinds)}")
    if name == "UNIQUE" and operator.outputs[1].kind != operator.options["type_out"]:
        raise DamageError("its places are not of the type that its options name")
    if (
        (name == "FAKE_QUANT" and kinds != {_FLOAT32})
        or (name.startswith("MATRIX_") and _BOOL in kinds)
        # integers may become int16 on the way
        or (name == "SOFTMAX" and len(kinds) > 1 and operator.outputs[0].kind != _INT16)
    ):
        raise DamageError(f"it does not take the types {sorted(kinds)}")
    if name in ("ADD", "SUB", "SQUARED_DIFFERENCE") and operator.outputs[0].kind in _QUANTIZED:
        largest, result = max(max(t.scales) for t in inputs), operator.outputs[0].scales[0]
        if largest > result * _SUM_RATIO or (
            name == "SQUARED_DIFFERENCE" and largest**2 > result * _SQUARE_RATIO
        ):
            raise DamageError(f"the scale {result:g} of its result is too small for {largest:g}")
