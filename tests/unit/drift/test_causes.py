"""Causes: named only when something differs, and by what it is most like."""

from __future__ import annotations

import numpy as np
import pytest
from cause_parts import SIGNATURES, reference, window

from edgecv.drift.causes import (
    CLASS_MIX,
    UNFAMILIAR,
    UNKNOWN_CONTENT,
    against_reference,
    mix_score,
    name_shift,
)
from edgecv.drift.quality import QUALITY
from edgecv.drift.window import Window


def causes(made: Window, effective: float = 200.0) -> tuple[str, ...]:
    return against_reference(
        made, reference(), SIGNATURES, effective=effective, level=1e-3, least_shift=0.5
    ).causes


def test_nothing_differs() -> None:
    assert causes(window(np.zeros(11), [80, 60, 60])) == ()


def test_a_shift_gets_the_name_of_its_signature() -> None:
    assert causes(window(np.eye(11)[0] * -1.2, [80, 60, 60])) == ("dark",)
    assert causes(window(np.eye(11)[3] * -1.2, [80, 60, 60])) == ("blur",)
    assert causes(window(np.eye(11)[7] * 1.2, [80, 60, 60])) == (UNFAMILIAR,)


def test_a_small_shift_has_no_name_however_sure() -> None:
    assert causes(window(np.eye(11)[0] * -0.4, [80, 60, 60]), effective=1e6) == ()


def test_few_effective_samples_prove_nothing() -> None:
    assert causes(window(np.eye(11)[0] * -1.2, [80, 60, 60]), effective=5) == ()


def test_a_class_mix_is_named_only_where_pictures_are_as_they_were() -> None:
    other = [180.0, 10.0, 10.0]
    assert causes(window(np.zeros(11), other)) == (CLASS_MIX,)
    assert causes(window(np.eye(11)[0] * -1.2, other)) == ("dark",)


def test_unknown_content_is_an_excess_of_strange_frames() -> None:
    assert causes(window(np.zeros(11), [80, 60, 60], strange=0.2)) == (UNKNOWN_CONTENT,)
    assert causes(window(np.zeros(11), [80, 60, 60], strange=0.05)) == ()
    # three of twenty are chance: the counts are too small for a normal distribution
    assert causes(window(np.zeros(11), [8, 6, 6], strange=0.15), effective=20) == ()
    assert causes(window(np.zeros(11), [8, 6, 6], strange=0.5), effective=20) == (UNKNOWN_CONTENT,)


def test_two_causes_at_once() -> None:
    # log(1 + 3) to either side: each signature has the cosine 0.71; the darker one 0.79
    alike = {**SIGNATURES, "dusk": np.eye(11)[:1] * -3 + np.eye(11)[3:4] * -0.2}
    both = np.eye(11)[0] * -3 + np.eye(11)[3] * -3
    assert name_shift(both, alike) == ("dusk", "blur")


def test_the_mix_score_is_standard_normal_or_less_without_a_difference() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(10, 1.0))
    scores = [
        mix_score(
            rng.multinomial(200, shares).astype(float),
            rng.multinomial(1000, shares).astype(float),
            1.0,
        )[0]
        for _ in range(2000)
    ]
    assert np.mean(scores) == pytest.approx(0, abs=0.1)
    assert np.std(scores) == pytest.approx(1, abs=0.1)
    assert np.mean(np.array(scores) > 2.33) < 0.02


def test_correlated_samples_count_less() -> None:
    a, b = np.array([120.0, 80.0]), np.array([500.0, 500.0])
    assert mix_score(a, b, 1.0)[0] > 2 > mix_score(a, b, 5.0)[0]


def test_a_thousand_rare_classes_are_pooled() -> None:
    rng = np.random.default_rng(1)
    shares = np.full(1000, 1e-3)
    a, b = (rng.multinomial(n, shares).astype(float) for n in (200, 1000))
    assert abs(mix_score(a, b, 1.0)[0]) < 2.5


def test_signatures_name_all_statistics() -> None:
    assert len(QUALITY) == 11
