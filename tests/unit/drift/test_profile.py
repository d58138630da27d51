"""Profiles: what they hold, that they read back, and that no damaged one does anything but one error."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from drift_parts import CLASSES, profile

from edgecv.artifact import Manifest, manifest_from_json, manifest_to_json
from edgecv.drift import DriftProfile, Monitor
from edgecv.errors import ModelLoadError


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(profile().as_json(), allow_nan=False))
    return found


def test_it_is_small_and_plain() -> None:
    assert len(json.dumps(document(), separators=(",", ":"))) < 60_000


def test_it_reads_back() -> None:
    again = DriftProfile.from_json(document())
    assert again.as_json() == DriftProfile.from_json(again.as_json()).as_json()
    assert again.classes == CLASSES
    assert again.estimator.method == profile().estimator.method
    rng = np.random.default_rng(0)
    for row in rng.uniform(
        again.estimator.low, again.estimator.high, (20, len(again.estimator.low))
    ):
        assert again.estimator.point(row) == pytest.approx(profile().estimator.point(row), abs=0.03)


def test_it_travels_in_a_manifest() -> None:
    manifest = Manifest(("a", "b", "c"), None, (), (), "int8", drift_profile=document())
    kept = manifest_from_json(manifest_to_json(manifest)).drift_profile
    assert kept is not None
    assert Monitor(kept).profile.reference.top1 == profile().reference.top1


def test_it_says_how_wrong_every_method_is() -> None:
    held_out = profile().held_out
    assert set(held_out) == {"cbpe", "atc", "ridge", "trees", "both", "guarded"}
    chosen = held_out[profile().estimator.method]
    assert all(
        chosen["mae"] + chosen["mix_mae"] <= r["mae"] + r["mix_mae"] for r in held_out.values()
    )


def test_signatures_point_the_way_they_should() -> None:
    signatures = profile().signatures
    assert {"dark", "bright", "blur", "noise", "compression", "color cast"} <= set(signatures)
    assert (signatures["dark"][:, 0] < 0).all()
    assert (signatures["bright"][:, 0] > 0).all()
    assert (signatures["blur"][:, 3] < 0).all()


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key, and the first item of every list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*at, key)
            yield from paths(item, (*at, key))
    elif isinstance(value, list) and value:
        yield (*at, 0)
        yield from paths(value[0], (*at, 0))


def replaced(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(SMALL)
    target: Any = changed
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return changed


def small() -> dict[str, Any]:
    """The same document without the forest's length, which would make hundreds of copies slow."""
    made = document()
    made["estimator"]["forest"] = {
        "roots": [0], "feature": [0, -1, -1], "number": [0.5, 0.4, 0.8], "left": [1, 0, 0], "right": [2, 0, 0],
    }  # fmt: skip
    made["estimator"]["method"] = "both"
    made["estimator"]["coefficients"] = [0.1] * (1 + len(made["features"]))
    return made


SMALL = small()
#: Keys whose content is free.
FREE = {
    ("against_float",),
    ("identity",),
    ("reference", "quantiles"),
    ("held_out",),
    ("signatures",),
}
WRONG: tuple[Any, ...] = (
    "x",
    -1e13,
    1e300,
    True,
    [],
    {},
    [[]],
    [None],
    [["x"]],
    None,
    "x" * 10_000,
)


def test_the_small_document_is_fine() -> None:
    DriftProfile.from_json(SMALL)


def test_a_missing_key_is_one_error() -> None:
    tried = 0
    for path in paths(SMALL):
        free = path[0] in ("signatures", "held_out") or path[:2] == ("reference", "quantiles")
        if not isinstance(path[-1], str) or (free and path not in FREE):
            continue
        changed = copy.deepcopy(SMALL)
        target: Any = changed
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]
        with pytest.raises(ModelLoadError, match="is missing"):
            DriftProfile.from_json(changed)
        tried += 1
    assert tried > 40


def test_a_wrong_value_is_an_error_or_does_no_harm() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    refused = 0
    for path in paths(SMALL):
        for value in WRONG:
            try:
                read = DriftProfile.from_json(replaced(path, value))
            except ModelLoadError:
                refused += 1
                continue
            # what is accepted must work: finite numbers, no exception
            sample = Monitor(read).measure(np.full(CLASSES, 1 / 3, np.float32), frame)
            assert sample is not None
            assert np.isfinite(sample.answer.row).all()
    assert refused > 500


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ModelLoadError, match="temperature"):
        DriftProfile.from_json(replaced(("calibrator", "temperature"), value))


@pytest.mark.parametrize(
    ("key", "steps"), [("left", [0, 0, 0]), ("right", [3, 0, 0]), ("left", [-1, 0, 0])]
)
def test_a_forest_that_goes_in_circles_is_refused(key: str, steps: list[int]) -> None:
    with pytest.raises(ModelLoadError, match="forest"):
        DriftProfile.from_json(replaced(("estimator", "forest", key), steps))


def test_other_versions() -> None:
    with pytest.raises(ModelLoadError, match=r"has version 3\.0.*Upgrade"):
        DriftProfile.from_json(replaced(("version",), "3.0"))
    DriftProfile.from_json({**replaced(("version",), "2.9"), "further": 1})
    # what 41 numbers mean is no matter of a minor version
    with pytest.raises(ModelLoadError, match="another version of edgecv"):
        DriftProfile.from_json(replaced(("version",), "1.0"))
    with pytest.raises(ModelLoadError, match="another version of edgecv"):
        DriftProfile.from_json(replaced(("quality",), ["brightness"]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", [0, 2, 1]),
        ("classes", [0, 0, 1]),
        ("classes", [0, 1, 3]),
        ("classes", [0, 1]),
        ("classes", [0.5, 1, 2]),
        ("quality", [[0.0] * 11] * 2),
        ("quality", [[0.0] * 10] * 3),
        ("quality", [[1e4] * 11] * 3),
        ("columns", [[math.nan] * 10] * 3),
        ("columns", [[0.0] * 11] * 3),
    ],
)
def test_damaged_means_of_classes_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ModelLoadError, match="by_class"):
        DriftProfile.from_json(replaced(("reference", "by_class", key), value))


def test_the_largest_means_of_classes_do_no_harm() -> None:
    extreme = {"classes": [0, 1, 2], "columns": [[-1e3] * 10] * 3, "quality": [[1e3] * 11] * 3}
    read = DriftProfile.from_json(replaced(("reference", "by_class"), extreme))
    monitor, rng = Monitor(read), np.random.default_rng(0)
    for number in range(600):
        scores = rng.dirichlet(np.ones(CLASSES)).astype(np.float32)
        frame = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
        report = monitor.observe(scores, frame, number / 10)
        if report is not None:
            assert 0 <= report.estimate.low <= report.estimate.high <= 1
    assert monitor.state["estimated_top1"] is not None


def test_a_profile_without_means_of_classes_is_one() -> None:
    assert (
        DriftProfile.from_json(replaced(("reference", "by_class"), None)).reference.by_class is None
    )


def test_a_truncated_list_is_refused() -> None:
    for path in (("reference", "quality_means"), ("estimator", "low"), ("calibrator", "knots", 0)):
        target: Any = SMALL
        for key in path:
            target = target[key]
        with pytest.raises(ModelLoadError, match="shape"):
            DriftProfile.from_json(replaced(path, target[:-1]))
