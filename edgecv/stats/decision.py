"""Non-inferiority: is the candidate at most *margin* worse? Passed, failed or undecided."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgecv.errors import InputError
from edgecv.stats.estimate import Estimate, normal_quantile

__all__ = ["NonInferiority", "non_inferiority"]


@dataclass(frozen=True)
class NonInferiority:
    """Decision of a non-inferiority gate.

    Attributes:
        outcome: ``"passed"`` (the whole interval lies above -margin), ``"failed"`` (the whole
            interval lies below it) or ``"undecided"``.
        margin: Loss that is accepted, as a fraction.
        difference: What was measured.
        needed: Pictures of this kind that would decide with the asked power if the true difference
            were the measured one; None when decided, or when the measured difference is the margin
            itself.
    """

    outcome: str
    margin: float
    difference: Estimate
    needed: int | None

    def __str__(self) -> str:
        bounds = f"[{self.difference.low:+.2%}, {self.difference.high:+.2%}]"
        text = (
            f"{self.outcome}: difference {self.difference.value:+.2%} {bounds} over"
            f" {self.difference.n} pictures, margin {self.margin:.2%}"
        )
        return text if self.needed is None else f"{text}; about {self.needed} pictures would decide"


def non_inferiority(difference: Estimate, margin: float, *, power: float = 0.8) -> NonInferiority:
    """Decide whether the candidate loses at most *margin*.

    A 95 % two-sided interval makes a one-sided test at 2.5 %. The needed N scales the measured
    half-width by 1/sqrt(n) to (z_conf / (z_conf + z_power)) of the distance to the margin.

    Args:
        difference: Candidate minus reference, paired, as a fraction.
        margin: Accepted loss, in (0, 1); 0.01 is one point.
        power: Chance of deciding with the needed N, in [0.5, 1).

    Raises:
        InputError: Margin or power out of range.

    >>> measured = Estimate(-0.002, -0.014, 0.010, n=1000, method="tango")
    >>> decision = non_inferiority(measured, 0.01)
    >>> decision.outcome, decision.needed
    ('undecided', 4598)
    """
    if not 0 < margin < 1:
        raise InputError(f"margin {margin!r} is not in (0, 1)", cure="Use 0.01 for one point.")
    if not 0.5 <= power < 1:
        raise InputError(f"power {power!r} is not in [0.5, 1)", cure="Use for example 0.8.")
    if difference.low > -margin:
        return NonInferiority("passed", margin, difference, None)
    if difference.high < -margin:
        return NonInferiority("failed", margin, difference, None)
    distance = difference.value + margin
    if distance == 0:
        return NonInferiority("undecided", margin, difference, None)
    bound = difference.low if distance > 0 else difference.high
    z = normal_quantile(0.5 + difference.confidence / 2)
    stretch = abs(bound - difference.value) / abs(distance) * (z + normal_quantile(power)) / z
    needed = math.ceil(difference.n * stretch**2)
    return NonInferiority("undecided", margin, difference, max(needed, difference.n + 1))
