"""Two measurements: is one faster, by how much, and can it be said at all?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecv.errors import InputError, InvalidMeasurementError
from edgecv.stats import Estimate, ratio_of_medians

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What measurement *b* is against *a*.

    Attributes:
        a: Name of the first.
        b: Name of the second.
        ratio: Median of *b* over median of *a*, with its interval; below 1, *b* is faster.
        notes: What differs besides the model, a sentence each.
    """

    a: str
    b: str
    ratio: Estimate
    notes: tuple[str, ...]

    @property
    def detected(self) -> bool:
        """Whether the interval excludes 1."""
        return not self.ratio.low <= 1 <= self.ratio.high

    def __str__(self) -> str:
        bounds = f"{self.ratio.value:.3f} [{self.ratio.low:.3f}, {self.ratio.high:.3f}]"
        if not self.detected:
            verdict = "no detectable difference"
        else:
            verdict = f"{self.b} is {'faster' if self.ratio.value < 1 else 'slower'}"
        lines = [f"{self.b} / {self.a}: median ratio {bounds}: {verdict}"]
        return "\n".join([*lines, *(f"! {note}" for note in self.notes)])


def compare(
    a: dict[str, Any], b: dict[str, Any], *, across_boards: bool = False, invalid: bool = False
) -> Comparison:
    """Compare two records.

    Args:
        a: The reference, from :func:`edgecv.bench.record.load`.
        b: The candidate.
        across_boards: Allow records of different boards.
        invalid: Allow records that say of themselves that they cannot be trusted.

    Raises:
        InputError: Different boards or scenarios.
        InvalidMeasurementError: A record is not valid.
    """
    for record in (a, b):
        if not record["validity"]["valid"] and not invalid:
            reasons = " ".join(map(str, record["validity"].get("reasons", [])))
            raise InvalidMeasurementError(
                f"the measurement of {_name(record)} is not valid: {reasons}",
                cure="Measure again, or compare all the same with --invalid.",
            )
    if a.get("board_id") != b.get("board_id") and not across_boards:
        raise InputError(
            f"the measurements come from different boards: {_board(a)} and {_board(b)}",
            cure="Measure both on one board, or compare all the same with --across-boards.",
        )
    scenarios = [record.get("scenario", {}).get("name") for record in (a, b)]
    if scenarios[0] != scenarios[1]:
        raise InputError(
            f"the scenarios are {scenarios[0]!r} and {scenarios[1]!r}",
            cure="Compare measurements of one scenario.",
        )
    ratio = ratio_of_medians(b["samples_ns"], a["samples_ns"])
    return Comparison(_name(a), _name(b), ratio, tuple(_notes(a, b)))


def _name(record: dict[str, Any]) -> str:
    return f"{record['model']['name']} on {record['engine']['backend']}"


def _board(record: dict[str, Any]) -> str:
    facts = record.get("board", {}).get("facts", {})
    return str(facts.get("model") or facts.get("cores") or "an unnamed one")


def _notes(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    found = []
    for what, where, key in (
        ("Threads", "engine", "threads"),
        ("The engine's version", "engine", "version"),
        ("The governor", "environment", "governor"),
        ("The system", "environment", "system"),
    ):
        values = [record.get(where, {}).get(key) for record in (a, b)]
        backends = a["engine"]["backend"] == b["engine"]["backend"]
        if values[0] != values[1] and (key != "version" or backends):
            found.append(f"{what} differs: {values[0]} and {values[1]}.")
    if a.get("created_utc") != b.get("created_utc"):
        found.append("They were not measured in one interleaved run.")
    return found
