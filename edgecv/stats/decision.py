"""Non-inferiority: is the candidate at most *margin* worse? Passed, failed, or undecided and how many
pictures would decide."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgecv.errors import InputError
from edgecv.stats.estimate import Estimate, check_confidence, normal_quantile
from edgecv.stats.paired import PairedRecord, restricted_variance, tango

__all__ = ["POWER", "NonInferiority", "non_inferiority", "pairs_needed"]

#: Chance of a decision with the needed pictures, unless told otherwise.
POWER = 0.8


@dataclass(frozen=True)
class NonInferiority:
    """Decision of a non-inferiority gate.

    Attributes:
        outcome: ``"passed"`` (the whole interval lies above -margin), ``"failed"`` (the whole
            interval lies below it) or ``"undecided"``.
        margin: Loss that is accepted, as a fraction.
        difference: What was measured.
        needed: Pictures of this kind that would decide with a chance of *power* if gains and losses
            were as frequent as measured; None when decided, or when the measured difference is the
            margin itself.
        power: See *needed*.
    """

    outcome: str
    margin: float
    difference: Estimate
    needed: int | None
    power: float = POWER

    def __str__(self) -> str:
        d = self.difference
        shown = f"{100 * d.value:+.2f} points [{100 * d.low:+.2f}, {100 * d.high:+.2f}]"
        text = f"{self.outcome}: {shown} over {d.n} pictures, accepted loss {100 * self.margin:g}"
        return text if self.needed is None else f"{text}; about {self.needed} pictures would decide"

    def as_json(self) -> dict[str, float | int | str | None]:
        """JSON-ready dict; the margin is a fraction."""
        return {
            "outcome": self.outcome,
            "margin": self.margin,
            "confidence": self.difference.confidence,
            "needed_pictures": self.needed,
            "power": self.power,
        }


def non_inferiority(record: PairedRecord, margin: float, *, power: float = POWER) -> NonInferiority:
    """Decide whether the candidate loses at most *margin*.

    A 95 % two-sided interval makes a one-sided test at 2.5 %. The needed number is that of
    :func:`pairs_needed` at the measured rates of gains and losses, times the design effect: how much
    wider groups made the squared interval than as many independent pictures would have.

    Args:
        record: Candidate against reference on the same pictures.
        margin: Accepted loss, in (0, 1); 0.01 is one point.
        power: Chance of deciding with the needed pictures, in [0.5, 1).

    Raises:
        InputError: Margin or power out of range.

    >>> from edgecv.stats import compare_predictions
    >>> truth = [0] * 1000
    >>> record = compare_predictions(truth, [1] * 12 + [0] * 988, [0] * 12 + [1] * 14 + [0] * 974)
    >>> decision = non_inferiority(record, 0.01)
    >>> decision.outcome, decision.needed
    ('undecided', 3412)
    """
    _check(margin, power)
    difference = record.difference
    if difference.low > -margin:
        return NonInferiority("passed", margin, difference, None, power)
    if difference.high < -margin:
        return NonInferiority("failed", margin, difference, None, power)
    gained, lost = record.to_right / record.n, record.to_wrong / record.n
    independent = pairs_needed(gained, lost, margin, confidence=difference.confidence, power=power)
    if independent is None:
        return NonInferiority("undecided", margin, difference, None, power)
    needed = math.ceil(independent * _design_effect(record))
    return NonInferiority("undecided", margin, difference, max(needed, record.n + 1), power)


def pairs_needed(
    gained: float, lost: float, margin: float, *, confidence: float = 0.95, power: float = POWER
) -> int | None:
    """Independent pictures that decide, with a chance of *power*, on which side of -margin the loss is.

    Sample size of the score test of paired rates (Nam 1997, Biometrics 53:1422, on the statistic of
    Tango 1998)::

        N = ((z_c * sqrt(v0) + z_p * sqrt(v1)) / (difference + margin))**2

    *v1* is the variance of one pair, gained + lost - difference**2; *v0* the same where the
    difference is -margin, with the rates restricted to that (see
    :func:`~edgecv.stats.paired.restricted_variance`).

    Args:
        gained: Share of pictures that only the candidate has right.
        lost: Share that only the reference has right.
        margin: Accepted loss, in (0, 1).
        confidence: Coverage of the two-sided interval that decides.
        power: Chance of a decision, in [0.5, 1).

    Returns:
        At least 1; None where the difference is the margin itself, which no number decides.

    Raises:
        InputError: An argument out of range.

    >>> pairs_needed(0.012, 0.014, 0.01), pairs_needed(0.0, 0.0, 0.01)
    (3412, 381)
    """
    _check(margin, power)
    if gained < 0 or lost < 0 or gained + lost > 1 + 1e-12:
        raise InputError(
            f"rates of gains and losses {gained!r} and {lost!r}", cure="Shares of all pictures."
        )
    z = normal_quantile(0.5 + check_confidence(confidence) / 2)
    difference = gained - lost
    # what rounding leaves of a difference that is the margin
    if abs(difference + margin) < 1e-9:
        return None
    null = restricted_variance(gained, lost, -margin)
    own = max(0.0, gained + lost - difference**2)
    deviations = z * math.sqrt(null) + normal_quantile(power) * math.sqrt(own)
    return max(1, math.ceil((deviations / (difference + margin)) ** 2))


def _check(margin: float, power: float) -> None:
    if not 0 < margin < 1:
        raise InputError(f"margin {margin!r} is not in (0, 1)", cure="Use 0.01 for one point.")
    if not 0.5 <= power < 1:
        raise InputError(f"power {power!r} is not in [0.5, 1)", cure="Use for example 0.8.")


def _design_effect(record: PairedRecord) -> float:
    """Squared width of the measured interval over that of as many independent pictures, at least 1."""
    if record.groups == record.n:
        return 1.0
    measured = record.difference
    alone = tango(record.to_right, record.to_wrong, record.n, confidence=measured.confidence)
    return max(1.0, ((measured.high - measured.low) / (alone.high - alone.low)) ** 2)
