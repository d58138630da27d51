"""A camera goes on after people labeled: old labels stand for old frames, and the interval leaves room for the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drift_parts import IDENTITY, profile
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.drift import AuditSampler
from edgecv.drift.audit import INDEX, AuditOptions
from edgecv.drift.audit_index import Row, Stratum
from edgecv.drift.labeling import (
    LABELS,
    NONE,
    Audited,
    Frame,
    _frame,
    accuracy,
    read_audit,
    recalibrated,
    unlabeled_share,
    weighted_accuracy,
)
from edgecv.drift.periods import Mark, parts, with_mark
from edgecv.drift.reservoir import Reservoir
from edgecv.errors import InputError

NAMES = ("red", "green", "blue")
FRAME = np.zeros((8, 8, 3), np.uint8)
SURE, UNSURE = np.float32([0.9, 0.05, 0.05]), np.float32([0.4, 0.3, 0.3])


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("audit", "audit_index", "labeling"):
        monkeypatch.setattr(f"edgecv.drift.{module}.write_atomically", Path.write_bytes)


class Field:
    """A folder, and of each of its pictures whether the model is right."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.options = folder, AuditOptions(**{"unsure": 0, **options})
        self.right: dict[str, bool] = {}

    def run(self, count: int, *, right: bool, scores: Any = SURE) -> None:
        with AuditSampler(self.folder, NAMES, IDENTITY, self.options) as audit:
            for _ in range(count):
                if audit.offer(scores, FRAME, 0.0):
                    self.right[f"{audit._number:07d}.png"] = right

    def label(self, count: int | None = None) -> Audited:
        audited = read_audit(self.folder)
        for frame in audited.waiting[:count]:
            audited = audited.label(frame.file, "red" if self.right[frame.file] else NONE)
        assert read_audit(self.folder).marks == audited.marks
        return read_audit(self.folder)


def test_labels_of_the_first_days_say_nothing_of_the_later_ones(tmp_path: Path) -> None:
    field = Field(tmp_path / "a", by_chance=100)
    field.run(500, right=True)
    assert accuracy(field.label()).low > 0.95
    field.run(2000, right=False)
    # no label of the later four fifths: they may be all wrong, or all right
    old = read_audit(tmp_path / "a")
    assert unlabeled_share(old) == pytest.approx(0.8)
    assert accuracy(old).low < 0.2
    assert accuracy(old).high == 1.0
    part = field.label(25)
    assert unlabeled_share(part) == 0
    assert accuracy(part).value == pytest.approx(0.2)
    assert accuracy(part).low < 0.2 < accuracy(part).high < 0.45
    # all kept ones are a random sample of all: nothing is gained by dividing
    whole = field.label()
    assert accuracy(whole) == weighted_accuracy(
        [field.right[f.file] for f in whole.frames], [f.inclusion for f in whole.frames]
    )


def test_an_estimate_is_corrected_by_all_periods(tmp_path: Path) -> None:
    field = Field(tmp_path / "a", by_chance=100)
    field.run(500, right=True)
    field.label()
    field.run(2000, right=False)
    corrected = recalibrated(profile(), field.label(25))
    assert corrected.audit is not None
    assert corrected.audit.top1 == pytest.approx(0.2)


