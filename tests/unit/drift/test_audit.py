"""Frames for people: which are kept, with which chance, and what their labels say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drift_parts import IDENTITY, pictures, profile, scores
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.drift import AuditSampler
from edgecv.drift.audit import INDEX, AuditOptions
from edgecv.drift.labeling import (
    LABELS,
    NONE,
    accuracy,
    read_audit,
    recalibrated,
    weighted_accuracy,
)
from edgecv.drift.reservoir import Reservoir
from edgecv.errors import InputError

NAMES = ("red", "green", "blue")
FRAME = np.zeros((8, 8, 3), np.uint8)
SURE, UNSURE = np.float32([0.9, 0.05, 0.05]), np.float32([0.4, 0.3, 0.3])


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for the disk after each of thousands of pictures."""
    for module in ("audit", "audit_index"):
        monkeypatch.setattr(f"edgecv.drift.{module}.write_atomically", Path.write_bytes)


def sampler(folder: Path, **options: Any) -> AuditSampler:
    return AuditSampler(folder, NAMES, IDENTITY, AuditOptions(**options))


def test_a_reservoir_keeps_its_size_and_says_the_chance(tmp_path: Path) -> None:
    audit = sampler(tmp_path / "a", by_chance=5, unsure=2)
    for number in range(100):
        audit.offer(UNSURE if number % 4 == 0 else SURE, FRAME, float(number))
    audit.save()
    found = read_audit(tmp_path / "a")
    chances = {f.stratum: f.inclusion for f in found.frames}
    assert chances == {"chance": pytest.approx(5 / 75), "unsure": pytest.approx(2 / 25)}
    assert sorted(p.name for p in (tmp_path / "a").glob("*.png")) == sorted(
        f.file for f in found.frames
    )
    assert len(found.frames) == 7


def test_every_frame_has_the_same_chance() -> None:
    kept = np.zeros(20)
    for seed in range(600):
        reservoir = Reservoir(4, np.random.default_rng(seed))
        held: list[Any] = []
        for number in range(20):
            at = reservoir.place()
            if at is None:
                continue
            held[at : at + 1] = [number]
            reservoir.kept = held
        kept[held] += 1
    assert kept.sum() == 2400
    # binomial(600, 0.2): deviation 9.8
    assert np.abs(kept - 120).max() < 4 * 9.8


def test_the_index_on_disk_is_never_far_behind(tmp_path: Path) -> None:
    audit = sampler(tmp_path / "a", by_chance=3, unsure=0)
    for number in range(200):
        audit.offer(SURE, FRAME, float(number))
        found = read_audit(tmp_path / "a")
        assert found.frames[0].inclusion == pytest.approx(min(1, 3 / (number + 1)), rel=0.021)
        assert all((tmp_path / "a" / frame.file).exists() for frame in found.frames)


def test_under_a_cap_fewer_are_kept_and_the_chances_stay_true(tmp_path: Path) -> None:
    # noise of 40 x 40 takes 5 kB: some six fit, and any of the 50 is equally often among them
    seen = np.zeros(50)
    for seed in range(150):
        folder = tmp_path / str(seed)
        audit = sampler(folder, by_chance=100, unsure=0, most_bytes=32_000, seed=seed)
        for number in range(50):
            rng = np.random.default_rng(number)
            audit.offer(SURE, rng.integers(0, 255, (40, 40, 3)).astype(np.uint8), float(number))
            assert sum(p.stat().st_size for p in folder.glob("*.png")) <= 32_000 + 5_000
        audit.save()
        assert not audit.full
        assert sum(p.stat().st_size for p in folder.glob("*.png")) <= 32_000
        rows = json.loads((folder / INDEX).read_text())["frames"]
        assert 4 <= len(rows) <= 6
        assert {row["inclusion"] for row in rows} == {len(rows) / 50}
        seen[[int(row["at_s"]) for row in rows]] += 1
    share = seen.sum() / seen.size
    deviation = np.sqrt(share * (1 - share / 150))
    assert np.abs(seen - share).max() < 4 * deviation
    # early and late ones alike
    assert seen[:25].sum() == pytest.approx(seen[25:].sum(), abs=4 * deviation * 5)


def test_a_cap_that_no_frame_fits_under_keeps_nothing(tmp_path: Path) -> None:
    audit = sampler(tmp_path / "a", by_chance=5, most_bytes=10)
    assert [audit.offer(SURE, FRAME, 0.0) for _ in range(3)] == [False] * 3
    assert audit.full
    assert read_audit(tmp_path / "a").frames == ()
    assert list((tmp_path / "a").glob("*.png")) == []


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds something that is no audit \('mine\.txt'\)"):
        sampler(tmp_path)


def test_scores_that_are_none_are_not_kept(tmp_path: Path) -> None:
    assert not sampler(tmp_path / "a").offer(np.float32([np.nan, 0, 0]), FRAME, 0.0)


