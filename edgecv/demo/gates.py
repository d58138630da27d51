"""What the demo promises, checked on its own numbers; a gate that fails is exit code 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecv.evaluate import PairedComparison, near_tie_check
from edgecv.stats import PairedRecord

__all__ = ["Gate", "failed", "int8_gates"]

#: int8 may lose at most this much top-1 against float: bound of the paired interval, a fraction.
MAX_DROP = 0.01
#: Share of pictures on which a backend and the torch fake-quant model name the same class.
MIN_AGREEMENT = 0.99
#: Largest difference of a logit between a backend and torch fake-quant, in output steps.
MAX_LOGIT_STEPS = 4


@dataclass(frozen=True)
class Gate:
    """One promise and what was measured.

    Attributes:
        name: Backend and promise.
        passed: Whether it was kept.
        detail: The number and the bar, for people.
    """

    name: str
    passed: bool
    detail: str


def int8_gates(
    backend: str, drop: PairedRecord, against_torch: PairedComparison, output_step: float
) -> tuple[Gate, ...]:
    """Gates of one int8 artifact.

    Args:
        backend: Name of the engine.
        drop: int8 against float on that engine.
        against_torch: The engine's int8 logits against torch fake-quant.
        output_step: Scale of the output quantizer.
    """
    low = drop.difference.low
    steps = against_torch.max_difference / output_step
    agreement = against_torch.record.agreement.value
    # the bound that was promised decides, not the difference that happened to be measured
    ties = near_tie_check(against_torch, limit=MAX_LOGIT_STEPS * output_step)
    return (
        Gate(
            f"{backend}: int8 within 1 point of float",
            low >= -MAX_DROP,
            f"lower bound {100 * low:+.2f} points, bar {-100 * MAX_DROP:+.2f}",
        ),
        Gate(
            f"{backend}: agrees with torch fake-quant",
            agreement >= MIN_AGREEMENT,
            f"{100 * agreement:.2f} % of the pictures, bar {100 * MIN_AGREEMENT:.0f} %",
        ),
        Gate(
            f"{backend}: logits equal torch fake-quant",
            # dequantized float32 numbers: allow their rounding
            steps <= MAX_LOGIT_STEPS + 1e-3,
            f"largest difference {steps:.2f} output steps, bar {MAX_LOGIT_STEPS}",
        ),
        Gate(
            f"{backend}: every disagreement is a near-tie",
            ties.passed,
            f"{ties.near} of {ties.disagreements} disagreements within {ties.bound:.3g} logits",
        ),
    )


def failed(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates that were not kept."""
    return tuple(gate for gate in gates if not gate.passed)
