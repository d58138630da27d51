"""Several tests at once (Holm 1979, *A Simple Sequentially Rejective Multiple Test Procedure*)."""

from __future__ import annotations

from collections.abc import Sequence

from edgecv.errors import InputError

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that one false finding among all has at most the level's chance.

    Args:
        p_values: Each in [0, 1].

    Returns:
        In the same order, each at least the given one.

    Raises:
        InputError: One is outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise InputError(f"p-values {list(p_values)} are not in [0, 1]", cure="Check the test.")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[k]))
        corrected[k] = largest
    return corrected