def test_weights_by_hand() -> None:
    # weights 10, 10, 2, 2: (10 + 2 + 2) / 24; effective (24 ** 2) / 208
    found = weighted_accuracy([True, False, True, True], [0.1, 0.1, 0.5, 0.5])
    assert found.value == pytest.approx(14 / 24)
    even = weighted_accuracy([True, False, True, True], [0.5] * 4)
    assert even.value == 0.75
    assert found.high - found.low > even.high - even.low


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.001, 1.0)), min_size=1, max_size=60))
def test_weighted_accuracy_is_a_share_in_its_interval(rows: list[tuple[bool, float]]) -> None:
    found = weighted_accuracy([r for r, _ in rows], [p for _, p in rows])
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 1e-9


def test_inverse_probabilities_undo_the_choice_of_unsure_frames(tmp_path: Path) -> None:
    # sure frames are right 95 % of the time, unsure ones 40 %, nine to one: 89.5 % in all
    found, plain = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        audit = sampler(tmp_path / str(seed), by_chance=60, unsure=40, seed=seed)
        truth = {}
        for number in range(600):
            unsure = rng.random() < 0.1
            truth[number] = rng.random() < (0.4 if unsure else 0.95)
            audit.offer(UNSURE if unsure else SURE, FRAME, float(number))
        audit.save()
        folder = tmp_path / str(seed)
        rows = json.loads((folder / INDEX).read_text())["frames"]
        given_labels = {
            row["file"]: NAMES[row["answer"]] if truth[int(row["at_s"])] else NONE for row in rows
        }
        (folder / LABELS).write_text(json.dumps(given_labels))
        found.append(accuracy(read_audit(folder)).value)
        plain.append(np.mean([truth[int(row["at_s"])] for row in rows]))
    assert np.mean(found) == pytest.approx(0.895, abs=0.025)
    assert np.mean(plain) < 0.82


def audited(folder: Path, right: float) -> Path:
    """Frames of the toy stream with labels that make the model right in a share of cases."""
    rng = np.random.default_rng(1)
    audit = sampler(folder, by_chance=80, unsure=0, seed=2)
    for number, frame in enumerate(pictures(150, 3)[0]):
        audit.offer(scores(frame), frame, float(number))
    audit.save()
    labels = {}
    for frame in read_audit(folder).frames:
        labels[frame.file] = NAMES[frame.answer] if rng.random() < right else NONE
    (folder / LABELS).write_text(json.dumps(labels))
    return folder


def test_labels_move_the_estimate_and_few_move_it_little(tmp_path: Path) -> None:
    folder = audited(tmp_path / "a", 0.5)
    corrected = recalibrated(profile(), read_audit(folder))
    audit = corrected.audit
    assert audit is not None
    assert audit.frames == 80
    assert audit.estimated > audit.top1
    # 80 labels against a prior of 100
    assert audit.shift == pytest.approx(80 / 180 * (audit.top1 - audit.estimated))


def test_labels_of_another_model_or_too_few_are_refused(tmp_path: Path) -> None:
    folder = audited(tmp_path / "a", 0.9)
    with pytest.raises(InputError, match="another model"):
        recalibrated(replace(profile(), identity="sha256:" + "6" * 64), read_audit(folder))
    few = dict(list(json.loads((folder / LABELS).read_text()).items())[:10])
    (folder / LABELS).write_text(json.dumps(few))
    with pytest.raises(InputError, match="10 labels are too few"):
        recalibrated(profile(), read_audit(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other/1.0"},
        {"labels": []},
        {"frames": [{}]},
        {"frames": {}},
        {"frames": [{"file": "../x.png"}]},
        {"frames": [{"file": "0000001.png", "answer": 9, "probabilities": [[0, 1]], "at_s": 0, "stratum": "chance"}]},
        {"frames": [{"file": "0000001.png", "answer": 0, "probabilities": [[7, 1]], "at_s": 0, "stratum": "chance"}]},
        {"frames": [{"file": "0000001.png", "answer": 0, "probabilities": [[0, 1]], "at_s": 0, "stratum": "x"}]},
        {"frames": [{"file": "../01.png", "answer": 0, "probabilities": [[0, 1]], "at_s": 0, "stratum": "chance"}]},
        {"frames": 2 * [
            {"file": "0000001.png", "answer": 0, "probabilities": [[0, 1]], "at_s": 0, "stratum": "chance"}
        ]},
        {"offered": {"chance": 0, "unsure": 0}},
        {"offered": {"chance": -1, "unsure": 0}},
        {"sampling": {}},
        {"sampling": {"asked": {"by_chance": 1e99}}},
    ],
)  # fmt: skip
def test_a_damaged_index_is_one_error(tmp_path: Path, change: dict[str, Any]) -> None:
    audit = sampler(tmp_path / "a")
    audit.offer(SURE, FRAME, 0.0)
    index = tmp_path / "a" / INDEX
    index.write_text(json.dumps({**json.loads(index.read_text()), **change}))
    with pytest.raises(InputError):
        read_audit(tmp_path / "a")
    del audit
    with pytest.raises(InputError):
        sampler(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 5000])
def test_an_index_that_is_no_json_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(InputError, match=r"audit\.json"):
        read_audit(tmp_path)
    with pytest.raises(InputError, match=r"audit\.json"):
        sampler(tmp_path)
