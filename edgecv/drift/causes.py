"""Why a window differs: named apart from accuracy, from statistics that need no labels.

Two steps. First, whether anything differs at all: a test per statistic with the effective sample size, and a
least size of the effect, since a camera always differs a little from the reference pictures. Then its name:
the causes' signatures (how the statistics of these very reference pictures move under each corruption) are
compared with what moved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import COLUMNS
from edgecv.drift.by_class import LEAST_SPREAD, ByClass
from edgecv.drift.profile import Reference
from edgecv.drift.window import Window
from edgecv.stats.estimate import normal_quantile
from edgecv.stats.fisher import fisher_upper

__all__ = [
    "CLASS_MIX",
    "MIX_DISTANCE",
    "UNFAMILIAR",
    "UNKNOWN_CONTENT",
    "Evidence",
    "against_reference",
    "mix_score",
    "name_shift",
    "smaller",
]

Array = npt.NDArray[np.float64]

CLASS_MIX: Final = "class-mix shift"
UNKNOWN_CONTENT: Final = "unknown content"
#: The picture changed, in none of the ways that have a name.
UNFAMILIAR: Final = "unfamiliar picture"

#: Cosine from which on a signature counts as found, and the share of the change that a second one must explain.
_ALIKE: Final = 0.75
_SECOND: Final = 0.6
#: Total variation distance of answered classes from which on the mix counts as another.
MIX_DISTANCE: Final = 0.15
#: Share of strange frames beyond the reference's 1 % that is worth a word.
_STRANGE_EXCESS: Final = 0.05


@dataclass(frozen=True)
class Evidence:
    """What differs between a window and the reference.

    Attributes:
        causes: Names, strongest first; empty where nothing does.
        shifts: float64 [11], of the quality statistics in the reference's standard deviations.
        mix_distance: Total variation distance of the answered classes.
        strange: Share of frames whose scores lie outside of what was seen.
    """

    causes: tuple[str, ...]
    shifts: Array
    mix_distance: float
    strange: float


def against_reference(
    window: Window,
    reference: Reference,
    signatures: Mapping[str, Array],
    *,
    effective: float,
    level: float,
    least_shift: float,
) -> Evidence:
    """Compare a window with the reference pictures.

    Picture quality comes first: blurred frames change the answered classes and look strange, too, so a shift
    of the class mix or unknown content is named only where the pictures themselves are as they were: where the
    mix is another one, as pictures of these classes are.

    Args:
        window: Sums.
        reference: Of the profile.
        signatures: Of the profile.
        effective: Effective samples in the window.
        level: Chance of any finding where nothing differs.
        least_shift: Smallest change that counts, in the reference's standard deviations.
    """
    tests = len(reference.quality_means) + 2
    critical = -normal_quantile(level / tests / 2)
    score, distance = mix_score(
        window.counts, reference.counts, window.weight / effective, reference
    )
    other_mix = score > critical and distance >= MIX_DISTANCE
    shifts = quality_shifts(window, reference.quality_means, reference.quality_spreads)
    known, scatter = shifts, 1 / reference.independent
    if other_mix and reference.by_class is not None:
        known, scatter = _unexplained(shifts, window.counts, reference.by_class, reference)
    spread = _spreads(window) / np.maximum(reference.quality_spreads, 1e-9)
    # scatter of the mean: the window's own, where it varies more than the reference does
    error = np.sqrt(np.maximum(spread, 1.0) ** 2 / effective + scatter)
    moved = (np.abs(known) > critical * error) & (np.abs(known) >= least_shift)
    strange = window.mean("strange")
    chance = max(float(reference.column_means[COLUMNS.index("strange")]), 0.01)
    # of 20 frames two may be strange by chance, however unlikely a normal distribution finds that
    n = max(1, round(effective))
    unlikely = fisher_upper(
        round(strange * n), n, round(chance * reference.independent), reference.independent
    )
    causes: tuple[str, ...] = ()
    if moved.any():
        causes = name_shift(np.where(np.abs(known) > 2 * error, known, 0.0), signatures)
    else:
        if other_mix:
            causes += (CLASS_MIX,)
        if unlikely < level / tests and strange - chance >= _STRANGE_EXCESS:
            causes += (UNKNOWN_CONTENT,)
    return Evidence(causes, shifts, distance, strange)


def quality_shifts(window: Window, means: Array, spreads: Array) -> Array:
    """Window minus *means* in *spreads*; no spread at all counts as one percent of a unit."""
    return np.asarray((window.quality / window.weight - means) / np.maximum(spreads, LEAST_SPREAD))


def _unexplained(
    shifts: Array, counts: Array, by_class: ByClass, reference: Reference
) -> tuple[Array, float]:
    """What the answered classes leave of a shift, and the variance of that expectation.

    Answers to changed pictures may be any, and so may what they lead one to expect: it may take from a shift,
    never add to it.
    """
    pictures = reference.counts * (reference.independent / reference.pictures)
    scatter = max(by_class.scatter(counts, pictures), 1 / reference.independent)
    return smaller(shifts, by_class.expected_quality(counts)), scatter


def smaller(shifts: Array, expected: Array) -> Array:
    """*shifts*, or what is left of them after *expected* where that is less.

    >>> smaller(np.array([2.0, 2.0, -1.0]), np.array([1.5, -1.0, -3.0])).tolist()
    [0.5, 2.0, -1.0]
    """
    rest = shifts - expected
    return np.where(np.abs(rest) < np.abs(shifts), rest, shifts)


def _spreads(window: Window) -> Array:
    means = window.quality / window.weight
    return np.sqrt(np.maximum(window.quality_squares / window.weight - means**2, 0.0))


def _compress(shifts: Array) -> Array:
    """Signs and orders of magnitude: a corruption keeps its direction whatever its strength."""
    return np.asarray(np.sign(shifts) * np.log1p(np.abs(shifts)))


def name_shift(shifts: Array, signatures: Mapping[str, Array]) -> tuple[str, ...]:
    """The one or two causes whose signatures are most like a change of the quality statistics.

    Args:
        shifts: float64 [11], in the reference's standard deviations.
        signatures: Cause → float64 [severities, 11].

    Returns:
        At least one name; :data:`UNFAMILIAR` where no signature is like it.

    >>> one = {"dark": np.array([[-3.0, 0.0]]), "blur": np.array([[0.0, -2.0]])}
    >>> name_shift(np.array([-4.0, 0.1]), one), name_shift(np.array([5.0, 0.0]), one)
    (('dark',), ('unfamiliar picture',))
    """
    rest, found = _compress(shifts), []
    whole = float(np.linalg.norm(rest))
    names = [name for name, table in signatures.items() for _ in table]
    rows = _compress(np.concatenate(list(signatures.values())))
    sizes = np.linalg.norm(rows, axis=1)
    directions = rows / np.where(sizes > 0, sizes, 1.0)[:, None]
    for _ in range(2):
        cosines = directions @ rest / max(float(np.linalg.norm(rest)), 1e-300)
        cosines[[name in found for name in names]] = -1.0
        best = int(cosines.argmax())
        if cosines[best] <= _ALIKE:
            break
        found.append(names[best])
        rest = rest - float(rest @ directions[best]) * directions[best]
        if float(np.linalg.norm(rest)) < _SECOND * whole:
            break
    return tuple(found) or (UNFAMILIAR,)


def mix_score(
    window: Array, other: Array, design: float, reference: Reference | None = None
) -> tuple[float, float]:
    """Whether two samples of answers have the same classes: two-sample chi-squared as a normal score.

    Args:
        window: float64 [C], answers per class.
        other: float64 [C], those that it is compared with.
        design: Samples per effective sample in *window*, at least 1 (Rao and Scott 1981).
        reference: Where *other* are its counts: pictures of one original count once.

    Returns:
        A score that is standard normal where nothing differs (Wilson and Hilferty 1931), and the total
        variation distance in [0, 1].

    >>> same = np.array([50.0, 50.0])
    >>> score, distance = mix_score(same, same, 1.0)
    >>> score < 0, distance
    (True, 0.0)
    """
    a = window / max(design, 1.0)
    b = other if reference is None else other * (reference.independent / reference.pictures)
    n_a, n_b = float(a.sum()), float(b.sum())
    distance = float(np.abs(a / n_a - b / n_b).sum()) / 2
    # cells with less than five expected in either sample are pooled (Cochran 1954)
    expected = (a + b) * min(n_a, n_b) / (n_a + n_b)
    large = expected >= 5
    cells = [a[large], b[large]]
    if not large.all():
        cells = [np.append(c, v[~large].sum()) for c, v in zip(cells, (a, b), strict=True)]
    total = cells[0] + cells[1]
    used = total > 0
    freedom = int(used.sum()) - 1
    if freedom < 1:
        return 0.0, distance
    ratio = math.sqrt(n_b / n_a)
    statistic = float((np.square(cells[0] * ratio - cells[1] / ratio)[used] / total[used]).sum())
    spread = 2 / (9 * freedom)
    return ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread), distance
