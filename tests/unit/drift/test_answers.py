"""From probabilities to numbers, and how that is fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.drift.answers import COLUMNS, Calibrator, Projection
from edgecv.drift.calibrating import fit_calibrator, fit_temperature, isotonic
from edgecv.errors import InputError

Array = np.ndarray[Any, Any]


def calibrator(temperature: float = 1.0, threshold: float = 0.6) -> Calibrator:
    """Three classes; distances in the plane of the first two outputs."""
    projection = Projection(
        outputs=np.array([0, 1]),
        matrix=np.eye(2),
        classes=np.array([0, 1]),
        means=np.array([[1.0, 0.0], [0.0, 1.0]]),
        limit=math.log1p(0.5),
    )
    return Calibrator(
        least=1e-9,
        temperature=temperature,
        knots=np.array([[0.5, 0.4], [0.9, 0.8]]),
        threshold=threshold,
        precision=np.array([0.9, 0.5, 0.7]),
        projection=projection,
    )


def test_an_answer_by_hand() -> None:
    answer = calibrator().answer(np.float32([0.7, 0.2, 0.1]))
    row = dict(zip(COLUMNS, answer.row.tolist(), strict=True))
    assert answer.index == 0
    assert row["confidence"] == pytest.approx(0.7, abs=1e-6)
    assert row["calibrated"] == pytest.approx(0.6, abs=1e-6)  # half way between the knots
    assert row["sure"] == 1
    assert row["logit"] == pytest.approx(math.log(0.7 / 0.3), abs=1e-5)
    assert row["entropy"] == pytest.approx(-sum(p * math.log(p) for p in (0.7, 0.2, 0.1)), abs=1e-6)
    assert row["margin"] == pytest.approx(0.5, abs=1e-6)
    assert row["precision"] == pytest.approx(0.9)
    logs = np.log([0.7, 0.2, 0.1])
    point = logs[:2] - logs.mean()
    distances = [np.square(point - mean).sum() for mean in ([1.0, 0.0], [0.0, 1.0])]
    assert row["nearest"] == pytest.approx(math.log1p(min(distances)), abs=1e-5)
    assert row["own"] == pytest.approx(math.log1p(distances[0]), abs=1e-5)
    assert row["strange"] == (row["nearest"] > math.log1p(0.5))


def test_temperature_divides_log_odds() -> None:
    cold, hot = (calibrator(t).answer(np.float32([0.8, 0.2, 0.0])) for t in (1.0, 2.0))
    # (0.8 : 0.2) ** (1/2) = 2 : 1, and the third class has next to nothing
    assert hot.row[0] == pytest.approx(2 / 3, abs=1e-4)
    assert cold.row[0] == pytest.approx(0.8, abs=1e-6)


def test_a_certain_answer_is_finite() -> None:
    answer = calibrator().answer(np.float32([1.0, 0.0, 0.0]))
    assert np.isfinite(answer.row).all()


def test_scores_of_another_model_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \[4\] for 3 classes"):
        calibrator().answer(np.ones(4, np.float32) / 4)


def draw(count: int, temperature: float, seed: int) -> tuple[Array, Array]:
    """Probabilities that are too sure by *temperature*, and labels that follow the honest ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=p) for p in honest])
    sure = np.exp(logits * temperature)
    return sure / sure.sum(axis=1, keepdims=True), labels


def test_the_temperature_that_was_put_in_is_found() -> None:
    probabilities, labels = draw(4000, 2.5, 0)
    assert fit_temperature(np.log(probabilities), labels) == pytest.approx(2.5, rel=0.08)


def test_a_fitted_calibrator_knows_its_accuracy() -> None:
    probabilities, labels = draw(3000, 2.0, 1)
    fitted = fit_calibrator(probabilities, labels, 1e-9)
    rows = np.stack([fitted.answer(p).row for p in probabilities])
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    mean = dict(zip(COLUMNS, rows.mean(axis=0).tolist(), strict=True))
    assert mean["calibrated"] == pytest.approx(accuracy, abs=0.01)
    assert mean["sure"] == pytest.approx(accuracy, abs=0.01)  # ATC's definition
    assert mean["confidence"] == pytest.approx(accuracy, abs=0.02)  # temperature scaling
    assert mean["strange"] == pytest.approx(0.01, abs=0.005)
    # and not on other data only: a calibrator that repeats its input would pass the lines above
    raw = float(probabilities.max(axis=1).mean())
    assert abs(raw - accuracy) > 0.08


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200),
    st.integers(1, 20),
)
def test_isotonic_maps_ascend_and_keep_the_mean(
    pairs: list[tuple[float, bool]], least: int
) -> None:
    confidence = np.array([c for c, _ in pairs])
    right = np.array([float(r) for _, r in pairs])
    knots = isotonic(confidence, right, least=least)
    assert (np.diff(knots[:, 0]) >= -1e-12).all()
    assert (np.diff(knots[:, 1]) > 0).all()
    assert ((knots[:, 1] >= 0) & (knots[:, 1] <= 1)).all()
    assert knots[0, 1] <= right.mean() + 1e-9
    assert knots[-1, 1] >= right.mean() - 1e-9


def test_isotonic_weights_are_repetitions() -> None:
    once = isotonic(
        np.array([0.1, 0.5, 0.9]), np.array([0.0, 1, 1]), np.array([1.0, 2, 1]), least=1
    )
    assert once.tolist() == [[0.1, 0.0], [pytest.approx((2 * 0.5 + 0.9) / 3), 1.0]]
