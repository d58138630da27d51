"""What the demo promises, checked on its own numbers; a gate that fails is exit code 1."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gate", "failed", "int8_gates"]

#: int8 may lose at most this much top-1 against float: bound of the paired interval, as a fraction.
MAX_DROP = 0.01
#: Share of pictures on which a backend and the torch fake-quant model name the same class.
MIN_AGREEMENT = 0.99
#: Largest difference of a logit between a backend and the torch fake-quant model, in output steps.
MAX_LOGIT_STEPS = 4.0


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
    backend: str,
    *,
    drop_low: float,
    agreement: float,
    max_logit_difference: float,
    output_step: float,
    far_disagreements: int,
) -> tuple[Gate, ...]:
    """Gates of one int8 artifact.

    Args:
        backend: Name of the engine.
        drop_low: Lower bound of the paired interval of int8 - float top-1, as a fraction.
        agreement: With the torch fake-quant model, as a fraction.
        max_logit_difference: Against the torch fake-quant model, in logits.
        output_step: Scale of the output quantizer.
        far_disagreements: Disagreements whose top-2 margin exceeds twice the largest difference.
    """
    steps = max_logit_difference / output_step
    return (
        Gate(
            f"{backend}: int8 within 1 point of float",
            drop_low >= -MAX_DROP,
            f"lower bound of the paired interval {100 * drop_low:+.2f} points, bar {-100 * MAX_DROP:+.2f}",
        ),
        Gate(
            f"{backend}: agrees with torch fake-quant",
            agreement >= MIN_AGREEMENT,
            f"{100 * agreement:.2f} % of the pictures, bar {100 * MIN_AGREEMENT:.0f} %",
        ),
        Gate(
            f"{backend}: logits equal torch fake-quant",
            steps <= MAX_LOGIT_STEPS + 1e-3,
            f"largest difference {steps:.2f} output steps, bar {MAX_LOGIT_STEPS:.0f}",
        ),
        Gate(
            f"{backend}: every disagreement is a near-tie",
            far_disagreements == 0,
            f"{far_disagreements} disagreements with a top-2 margin above twice the largest difference",
        ),
    )


def failed(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    """The gates that were not kept."""
    return tuple(gate for gate in gates if not gate.passed)
