"""What a window's own classes lead one to expect: by hand, where it changes nothing, where it must not."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cause_parts import SIGNATURES, reference, window
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.drift import DriftProfile, Monitor, MonitorOptions
from edgecv.drift.by_class import MOST_CLASSES, ByClass, fit_by_class
from edgecv.drift.causes import CLASS_MIX, UNFAMILIAR, against_reference, smaller
from edgecv.drift.window import FEATURES, VERSION_1, features

#: Made by the code that wrote version 1.0: a small profile, frames, and what the monitor said of them.
OLD = Path(__file__).with_name("profile_v1.json.gz")


def dark_first(offset: float = -1.2) -> ByClass:
    """Pictures of class 0 are darker, those of the others as all are."""
    quality = np.zeros((3, 11))
    quality[0, 0] = offset
    return ByClass(np.arange(3), np.zeros((3, 10)), quality)


def causes(shift: np.ndarray, counts: list[float], by_class: ByClass | None) -> tuple[str, ...]:
    known = replace(reference(), by_class=by_class)
    found = against_reference(
        window(shift, counts), known, SIGNATURES, effective=200, level=1e-3, least_shift=0.5
    )
    return found.causes


MOSTLY_FIRST = [180.0, 10.0, 10.0]
AS_USUAL = [80.0, 60.0, 60.0]


def test_a_shift_that_the_classes_explain_is_a_class_mix() -> None:
    # 180 of 200 answers are the dark class: 0.9 * -1.2 = -1.08
    shift = np.eye(11)[0] * -1.08
    assert causes(shift, MOSTLY_FIRST, None) == ("dark",)
    assert causes(shift, MOSTLY_FIRST, dark_first()) == (CLASS_MIX,)


def test_darkness_beyond_the_classes_is_dark() -> None:
    assert causes(np.eye(11)[0] * -3, MOSTLY_FIRST, dark_first()) == ("dark",)


def test_classes_explain_nothing_where_their_mix_is_as_usual() -> None:
    assert causes(np.eye(11)[0] * -0.6, AS_USUAL, dark_first()) == ("dark",)


def test_expectations_only_take_away() -> None:
    # bright pictures that the model answers with the dark class; and usual ones
    assert causes(np.eye(11)[0] * 1.2, MOSTLY_FIRST, dark_first()) == (UNFAMILIAR,)
    assert causes(np.zeros(11), MOSTLY_FIRST, dark_first()) == (CLASS_MIX,)


def test_a_mean_of_few_pictures_explains_with_its_own_error() -> None:
    # 400 reference answers of class 0: 0.9 ** 2 / 400, and 0.05 ** 2 / 300 twice
    found = dark_first().scatter(np.array(MOSTLY_FIRST), reference().counts)
    assert found == pytest.approx(0.81 / 400 + 2 * 0.0025 / 300)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-4, 4), min_size=11, max_size=11),
    st.lists(st.integers(1, 200), min_size=3, max_size=3),
)
def test_equal_classes_change_nothing(shift: list[float], counts: list[int]) -> None:
    moved, answers = np.array(shift), [200 * c / sum(counts) for c in counts]
    equal = ByClass(np.arange(3), np.zeros((3, 10)), np.zeros((3, 11)))
    assert causes(moved, answers, equal) == causes(moved, answers, None)
    made = window(moved, answers)
    made.probabilities = np.array(answers)
    with_them, without = (features(made, replace(reference(), by_class=b)) for b in (equal, None))
    np.testing.assert_array_equal(with_them, without)


@given(
    st.lists(st.floats(-9, 9), min_size=4, max_size=4),
    st.lists(st.floats(-9, 9), min_size=4, max_size=4),
)
def test_what_is_left_is_never_more(shift: list[float], expected: list[float]) -> None:
    left = smaller(np.array(shift), np.array(expected))
    assert (np.abs(left) <= np.abs(shift)).all()


def test_numbers_of_a_window_by_hand() -> None:
    columns = np.zeros((3, 10))
    columns[0, 0] = 0.4
    known = replace(reference(), by_class=ByClass(np.arange(3), columns, np.zeros((3, 11))))
    made = window(np.zeros(11), [100.0, 60.0, 40.0])
    made.probabilities = np.array([80.0, 70.0, 50.0])
    numbers = dict(zip(FEATURES, features(made, known), strict=True))
    # shares 0.5, 0.3, 0.2 instead of 0.4, 0.3, 0.3
    assert numbers["mix distance"] == pytest.approx(0.1)
    assert numbers["mix largest"] == pytest.approx(0.5)
    assert numbers["mix concentration"] == pytest.approx(0.38)
    assert numbers["mix doubt"] == pytest.approx(0.1)
    # the mean is the reference's; half of the answers lead one to expect 0.4 more
    assert numbers["beyond confidence"] == pytest.approx(-0.2)
    assert numbers["beyond entropy"] == pytest.approx(0)


def test_the_fit_by_hand() -> None:
    index = np.repeat([0, 2], 50)
    quality = np.zeros((100, 11))
    quality[:, 0] = np.tile([-1.0, 1.0], 50) + np.where(index == 0, -2.0, 2.0)
    found = fit_by_class(index, np.zeros((100, 10)), quality)
    assert found is not None
    assert found.classes.tolist() == [0, 2]
    # within classes 100 / 98, of a mean a fiftieth of it; between 4 - that; the spread is sqrt(5)
    noise = 100 / 98 / 50
    expected = 2 * (4 - noise) / 4 / np.sqrt(5)
    np.testing.assert_allclose(found.quality[:, 0], [-expected, expected])
    assert not found.quality[:, 1:].any()
    assert not found.columns.any()


def test_differences_by_chance_are_no_differences() -> None:
    rng = np.random.default_rng(0)
    index, quality = rng.integers(0, 10, 1000), rng.normal(0, 1, (1000, 11))
    found = fit_by_class(index, rng.normal(0, 1, (1000, 10)), quality)
    assert found is not None
    # a mean of 100 pictures scatters by 0.1; what is kept of it is little
    assert np.abs(found.quality).mean() < 0.03


def test_rare_classes_have_no_mean_and_common_ones_are_few() -> None:
    index = np.concatenate([np.repeat(np.arange(150), 4), [150, 151]])
    found = fit_by_class(index, np.zeros((602, 10)), np.zeros((602, 11)))
    assert found is not None
    assert len(found.classes) == MOST_CLASSES
    assert (np.diff(found.classes) > 0).all()
    assert found.classes.max() < 150
    assert fit_by_class(np.zeros(50, np.int64), np.zeros((50, 10)), np.zeros((50, 11))) is None


def test_a_stream_whose_usual_mix_changes_says_so() -> None:
    # answers and pictures of the second half are those of one class, as the reference knows it
    document = json.loads(gzip.decompress(OLD.read_bytes()))
    profile = DriftProfile.from_json(document["profile"])
    offsets = np.zeros((profile.classes, 11))
    offsets[0, 0] = -1.5
    known = ByClass(np.arange(profile.classes), np.zeros((profile.classes, 10)), offsets)
    rng = np.random.default_rng(3)
    named = {}
    for name, by_class in (("unknown", None), ("known", known)):
        own = replace(profile, reference=replace(profile.reference, by_class=by_class))
        monitor = Monitor(own, MonitorOptions(window=50))
        for number in range(1200):
            label = int(rng.integers(3)) if number < 600 else 0
            scores = np.full(3, 0.02, np.float32)
            scores[label] = 0.96
            frame = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            sample = monitor.measure(scores, frame)
            assert sample is not None
            look = rng.normal(0, 1, 11) + (offsets[0] if label == 0 else 0)
            sample.quality[:] = own.reference.quality_means + look * own.reference.quality_spreads
            monitor.observe_sample(sample, number / 10)
        named[name] = set(monitor.state["causes"])
    assert CLASS_MIX not in named["unknown"]
    assert named["known"] == {CLASS_MIX}


def test_profiles_of_version_1_are_read_as_they_were() -> None:
    document = json.loads(gzip.decompress(OLD.read_bytes()))
    assert document["profile"]["version"] == "1.0"
    assert len(document["profile"]["features"]) == VERSION_1
    profile = DriftProfile.from_json(document["profile"])
    assert profile.reference.by_class is None
    row = np.append(document["numbers"], np.zeros(len(FEATURES) - VERSION_1))
    top1, low, high, inside, cbpe = document["said"][0][0]
    found = profile.estimator.estimate(row, 60)
    np.testing.assert_allclose([found.top1, found.cbpe], [top1, cbpe], atol=1e-3)
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.02)
    assert found.inside is inside
    # and a monitor names what it did in these frames
    monitor, named = Monitor(profile, MonitorOptions(**document["options"])), set()
    for number, (scores, quality) in enumerate(document["frames"]):
        sample = monitor.measure(np.array(scores, np.float32), np.zeros((8, 8, 3), np.uint8))
        assert sample is not None
        sample.quality[:] = quality
        monitor.observe_sample(sample, number / 10)
        named |= set(monitor.state["causes"])
    assert named == {name for _, names in document["said"] for name in names}
    # written again it is of this version, and says the same
    again = DriftProfile.from_json(json.loads(json.dumps(profile.as_json(), allow_nan=False)))
    assert again.reference.by_class is None
    for further in (0.0, 7.0):
        row = np.append(document["numbers"], np.full(len(FEATURES) - VERSION_1, further))
        one, other = (p.estimator.estimate(row, 60) for p in (profile, again))
        assert one == other
        assert one.top1 == pytest.approx(document["said"][0][0][0], abs=1e-3)
