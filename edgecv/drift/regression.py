"""Ridge regression and extremely randomized trees as plain arrays; workstation side."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.estimator import Forest
from edgecv.drift.window import FEATURES
from edgecv.errors import require

__all__ = ["fit_forest", "fit_ridge"]

Array = npt.NDArray[np.float64]

_TREES, _LEAVES, _LEAST_LEAF = 32, 28, 10
#: What a ridge may use. Picture quality is left to trees: a line through "darker" and "lower accuracy" leads
#: anywhere under a corruption that the fit has not seen (measured on CIFAR-10: 8.8 points instead of 5.8).
_LINEAR: Final = np.array([not name.startswith("shift") for name in FEATURES])
_PENALTY: Final = 10.0
#: Steps of reweighting, and the error below which all count alike.
_STEPS: Final = 8
_SMALL: Final = 0.03


def fit_ridge(numbers: Array, truth: Array) -> Array:
    """Coefficients, constant first: float64 [1 + F], of numbers [N, F] to truth [N].

    Least absolute errors, by reweighted least squares: a collapse that nothing shows would bend a line of least
    squares for all others. The penalty works on standardized numbers; those that describe the picture get 0.
    """
    middle, spread = numbers.mean(axis=0), numbers.std(axis=0)
    # a number that never varied says nothing, and would be divided by 0
    spread = np.where((spread > 1e-9) & _LINEAR, spread, np.inf)
    table = (numbers - middle) / spread
    table = np.column_stack([np.ones(len(table)), table])
    penalty = _PENALTY * np.eye(table.shape[1])
    penalty[0, 0] = 0.0
    weight = np.ones(len(table))
    for _ in range(_STEPS):
        weighted = table * weight[:, None]
        found = np.linalg.solve(weighted.T @ table + penalty, weighted.T @ truth)
        weight = 1 / np.maximum(np.abs(truth - table @ found), _SMALL)
        weight /= weight.mean()
    slopes = found[1:] / spread
    return np.append(found[0] - slopes @ middle, slopes)


def fit_forest(numbers: Array, truth: Array, *, seed: int) -> Forest:
    """Extremely randomized trees (Geurts et al. 2006) of numbers [N, F] to truth [N].

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    require("sklearn", extra="drift")
    from sklearn.ensemble import ExtraTreesRegressor

    model = ExtraTreesRegressor(
        n_estimators=_TREES,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=_LEAST_LEAF,
        max_features=1.0,
        random_state=seed,
        n_jobs=1,
    ).fit(numbers, truth)
    trees = [estimator.tree_ for estimator in model.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    feature = np.concatenate([np.maximum(tree.feature, -1) for tree in trees])
    leaf = feature < 0

    def placed(name: str) -> npt.NDArray[np.int64]:
        parts = [getattr(tree, name) + s for tree, s in zip(trees, starts[:-1], strict=True)]
        return np.where(leaf, 0, np.concatenate(parts)).astype(np.int64)

    values = np.concatenate([tree.value[:, 0, 0] for tree in trees])
    thresholds = np.concatenate([tree.threshold for tree in trees])
    return _in_order(
        Forest(
            roots=starts[:-1].astype(np.int64),
            feature=feature.astype(np.int64),
            threshold=np.where(leaf, 0.0, thresholds),
            left=placed("children_left"),
            right=placed("children_right"),
            value=np.where(leaf, values, 0.0),
        )
    )


def _in_order(forest: Forest) -> Forest:
    """Nodes renumbered so that children come after their parent.

    scikit-learn grows the best leaf next, so its numbers already ascend; the reader of profiles demands
    it, hence no reliance on an order that nobody promised.
    """
    order: list[int] = []
    roots = []
    for root in forest.roots.tolist():
        roots.append(len(order))
        stack = [root]
        while stack:
            node = stack.pop()
            order.append(node)
            if forest.feature[node] >= 0:
                stack += [int(forest.right[node]), int(forest.left[node])]
    place = np.zeros(len(order), np.int64)
    place[order] = np.arange(len(order))
    leaf = forest.feature[order] < 0
    return Forest(
        np.array(roots, np.int64),
        forest.feature[order],
        forest.threshold[order],
        np.where(leaf, 0, place[forest.left[order]]),
        np.where(leaf, 0, place[forest.right[order]]),
        forest.value[order],
    )
