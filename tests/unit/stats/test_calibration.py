"""Calibration against definitions computed by hand, scikit-learn, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from edgecv.errors import InputError
from edgecv.stats.calibration import calibration, probabilities
from edgecv.stats.holm import holm


def _draw(rng: np.random.Generator, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels drawn from them: perfectly calibrated."""
    table = rng.dirichlet(np.full(classes, 0.5), n)
    labels = np.array([rng.choice(classes, p=row) for row in table])
    return table, labels


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_against_definitions(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    table, labels = _draw(rng, 60, classes)
    found = calibration(table, labels, resamples=50)
    top, right = table.max(1), table.argmax(1) == labels
    ece = 0.0
    for k in range(15):
        here = (top > k / 15) & (top <= (k + 1) / 15)
        if here.any():
            ece += here.mean() * abs(right[here].mean() - top[here].mean())
    assert found.ece.value == pytest.approx(ece, abs=1e-9)
    assert found.nll.value == pytest.approx(
        log_loss(labels, table, labels=list(range(classes))), rel=1e-6
    )
    one_hot = np.eye(classes)[labels]
    assert found.brier.value == pytest.approx(((table - one_hot) ** 2).sum(1).mean())
    for estimate in (found.nll, found.brier):
        assert estimate.low <= estimate.value <= estimate.high
    assert sum(b.pictures for b in found.bins) == 60


def test_a_calibrated_model_is_near_0_and_a_sure_one_is_not() -> None:
    rng = np.random.default_rng(0)
    table, labels = _draw(rng, 5000, 4)
    assert calibration(table, labels).ece.value < 0.03
    sure = np.eye(4)[table.argmax(1)] * 0.999 + 0.00025
    sure /= sure.sum(1, keepdims=True)
    assert calibration(sure, labels).ece.value > 0.2


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    table, labels = _draw(rng, 100, 3)
    table, labels, groups = (np.repeat(x, 5, axis=0) for x in (table, labels, np.arange(100)))
    grouped, single = calibration(table, labels, groups).nll, calibration(table, labels).nll
    assert grouped.value == pytest.approx(single.value)
    assert grouped.high - grouped.low > 1.6 * (single.high - single.low)


def test_probabilities() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, 0.0]])
    assert probabilities(logits, "logit").sum(1) == pytest.approx(1)
    assert probabilities([[64.0, 192.0]], "probability").tolist() == [[0.25, 0.75]]
    with pytest.raises(InputError, match="no probabilities"):
        probabilities(logits, "")
    with pytest.raises(InputError, match="negative or all 0"):
        probabilities([[-1.0, 2.0]], "probability")
    with pytest.raises(InputError, match=r"probabilities \[2, 3\] for labels \[3\]"):
        calibration(logits, [0, 1, 2])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_sequential(p_values: list[float]) -> None:
    corrected = holm(p_values)
    # the definition: reject step by step while p_(k) * (m - k) stays below the level
    for level in (0.01, 0.05, 0.2):
        order = sorted(range(len(p_values)), key=lambda k: p_values[k])
        rejected = set()
        for place, k in enumerate(order):
            if (len(p_values) - place) * p_values[k] > level:
                break
            rejected.add(k)
        assert {k for k, p in enumerate(corrected) if p <= level} == rejected


def test_holm_refuses_what_is_no_p_value() -> None:
    with pytest.raises(InputError, match="not in"):
        holm([0.5, 1.5])
