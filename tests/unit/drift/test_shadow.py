"""int8 beside float on the same frames, without labels."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edgecv.drift import Shadow
from edgecv.drift.shadow import usual_agreement
from edgecv.errors import InputError, ModelLoadError
from edgecv.stats.estimate import Estimate


def test_agreement_and_delta_by_hand() -> None:
    shadow = Shadow(every=1)
    pairs = [([0.9, 0.1], [0.8, 0.2]), ([0.4, 0.6], [0.7, 0.3]), ([0.2, 0.8], [0.2, 0.8])]
    for int8, floats in pairs:
        shadow.add(np.float32(int8), np.float32(floats))
    agreement, delta = shadow.agreement(), shadow.confidence_delta()
    assert agreement is not None
    assert delta is not None
    assert agreement.value == pytest.approx(2 / 3)
    assert delta.value == pytest.approx((0.1 - 0.1 + 0.0) / 3, abs=1e-6)
    assert delta.low < 0 < delta.high
    assert shadow.state["largest_top1_difference"] == pytest.approx(1 / 3)


def fill(hold: int, frames: int = 2000) -> Shadow:
    """Answers agree on nine scenes of ten, each held for *hold* frames."""
    rng = np.random.default_rng(0)
    shadow = Shadow(every=1)
    for _ in range(frames // hold):
        same, label = rng.random() < 0.9, int(rng.integers(4))
        floats = np.full(4, 0.1, np.float32)
        floats[label] = 0.7
        int8 = floats if same else np.roll(floats, 1)
        for _ in range(hold):
            shadow.add(int8, floats)
    return shadow


def test_held_scenes_widen_the_interval() -> None:
    loose, held = fill(1).agreement(), fill(20).agreement()
    assert loose is not None
    assert held is not None
    assert loose.value == pytest.approx(0.9, abs=0.03)
    assert held.high - held.low > 2 * (loose.high - loose.low)


def test_one_frame_in_n_is_wanted() -> None:
    shadow = Shadow(every=50)
    assert sum(shadow.wants() for _ in range(500)) == 10


def test_what_is_no_answer_is_left_out_or_refused() -> None:
    shadow = Shadow()
    shadow.add(np.float32([np.nan, 1]), np.float32([0.5, 0.5]))
    assert shadow.frames == 0
    assert shadow.agreement() is None
    with pytest.raises(InputError, match="probabilities of shapes"):
        shadow.add(np.ones(2), np.ones(3))
    with pytest.raises(InputError, match="every=0"):
        Shadow(every=0)


def test_the_state_is_plain() -> None:
    assert json.loads(json.dumps(Shadow().state))["n"] == 0
    assert json.loads(json.dumps(fill(1, 300).state))["n"] == 300


USUAL = Estimate(0.995, 0.99, 0.998, 1000, "wilson")


def feed(shadow: Shadow, agreement: float, frames: int, rng: np.random.Generator) -> list[bool]:
    """Independent frames; whether both were apart after each 200."""
    seen = []
    for number in range(frames):
        floats = np.full(4, 0.1, np.float32)
        floats[int(rng.integers(4))] = 0.7
        shadow.add(floats if rng.random() < agreement else np.roll(floats, 1), floats)
        if number % 200 == 199:
            seen.append(shadow.apart)
    return seen


def test_parting_is_noticed_and_ends() -> None:
    rng = np.random.default_rng(0)
    shadow = Shadow(every=1, usual=USUAL)
    assert not any(feed(shadow, 0.995, 1000, rng))
    assert all(feed(shadow, 0.93, 1000, rng))
    # it takes three windows that are usual together
    assert not any(feed(shadow, 0.995, 1000, rng)[3:])
    assert shadow.state["usual_agreement"] == 0.995


def test_a_middling_effect_does_not_come_and_go() -> None:
    rng = np.random.default_rng(2)
    shadow = Shadow(every=1, usual=USUAL)
    seen = feed(shadow, 0.96, 20_000, rng)
    assert sum(a != b for a, b in pairwise(seen)) <= 5
    assert sum(seen) > 80


def test_it_is_seldom_wrong() -> None:
    rng = np.random.default_rng(1)
    # each window stands alone: an alarm would count its successors, too
    wrong = sum(feed(Shadow(every=1, usual=USUAL), 0.995, 400, rng)[-1] for _ in range(300))
    assert wrong <= 2


def test_without_a_reference_there_is_no_alarm() -> None:
    shadow = Shadow(every=1)
    assert not any(feed(shadow, 0.5, 1000, np.random.default_rng(0)))
    assert shadow.state["usual_agreement"] is None


def report(**changes: Any) -> dict[str, Any]:
    agreement = {"value": 0.99, "low": 0.98, "high": 0.995, "n": 500, "method": "wilson"}
    return {"against_float": {"pictures": 500, "agreement": agreement} | changes}


def test_a_profile_tells_what_is_usual() -> None:
    assert usual_agreement({"against_float": None}) is None
    found = usual_agreement(report())
    assert found is not None
    assert (found.value, found.n) == (0.99, 500)


@pytest.mark.parametrize(
    "changes",
    [
        {"pictures": 0},
        {"pictures": None},
        {"pictures": float("inf")},
        {"agreement": None},
        {"agreement": {"value": 2, "low": 0, "high": 1}},
        {"agreement": {"value": float("nan"), "low": 0, "high": 1}},
        {"agreement": {"value": 0.9, "low": 0.95, "high": 0.5}},
        {"agreement": "much"},
    ],
)
def test_a_damaged_report_is_said(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelLoadError, match="against_float"):
        usual_agreement(report(**changes))
