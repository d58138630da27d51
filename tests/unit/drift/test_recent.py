"""The newest steps of a stream, and their scatter."""

from __future__ import annotations

import numpy as np
import pytest
from drift_parts import CLASSES, picture, profile, scores
from hypothesis import given
from hypothesis import strategies as st

from edgecv.drift.quality import quality
from edgecv.drift.recent import Recent, Scatter, Step
from edgecv.drift.window import Window


def step(effective: float, start_s: float = 0.0, frames: int = 3, seed: int = 0) -> Step:
    rng = np.random.default_rng(seed)
    window = Window(CLASSES)
    for label in rng.integers(0, CLASSES, frames).tolist():
        frame = picture(label, rng)
        window.add(profile().calibrator.answer(scores(frame)), quality(frame))
    return Step(window, effective, start_s)


@given(st.lists(st.floats(0.5, 40), min_size=1, max_size=60), st.floats(20, 400))
def test_it_holds_as_few_steps_as_make_a_window(sizes: list[float], size: float) -> None:
    recent, window = Recent(CLASSES, size), Window(CLASSES)
    for number, effective in enumerate(sizes):
        recent.add(Step(window, effective, float(number)))
        held = sizes[: number + 1][-len(recent) :]
        # without its oldest step it would be less than a window
        assert sum(held[1:]) < size + 1e-6
        assert len(recent) == number + 1 or sum(held) >= size - 1e-6
        assert recent.start_s == number + 1 - len(recent)
    assert recent.merged()[1] == pytest.approx(sum(held))


def test_merged_sums_are_those_of_all_frames() -> None:
    recent, whole = Recent(CLASSES, 100), Window(CLASSES)
    rng = np.random.default_rng(3)
    for number in range(4):
        part = Window(CLASSES)
        for label in rng.integers(0, CLASSES, 5).tolist():
            frame = picture(label, rng)
            answer, looks = profile().calibrator.answer(scores(frame)), quality(frame)
            part.add(answer, looks)
            whole.add(answer, looks)
        recent.add(Step(part, 5.0, float(number)))
    merged, effective = recent.merged()
    assert effective == 20
    assert (merged.frames, merged.weight) == (whole.frames, whole.weight)
    for name in ("rows", "squares", "quality", "quality_squares", "counts", "probabilities"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name))
    # a merged window is a copy: the steps stay what they are
    merged.merge(whole)
    assert recent.merged()[0].frames == whole.frames


def test_what_lies_before_a_change_goes() -> None:
    recent = Recent(CLASSES, 100)
    for number in range(5):
        recent.add(step(10.0, float(number)))
    recent.keep(2)
    assert (len(recent), recent.start_s) == (2, 3.0)
    recent.keep(0)
    assert len(recent) == 1


def test_scatter_is_that_of_a_steps_mean() -> None:
    rng = np.random.default_rng(0)
    held = rng.normal(0, [1.0, 3.0], (3000, 2)).repeat(3, axis=0)
    scatter = Scatter(200, np.random.default_rng(1))
    found = [scatter.add(held[at : at + 30], 3.0) for at in range(0, len(held), 30)]
    # a mean of thirty frames, three of which are one
    np.testing.assert_allclose(np.mean(found, axis=0), [1 / 10, 9 / 10], rtol=0.2)
    # the record is looked at once per 200 samples
    assert len({float(one[0]) for one in found[40:]}) <= len(found[40:]) * 30 / 200 + 1
