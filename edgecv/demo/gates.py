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
#: Largest difference of a logit between a backend and torch fake-quant, in output steps, where every
#: operator has an integer kernel.
MAX_LOGIT_STEPS = 4
#: Elsewhere: how far the one logit that differs most may be, beside where contrary roundings lead on a
#: quarter of the pictures; the extreme of four times as many lies farther out.
TIMES_LARGEST = 1.5
#: And a root mean square of this many output steps is never too much.
FREE_RMS_STEPS = 0.25


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
    drop: PairedRecord,
    against_torch: PairedComparison,
    output_step: float,
    contrary: PairedComparison | None = None,
) -> tuple[Gate, ...]:
    """Gates of one int8 artifact.

    Args:
        backend: Name of the engine.
        drop: int8 against float on that engine.
        against_torch: The engine's int8 logits against torch fake-quant without the quantizers that
            the artifact leaves out.
        output_step: Scale of the output quantizer.
        contrary: The same torch model against its copy that decides close calls the other way, for nets
            that engines compute partly in float (LayerNorm, softmax, sigmoid); None where everything has
            an integer kernel.
    """
    low = drop.difference.low
    agrees, logits, limit = (
        _strict(backend, against_torch, output_step)
        if contrary is None
        else _as_close(backend, against_torch, output_step, contrary)
    )
    # the bound that was promised decides, not the difference that happened to be measured
    ties = near_tie_check(against_torch, limit=limit * output_step)
    return (
        Gate(
            f"{backend}: int8 within 1 point of float",
            low >= -MAX_DROP,
            f"lower bound {100 * low:+.2f} points, bar {-100 * MAX_DROP:+.2f}",
        ),
        agrees,
        logits,
        Gate(
            f"{backend}: every disagreement is a near-tie",
            ties.passed,
            f"{ties.near} of {ties.disagreements} disagreements within {ties.bound:.3g} logits",
        ),
    )


def _strict(
    backend: str, against_torch: PairedComparison, output_step: float
) -> tuple[Gate, Gate, float]:
    """The gates of integer nets, and the largest difference that they allow, in output steps."""
    agreement = against_torch.record.agreement.value
    steps = against_torch.max_difference / output_step
    return (
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
        MAX_LOGIT_STEPS,
    )


def _as_close(
    backend: str, against_torch: PairedComparison, output_step: float, contrary: PairedComparison
) -> tuple[Gate, Gate, float]:
    """The gates of nets with float islands, and the largest difference that they allow, in output steps.

    A value beside a rounding boundary becomes the other integer in another order of float32 operations,
    and normalizing layers carry that one step on. How far is measured on the model itself.
    """
    agreement = against_torch.record.agreement
    rms = against_torch.rms_difference / output_step
    rms_bar = max(FREE_RMS_STEPS, contrary.rms_difference / output_step)
    largest = against_torch.max_difference / output_step
    bar = max(float(MAX_LOGIT_STEPS), TIMES_LARGEST * contrary.max_difference / output_step)
    return (
        Gate(
            f"{backend}: agrees with torch fake-quant",
            agreement.high >= MIN_AGREEMENT,
            f"{100 * agreement.value:.2f} % of the pictures, 95 % interval"
            f" {100 * agreement.low:.2f} to {100 * agreement.high:.2f}, must reach"
            f" {100 * MIN_AGREEMENT:.0f} %",
        ),
        Gate(
            f"{backend}: logits as near torch fake-quant as rounding allows",
            rms <= rms_bar * (1 + 1e-6) and largest <= bar + 1e-3,
            f"difference {rms:.3f} output steps (RMS), bar {rms_bar:.3f}; largest {largest:.1f},"
            f" bar {bar:.1f}",
        ),
        bar,
    )


def failed(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates that were not kept."""
    return tuple(gate for gate in gates if not gate.passed)