def simulated(
    seed: int, sessions: tuple[tuple[int, float, int | None], ...], places: int = 100
) -> tuple[Audited, float]:
    """Without the disk: (frames that come, share right among sure ones, labels given then); with the truth."""
    rng = np.random.default_rng(seed)
    reservoirs = {"chance": Reservoir(places, rng), "unsure": Reservoir(places // 2, rng)}
    right: list[bool] = []
    audited = Audited(Path(), IDENTITY, ("good", "bad"), (), {}, {})
    for count, share, labels in sessions:
        for _ in range(count):
            name = "unsure" if rng.random() < 0.1 else "chance"
            right.append(bool(rng.random() < (0.5 * share if name == "unsure" else share)))
            reservoir = reservoirs[name]
            at = reservoir.place()
            if at is not None:
                # the number of a picture: any that rises
                row = Frame(f"{len(right):07d}.png", 0, np.zeros(2), 0.5, name)
                reservoir.kept[at : at + 1] = [row]
        offered = {name: r.offered for name, r in reservoirs.items()}
        frames = tuple(f for r in reservoirs.values() for f in r.kept)
        names = {f.file for f in frames}
        kept = {file: name for file, name in audited.given.items() if file in names}
        audited = replace(audited, frames=frames, offered=offered, number=len(right), given=kept)
        new = {f.file: "good" if right[f.number - 1] else "bad" for f in audited.waiting[:labels]}
        if new:
            marks = with_mark(audited.marks, Mark(audited.number, offered))
            audited = replace(audited, given={**audited.given, **new}, marks=marks)
    return audited, float(np.mean(right))


@pytest.mark.parametrize(
    ("sessions", "width"),
    [
        (((600, 0.95, None), (1400, 0.5, 0)), 0.8),
        (((600, 0.95, None), (1400, 0.5, 30)), 0.32),
        (((600, 0.95, None), (1400, 0.5, None)), 0.18),
        (((600, 0.95, 60), (1400, 0.5, 30)), 0.32),
        (((600, 0.95, 60), (400, 0.5, 0), (1000, 0.8, 40)), 0.35),
        (((600, 0.5, 40), (60, 0.95, 5), (1000, 0.95, 20), (400, 0.4, 40)), 0.4),
        # a camera that runs while somebody labels: a tenth more while every other frame gets its label
        (((1000, 0.95, 1), *[(2, 0.3, 1)] * 60), 0.25),
        (((1000, 0.9, 1), *[(10, 0.3, 1)] * 60), 0.4),
    ],
    ids=["all, none", "all, part", "all, all", "parts", "three", "four", "beside", "beside, long"],
)  # fmt: skip
def test_the_interval_holds_the_truth_as_often_as_it_says(
    sessions: tuple[tuple[int, float, int | None], ...], width: float
) -> None:
    runs, held, wide, bias = 300, 0, 0.0, 0.0
    for seed in range(runs):
        audited, truth = simulated(seed, sessions)
        found = accuracy(audited)
        held += found.low <= truth <= found.high
        wide += found.high - found.low
        bias += found.value - truth
    assert held / runs >= 0.93
    assert wide / runs < width
    if sessions[-1][-1] != 0:
        assert abs(bias / runs) < 0.025


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 400),
    places=st.integers(2, 40),
    labels=st.integers(1, 60),
    seed=st.integers(0, 50),
)
def test_without_growth_nothing_changes(count: int, places: int, labels: int, seed: int) -> None:
    audited, _ = simulated(seed, ((count, 0.8, labels),), places)
    assert audited.marks
    frames = audited.labeled
    share = {
        name: sum(f.stratum == name for f in frames) / max(1, offered)
        for name, offered in audited.offered.items()
    }
    plain = weighted_accuracy(
        [audited.given[f.file] == "good" for f in frames], [share[f.stratum] for f in frames]
    )
    room = sum(n for name, n in audited.offered.items() if not share[name]) / count
    found = accuracy(audited)
    assert found == accuracy(replace(audited, marks=()))
    assert found.value == pytest.approx(plain.value)
    assert found.low == pytest.approx((1 - room) * plain.low)
    assert found.high == pytest.approx((1 - room) * plain.high + room)


@settings(max_examples=60, deadline=None)
@given(
    frames=st.dictionaries(st.integers(1, 60), st.booleans(), max_size=30),
    bounds=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 300)), max_size=5),
    offered=st.integers(0, 200),
    lost=st.integers(0, 50),
)
def test_whatever_the_marks_say_every_label_counts_once(
    frames: dict[int, bool], bounds: list[tuple[int, int]], offered: int, lost: int
) -> None:
    found = parts(frames, bounds, offered, lost)
    labeled = [number for part in found for number in part.labeled]
    assert sorted(labeled) == sorted(number for number, given_ in frames.items() if given_)
    assert all(
        len(part.labeled) <= part.kept <= part.offered or part.offered == lost for part in found
    )
    assert sum(part.kept for part in found) == len(frames)


def test_labels_of_earlier_versions_are_read(tmp_path: Path) -> None:
    field = Field(tmp_path / "a", by_chance=9)
    field.run(20, right=True)
    files = [f.file for f in read_audit(tmp_path / "a").frames]
    (tmp_path / "a" / LABELS).write_text(json.dumps(dict.fromkeys(files[:4], "red")))
    audited = read_audit(tmp_path / "a")
    assert (len(audited.given), audited.marks) == (4, ())
    assert len(audited.label(files[5], "blue").given) == 5
    document = json.loads((tmp_path / "a" / LABELS).read_text())
    assert document["schema"] == "edgecv.labels/1.0"
    assert document["marks"] == [{"number": audited.number, "offered": {"chance": 20, "unsure": 0}}]
    assert len(document["labels"]) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"marks": None},
        {"marks": {}},
        {"marks": [5]},
        {"marks": [{"number": 5}]},
        {"marks": [{"number": -5, "offered": {"chance": 1, "unsure": 1}}]},
        {"marks": [{"number": 5, "offered": {"chance": 1}}]},
        {"marks": [{"number": 5, "offered": {"chance": 1e3, "unsure": 0}}]},
        {"labels": None},
        {"labels": {"0000001.png": 7}},
        {"schema": "edgecv.labels/9.0"},
    ],
)  # fmt: skip
def test_damaged_labels_are_one_error(change: dict[str, Any], tmp_path: Path) -> None:
    field = Field(tmp_path / "a", by_chance=9)
    field.run(20, right=True)
    field.label(3)
    path = tmp_path / "a" / LABELS
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"labels\.json"):
        read_audit(tmp_path / "a")


