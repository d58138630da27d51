"""Fisher's exact test, for rates whose counts are too small for a normal approximation."""

from __future__ import annotations

import math

__all__ = ["fisher_upper"]


def fisher_upper(hits: int, n: int, others: int, n_others: int) -> float:
    """Chance of *hits* or more in *n* draws where both samples have the same rate (Fisher's exact test, one-sided).

    Args:
        hits: In the first sample, 0 to *n*.
        n: Its size.
        others: In the second sample, 0 to *n_others*.
        n_others: Its size.

    >>> round(fisher_upper(3, 10, 0, 10), 4)
    0.1053
    """
    total = hits + others

    def log_choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    whole = log_choose(n + n_others, total)
    terms = (
        log_choose(n, k) + log_choose(n_others, total - k) - whole
        for k in range(hits, min(n, total) + 1)
    )
    return min(1.0, sum(math.exp(term) for term in terms))
