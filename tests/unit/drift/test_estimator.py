"""Estimates: trees as arrays, intervals that widen, windows that are like nothing seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from edgecv.drift import regression
from edgecv.drift.estimator import Estimator
from edgecv.drift.judging import Judged, choose, error_table
from edgecv.drift.regression import fit_forest, fit_ridge
from edgecv.drift.window import FEATURES

SIZE = len(FEATURES)
CALIBRATED = FEATURES.index("mean calibrated")


def plain(method: str = "cbpe") -> Estimator:
    """Errors of 5 points to either side everywhere."""
    return Estimator(
        method=method,
        coefficients=np.zeros(0),
        forest=None,
        errors=np.array([[0.0, -0.05, 0.05], [1.0, -0.05, 0.05]]),
        low=np.zeros(SIZE),
        high=np.ones(SIZE),
        window=200,
        widest=0.3,
    )


def numbers(value: float) -> np.ndarray:
    made = np.full(SIZE, 0.5)
    made[CALIBRATED] = value
    return made


def data(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = rng.uniform(0, 1, (count, SIZE))
    return table, 0.3 + 0.4 * table[:, CALIBRATED] + 0.1 * table[:, -1]


def test_the_arrays_are_the_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    table, truth = data()
    forest = fit_forest(table, truth, seed=3)
    own = ExtraTreesRegressor(
        n_estimators=regression._TREES,
        max_leaf_nodes=regression._LEAVES,
        min_samples_leaf=regression._LEAST_LEAF,
        max_features=1.0,
        random_state=3,
    ).fit(table, truth)
    fresh = data(50, 1)[0]
    mine = [forest.predict(row) for row in fresh]
    # scikit-learn compares float32
    np.testing.assert_allclose(mine, own.predict(fresh), atol=2e-3)


def test_a_ridge_finds_a_line_and_leaves_the_picture_alone() -> None:
    table, truth = data(4000)
    found = fit_ridge(table, truth)
    assert found[1 + CALIBRATED] == pytest.approx(0.4, abs=0.01)
    last = FEATURES.index("shift shadows")
    assert found[1 + last] == 0


def test_an_interval_by_hand() -> None:
    estimate = plain().estimate(numbers(0.8), 200)
    assert (estimate.top1, estimate.low, estimate.high) == pytest.approx((0.8, 0.75, 0.85))
    assert estimate.inside
    assert estimate.cbpe == pytest.approx(0.8)


def test_fewer_samples_widen_the_interval_and_more_do_not_narrow_it() -> None:
    one, few, many = (plain().estimate(numbers(0.8), n) for n in (200, 50, 100_000))
    # 1.96 ** 2 * 0.8 * 0.2 * (1/50 - 1/200) = 0.00922
    assert few.high - few.top1 == pytest.approx(np.sqrt(0.05**2 + 0.00922), abs=1e-4)
    assert (many.low, many.high) == (one.low, one.high)


def test_a_wide_interval_says_nothing() -> None:
    wide = replace(plain(), errors=np.array([[0.0, -0.3, 0.1]]))
    assert not wide.estimate(numbers(0.8), 200).inside


def test_a_window_like_nothing_seen_is_outside() -> None:
    strange = numbers(0.8)
    strange[-1] = 1.5
    assert not plain().estimate(strange, 200).inside


def test_an_audit_moves_the_estimate() -> None:
    estimate = plain().estimate(numbers(0.8), 200, shift=-0.1)
    assert (estimate.top1, estimate.low, estimate.high) == pytest.approx((0.7, 0.65, 0.75))


def test_known_bias_moves_the_interval_and_the_point_stays_in_it() -> None:
    biased = replace(plain(), errors=np.array([[0.0, -0.2, -0.1]]))
    estimate = biased.estimate(numbers(0.8), 200)
    assert (estimate.low, estimate.high) == pytest.approx((0.6, 0.7))
    assert estimate.low <= estimate.top1 <= estimate.high


def test_the_least_error_wins_and_the_table_holds_quantiles() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.9, 400)
    mixed = [bool(i % 2) for i in range(400)]
    good = Judged((truth + rng.normal(0.05, 0.01, 400)).tolist(), truth.tolist(), mixed)
    bad = Judged((truth + rng.normal(0, 0.2, 400)).tolist(), truth.tolist(), mixed)
    assert choose({"atc": bad, "ridge": good}) == "ridge"
    assert good.summary()["bias"] == pytest.approx(5.0, abs=0.3)
    table = error_table(good)
    assert (np.diff(table[:, 0]) > 0).all()
    # bias 0.05 and 1.96 deviations of 0.01, stretched by 15 %
    np.testing.assert_allclose(table[:, 1:].mean(axis=0), [-0.0725, -0.0275], atol=0.006)


@pytest.mark.parametrize(
    ("line", "expected"), [(0.8, 0.8), (0.74, 0.776), (0.6, 0.6), (0.95, 0.95)]
)
def test_a_guard_believes_confidence_only_where_the_regression_agrees(
    line: float, expected: float
) -> None:
    # at 0.74 the distance is 0.06 of 0.15: 60 % of the way back to 0.8
    coefficients = np.zeros(1 + SIZE)
    coefficients[0] = line
    guarded = replace(plain("guarded"), coefficients=coefficients)
    assert guarded.point(numbers(0.8)) == pytest.approx(expected)
