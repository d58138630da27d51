"""A confusion matrix for a page: shaded cells, or the most frequent confusions of many classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Cell", "confusions", "matrix"]

#: Above this many classes the matrix is a list of the most frequent confusions.
_MATRIX_LIMIT = 20


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        count: Pictures.
        shade: 0 to 100.
        right: Whether truth and answer are the same.
    """

    count: int
    shade: int
    right: bool


def matrix(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> list[tuple[str, list[Cell]]]:
    """Rows of the matrix, shaded by the share of the row, or [] when it is too large.

    Args:
        classes: C names.
        counts: [C][C], truth by answer.
    """
    if len(classes) > _MATRIX_LIMIT:
        return []
    rows = []
    for truth, row in enumerate(counts):
        total = max(1, sum(row))
        # a square root makes single confusions visible beside hundreds of right answers
        cells = [Cell(n, round(100 * (n / total) ** 0.5), truth == k) for k, n in enumerate(row)]
        rows.append((classes[truth], cells))
    return rows


def confusions(
    classes: Sequence[str], counts: Sequence[Sequence[int]]
) -> list[tuple[str, str, int]]:
    """Most frequent wrong answers: truth, answer, pictures."""
    pairs = [
        (count, truth, answer)
        for truth, row in enumerate(counts)
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    best = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:10]
    return [(classes[truth], classes[answer], count) for count, truth, answer in best]
