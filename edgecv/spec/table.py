"""Which operators there are and what each demands of its output's quantizer.

Sources: TFLite 8-bit quantization specification (fixed parameters, same-scale operators), XNNPACK's
delegate conditions (symmetric right operand of a batch matmul).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from edgecv.spec.types import INPUT_QUANT, QuantParams

__all__ = ["OP_TABLE", "OpRule", "Output"]


class Output(Enum):
    """How an operator's output gets its quantizer."""

    OWN = "own"  #: a quantizer of its own
    FIXED = "fixed"  #: a quantizer of its own with parameters that are never learned
    OF_INPUT = (
        "of input"  #: the first input's quantizer is reused (same integers, or an average of them)
    )
    SHARED = "shared"  #: all inputs and the output share one quantizer
    ABSORBED = "absorbed"  #: only as the tail of an operator that absorbs it; otherwise OWN


@dataclass(frozen=True)
class OpRule:
    """One row of the placement table.

    Attributes:
        output: How the output gets its quantizer.
        fixed: Parameters for :attr:`Output.FIXED`.
        weighted: Input 1 is a weight (symmetric per output channel), input 2 a bias (int32).
        absorbs: Kinds that may follow, each as the only consumer of what precedes, without a
            quantizer in between: the engine runs them in one kernel with one rounding. At most one
            of each, in order.
        symmetric_inputs: Inputs that carry a symmetric quantizer (zero point 0), wherever it was
            made: what only moves integers in between is looked through. Fixed ones stay.
    """

    output: Output
    fixed: QuantParams | None = None
    weighted: bool = False
    absorbs: tuple[str, ...] = ()
    symmetric_inputs: tuple[int, ...] = ()


_CLAMPS = ("relu", "relu6")
#: TFLite 8-bit quantization specification, LOGISTIC and SOFTMAX: output scale 1/256, zero point -128.
_SHARE_OF_ONE = QuantParams(1 / 256, -128)

#: kind → rule. Kinds are canonical names that both annotators map their operators to.
OP_TABLE: Final = MappingProxyType(
    {
        "input": OpRule(Output.FIXED, fixed=INPUT_QUANT),
        "conv": OpRule(Output.OWN, weighted=True, absorbs=("batch_norm", *_CLAMPS)),
        "linear": OpRule(Output.OWN, weighted=True, absorbs=_CLAMPS),
        "add": OpRule(Output.OWN, absorbs=_CLAMPS),
        "mul": OpRule(Output.OWN),
        # XNNPACK takes an int8 batch matmul only with zero point 0 on the right, and OpenVINO both
        # operands as int8 with zero point 0 (measured: 18 of 18 attention products instead of 9)
        "matmul": OpRule(Output.OWN, symmetric_inputs=(0, 1)),
        "sigmoid": OpRule(Output.FIXED, fixed=_SHARE_OF_ONE),
        "softmax": OpRule(Output.FIXED, fixed=_SHARE_OF_ONE),
        "hardsigmoid": OpRule(Output.OWN),
        "hardswish": OpRule(Output.OWN),
        "layer_norm": OpRule(Output.OWN),
        "relu": OpRule(Output.ABSORBED),
        "relu6": OpRule(Output.ABSORBED),
        "batch_norm": OpRule(Output.ABSORBED),
        "max_pool": OpRule(Output.OF_INPUT),
        "avg_pool": OpRule(Output.OF_INPUT),
        "reshape": OpRule(Output.OF_INPUT),
        "transpose": OpRule(Output.OF_INPUT),
        "concat": OpRule(Output.SHARED),
    }
)