def test_an_audit_of_which_nothing_fitted_begins_anew_with_more_bytes(tmp_path: Path) -> None:
    with AuditSampler(tmp_path / "a", NAMES, IDENTITY, AuditOptions(most_bytes=10)) as audit:
        audit.offer(SURE, FRAME, 0.0)
        assert audit.full
    field = Field(tmp_path / "a", unsure=100)
    field.run(49, right=True)
    audited = field.label()
    assert audited.offered == {"chance": 50, "unsure": 0}
    assert unlabeled_share(audited) == pytest.approx(1 / 50)
    assert accuracy(audited).low < accuracy(replace(audited, lost={})).low
    # the next start does not count it twice
    field.run(50, right=True)
    assert read_audit(tmp_path / "a").offered == {"chance": 100, "unsure": 0}
    assert read_audit(tmp_path / "a").lost == {"chance": 1, "unsure": 0}


@pytest.mark.parametrize("why", ["shrunk to nothing", "removed by somebody"])
def test_a_stratum_that_kept_nothing_is_not_forgotten(why: str, tmp_path: Path) -> None:
    """Else the frames of which the model was unsure would be missing, and the accuracy too good."""
    field = Field(tmp_path / "a", by_chance=20, unsure=10)
    field.run(100, right=True)
    field.run(100, right=False, scores=UNSURE)
    path = tmp_path / "a" / INDEX
    index = json.loads(path.read_text())
    if why == "shrunk to nothing":
        index["frames"] = [row for row in index["frames"] if row["stratum"] == "chance"]
        index["sampling"]["size"]["unsure"] = 0
        path.write_text(json.dumps(index))
    else:
        for row in index["frames"]:
            if row["stratum"] == "unsure":
                (tmp_path / "a" / row["file"]).unlink()
    field.run(0, right=True)
    audited = field.label()
    assert audited.offered == {"chance": 100, "unsure": 100}
    found = accuracy(audited)
    assert found.low < 0.5 < found.high
    # frames that come now are kept, and stand for themselves alone
    field.run(50, right=False, scores=UNSURE)
    audited = field.label()
    assert sum(f.stratum == "unsure" for f in audited.frames) == 10
    assert unlabeled_share(audited) == pytest.approx(100 / 250)


def test_an_index_without_lost_frames_is_read(tmp_path: Path) -> None:
    field = Field(tmp_path / "a", by_chance=9)
    field.run(20, right=True)
    path = tmp_path / "a" / INDEX
    index = json.loads(path.read_text())
    del index["sampling"]["lost"]
    path.write_text(json.dumps(index))
    field.run(5, right=True)
    assert read_audit(tmp_path / "a").lost == {"chance": 0, "unsure": 0}


def test_a_first_start_that_failed_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"names 0 classes.*--labels FILE"):
        AuditSampler(tmp_path / "a", (), IDENTITY)
    assert not (tmp_path / "a").exists()
    # another model and other options, as long as no frame was offered
    with AuditSampler(tmp_path / "a", ("x", "y"), "sha256:" + "7" * 64, AuditOptions(by_chance=3)):
        pass
    Field(tmp_path / "a").run(5, right=True)
    assert read_audit(tmp_path / "a").labels == NAMES


def test_what_the_index_cuts_off_is_spread_evenly() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1.0, 1000)
    true = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-true)[:50]
    scores = tuple((int(i), float(f"{true[i]:.4g}")) for i in order)
    assert sum(value for _, value in scores) < 0.5
    read = _frame(Row("0000001.png", int(order[0]), scores, 0.0, "chance"), Stratum(1, 1), 1000)
    found = read.probabilities
    assert found.sum() == pytest.approx(1)
    assert found.max() == pytest.approx(true.max(), rel=1e-3)
    assert found.min() > 0

    def entropy(p: Any) -> float:
        return float(-(p * np.log(p)).sum())

    assert entropy(found) == pytest.approx(entropy(true), rel=0.05)


def test_scores_that_are_no_softmax_stay_below_the_smallest_that_is_told() -> None:
    for value, expected in ((0.9, 0.0), (0.001, 0.001)):
        scores = tuple((i, value) for i in range(50))
        found = _frame(Row("0000001.png", 0, scores, 0.0, "chance"), Stratum(1, 1), 60)
        assert found.probabilities[55] == expected
