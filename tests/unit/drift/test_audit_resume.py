"""An audit goes on after a restart as if there had been none, and refuses what it cannot go on with."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drift_parts import IDENTITY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecv.drift import AuditSampler
from edgecv.drift.audit import INDEX, AuditOptions
from edgecv.drift.labeling import LABELS, NONE, Audited, Frame, accuracy, read_audit
from edgecv.errors import InputError

NAMES = ("red", "green", "blue")
FRAME = np.zeros((8, 8, 3), np.uint8)
SURE, UNSURE = np.float32([0.9, 0.05, 0.05]), np.float32([0.4, 0.3, 0.3])


def slow_disk(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("audit", "audit_index", "labeling"):
        monkeypatch.setattr(f"edgecv.drift.{module}.write_atomically", slow_disk)


def sampler(folder: Path, identity: str = IDENTITY, **options: Any) -> AuditSampler:
    return AuditSampler(folder, NAMES, identity, AuditOptions(**options))


def offer(audit: AuditSampler, numbers: range) -> None:
    for number in numbers:
        audit.offer(UNSURE if number % 3 == 0 else SURE, FRAME, float(number))


def index_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / INDEX).read_text())
    return found


def in_order(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    total=st.integers(1, 150),
    stops=st.sets(st.integers(0, 150), max_size=4),
    size=st.integers(1, 12),
    unsure=st.integers(0, 5),
    seed=st.integers(0, 5),
)
def test_stopped_and_begun_again_is_the_same_drawing(
    tmp_path_factory: pytest.TempPathFactory,
    total: int,
    stops: set[int],
    size: int,
    unsure: int,
    seed: int,
) -> None:
    place = tmp_path_factory.mktemp("audits")
    options = {"by_chance": size, "unsure": unsure, "seed": seed}
    with sampler(place / "once", **options) as audit:
        offer(audit, range(total))
    marks = [0, *sorted(min(stop, total) for stop in stops), total]
    for begin, end in pairwise(marks):
        # a seed of the later runs changes nothing: the drawing goes on
        with sampler(place / "often", **{**options, "seed": seed + begin}) as audit:
            offer(audit, range(begin, end))
    assert index_of(place / "often") == index_of(place / "once")
    assert in_order(place / "often") == in_order(place / "once")


def test_killed_at_any_moment_every_frame_has_the_chance_that_the_index_says(
    tmp_path: Path,
) -> None:
    """What a kill loses is what came after the index: the rest is a random sample of what was offered."""
    length, places, bins = 400, 6, 10
    kept, expected, gone = np.zeros(length), np.zeros(length), 0
    for seed in range(120):
        folder, rng = tmp_path / str(seed), np.random.default_rng([seed, 9])
        lost: list[int] = []
        begin = 0
        while begin < length:
            audit = sampler(folder, by_chance=places, unsure=0, seed=seed)
            end = min(length, begin + int(rng.integers(40, 150)))
            for number in range(begin, end):
                audit.offer(SURE, FRAME, float(number))
            del audit  # as kill -9 would: no index is written
            counted = index_of(folder)["offered"]["chance"]
            lost += range(counted + len(lost), end)
            begin = end
        index = index_of(folder)
        numbers = [int(row["at_s"]) for row in index["frames"]]
        assert not set(numbers) & set(lost)
        assert index["offered"]["chance"] == length - len(lost)
        kept[numbers] += 1
        chances = np.full(length, places / (length - len(lost)))
        chances[lost] = 0
        expected += chances
        gone += len(lost)
    assert gone > 120  # the test would say nothing if the index were always the newest
    difference = (kept - expected).reshape(bins, -1).sum(axis=1)
    assert np.abs(difference).max() < 4 * np.sqrt(expected.sum() / bins)


@pytest.mark.parametrize("moment", ["picture", "index", "first picture", "first index"])
def test_a_kill_between_picture_and_index_leaves_a_folder_that_goes_on(
    moment: str, tmp_path: Path
) -> None:
    script = f"""
import os, sys
from pathlib import Path
import numpy as np
import edgecv.drift.audit as audit, edgecv.drift.audit_index as index
from edgecv.artifact import write_atomically
calls = 0
def killing(path, data):
    global calls
    calls += 1
    kind, wait = {moment!r}.split()[-1], 0 if {moment!r}.startswith('first') else 20
    if calls > wait and (path.name == 'audit.json') == (kind == 'index'):
        # the moment before the name is there: a torn file lies beside it
        path.with_name(f'.{{path.name}}.0123abcd.tmp').write_bytes(data[:10])
        if kind == 'index' and {moment!r} == 'index':
            os._exit(9)
        if kind == 'picture':
            write_atomically(path, data)
        os._exit(9)
    write_atomically(path, data)
audit.write_atomically = index.write_atomically = killing
options = audit.AuditOptions(by_chance=4, unsure=2)
s = audit.AuditSampler(Path(sys.argv[1]), ('red', 'green', 'blue'), {IDENTITY!r}, options)
for n in range(60):
    s.offer(np.float32([.9, .05, .05]), np.zeros((8, 8, 3), np.uint8), float(n))
"""
    folder = tmp_path / "a"
    done = subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert done.returncode == 9
    assert any(p.name.endswith(".tmp") for p in folder.iterdir())
    with sampler(folder, by_chance=4, unsure=2) as audit:
        before = audit.offered
        offer(audit, range(100))
    index = index_of(folder)
    assert sum(index["offered"].values()) == before + 100
    assert in_order(folder) == {INDEX, *(row["file"] for row in index["frames"])}


def test_labels_stay_valid_and_pictures_keep_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with sampler(folder, by_chance=5, unsure=0) as audit:
        offer(audit, range(5))
    audited = read_audit(folder)
    for frame in audited.frames:
        audited = audited.label(frame.file, "red")
    with sampler(folder, by_chance=5, unsure=0) as audit:
        offer(audit, range(5, 40))
    later = read_audit(folder)
    stayed = {f.file for f in later.frames} & set(audited.given)
    assert dict(later.given) == dict.fromkeys(stayed, "red")
    # a number is never given again, so a label never comes to another picture
    new = {f.number for f in later.frames} - {f.number for f in audited.frames}
    assert min(new, default=6) > 5


def test_notes_of_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with sampler(folder, by_chance=2) as audit:
        offer(audit, range(5))
    mine = ("notes.txt", "photo.png", "12.png", ".labels.json.0123abcd.tmp", LABELS)
    for name in mine:
        (folder / name).write_text("{}")
    for orphan in ("0000099.png", ".0000100.png.0123abcd.tmp"):
        (folder / orphan).write_text("x")
    with sampler(folder, by_chance=2) as audit:
        offer(audit, range(5))
    assert set(mine) < in_order(folder)
    assert not {"0000099.png", ".0000100.png.0123abcd.tmp"} & in_order(folder)


def test_pictures_that_somebody_removed_are_not_missed(tmp_path: Path) -> None:
    folder = tmp_path / "full"
    with sampler(folder, by_chance=4, unsure=0) as audit:
        offer(audit, range(100, 200))
    (folder / index_of(folder)["frames"][0]["file"]).unlink()
    with sampler(folder, by_chance=4, unsure=0) as audit:
        assert audit.kept == 3
        offer(audit, range(200, 300))
    assert {f.inclusion for f in read_audit(folder).frames} == {3 / 200}
    folder = tmp_path / "filling"
    with sampler(folder, by_chance=9, unsure=0) as audit:
        offer(audit, range(4))
    (folder / index_of(folder)["frames"][0]["file"]).unlink()
    with sampler(folder, by_chance=9, unsure=0) as audit:
        assert (audit.kept, audit.offered) == (3, 3)
        offer(audit, range(6))
    assert {f.inclusion for f in read_audit(folder).frames} == {1.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: sampler(f, "sha256:" + "7" * 64), "another model's .sha256:5555"),
        (lambda f: AuditSampler(f, ("a", "b", "c"), IDENTITY), "another model's"),
        (lambda f: sampler(f, by_chance=300), "begun with by_chance=200, now 300"),
        (lambda f: sampler(f, confidence=0.25), "begun with confidence=0.5, now 0.25"),
    ],
)  # fmt: skip
def test_what_cannot_be_gone_on_with_is_refused(
    change: Callable[[Path], AuditSampler], said: str, tmp_path: Path
) -> None:
    with sampler(tmp_path / "a") as audit:
        offer(audit, range(5))
    before = (tmp_path / "a" / INDEX).read_bytes(), in_order(tmp_path / "a")
    with pytest.raises(InputError, match=said):
        change(tmp_path / "a")
    assert ((tmp_path / "a" / INDEX).read_bytes(), in_order(tmp_path / "a")) == before


@pytest.mark.parametrize(
    "generator",
    [
        {"state": "0x1", "inc": "0x2", "has_uint32": "0x0", "uinteger": "0x0"},
        {"state": "0x1", "inc": "0x3", "has_uint32": "0x7", "uinteger": "0x0"},
        {"state": "0x1", "inc": "0x3", "has_uint32": "0x0", "uinteger": "0xffffffffffff"},
        {"state": "0x" + "f" * 40, "inc": "0x3", "has_uint32": "0x0", "uinteger": "0x0"},
        {"state": 5},
        {"state": "0x1"},
        "0x1",
    ],
)  # fmt: skip
def test_a_damaged_state_of_the_drawing_is_one_error(generator: Any, tmp_path: Path) -> None:
    with sampler(tmp_path / "a", by_chance=2) as audit:
        offer(audit, range(9))
    index = index_of(tmp_path / "a")
    index["sampling"]["generator"] = generator
    (tmp_path / "a" / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match="damaged"):
        sampler(tmp_path / "a", by_chance=2)


def test_an_index_with_holes_in_it_is_refused(tmp_path: Path) -> None:
    with sampler(tmp_path / "a", by_chance=3, unsure=0) as audit:
        offer(audit, range(9))
    index = index_of(tmp_path / "a")
    del index["frames"][0]
    (tmp_path / "a" / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match="keeps 2 of 9 frames"):
        sampler(tmp_path / "a", by_chance=3, unsure=0)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with sampler(tmp_path / "a"), pytest.raises(InputError, match="another process fills"):
        sampler(tmp_path / "a")
    with sampler(tmp_path / "a"):
        pass


def test_a_file_or_a_closed_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be used"):
        sampler(tmp_path / "file")


def test_a_full_disk_costs_only_the_frames_of_that_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "a"
    audit = sampler(folder, by_chance=50, unsure=0)
    offer(audit, range(1, 3))
    with monkeypatch.context() as patch:
        patch.setattr("edgecv.drift.audit.write_atomically", full)
        for _ in range(7):
            with pytest.raises(OSError, match="No space left"):
                audit.offer(SURE, FRAME, 5.0)
    with monkeypatch.context() as patch:
        patch.setattr("edgecv.drift.audit_index.write_atomically", full)
        with pytest.raises(OSError, match="No space left"):
            audit.offer(SURE, FRAME, 6.0)
    audit.offer(SURE, FRAME, 7.0)
    audit.save()
    found = read_audit(folder)
    assert [f.inclusion for f in found.frames] == [1.0] * 4
    assert found.offered == {"chance": 4, "unsure": 0}
    assert {p.name for p in folder.glob("*.png")} == {f.file for f in found.frames}


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shape \[2\] for 3 classes"):
        sampler(tmp_path / "a").offer(SURE[:2], FRAME, 0.0)


def test_few_labels_of_the_whole_are_right_whatever_share_of_a_stratum_they_are(
    tmp_path: Path,
) -> None:
    """Sure frames are right, unsure ones wrong: with a tenth of the stream unsure, accuracy is 90 %."""
    with sampler(tmp_path / "a", by_chance=60, unsure=60) as audit:
        for number in range(1000):
            audit.offer(UNSURE if number % 10 == 0 else SURE, FRAME, float(number))
    audited = read_audit(tmp_path / "a")
    values = []
    for count, frame in enumerate(audited.waiting):
        name = "red" if frame.stratum == "chance" else NONE
        audited = audited.label(frame.file, name)
        if count >= 12:
            values.append(accuracy(audited).value)
    assert values == pytest.approx([0.9] * len(values))


def test_a_stratum_without_labels_may_hold_anything(tmp_path: Path) -> None:
    with sampler(tmp_path / "a", by_chance=60, unsure=60) as audit:
        for number in range(1000):
            audit.offer(UNSURE if number % 10 == 0 else SURE, FRAME, float(number))
    audited = read_audit(tmp_path / "a")
    for frame in audited.frames:
        if frame.stratum == "chance":
            audited = audited.label(frame.file, "red")
    found = accuracy(audited)
    assert found.low < 0.9 <= found.high
    assert found.high == 1.0


def test_the_order_of_questions_mixes_strata_and_times(tmp_path: Path) -> None:
    with sampler(tmp_path / "a", by_chance=60, unsure=30) as audit:
        offer(audit, range(300))
    audited = read_audit(tmp_path / "a")
    first = audited.waiting[:30]
    assert 3 <= sum(f.stratum == "unsure" for f in first) <= 18
    order = [frame.file for frame in audited.waiting]
    again = read_audit(tmp_path / "a").label(order[0], "red")
    assert [frame.file for frame in again.waiting] == order[1:]
    assert [frame.file for frame in again.label(order[0], None).waiting] == order


def test_labels_of_two_screens_come_together(tmp_path: Path) -> None:
    with sampler(tmp_path / "a", by_chance=9) as audit:
        offer(audit, range(1, 3))
    one, other = read_audit(tmp_path / "a"), read_audit(tmp_path / "a")
    first, second = (f.file for f in one.frames)
    one.label(first, "red")
    assert other.label(second, "blue").given == {first: "red", second: "blue"}
    assert read_audit(tmp_path / "a").given == {first: "red", second: "blue"}


@pytest.mark.parametrize("labeled", [150, 60], ids=["all labeled", "a part labeled"])
def test_the_interval_holds_the_streams_accuracy_as_often_as_it_says(labeled: int) -> None:
    """A tenth of the stream is unsure and right half of the time, the rest 95 %: without the disk, 600 times."""
    total, chance, unsure = 4000, 100, 50
    held, width = 0, 0.0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        is_unsure = rng.random(total) < 0.1
        right = rng.random(total) < np.where(is_unsure, 0.5, 0.95)
        frames = []
        for name, mask, size in (("chance", ~is_unsure, chance), ("unsure", is_unsure, unsure)):
            for number in rng.permutation(np.flatnonzero(mask))[:size].tolist():
                frames.append(
                    Frame(f"{number + 1:07d}.png", 0, np.zeros(2), size / mask.sum(), name)
                )
        offered = {"chance": int((~is_unsure).sum()), "unsure": int(is_unsure.sum())}
        audited = Audited(Path(), IDENTITY, ("good", "bad"), tuple(frames), {}, offered)
        given = {
            f.file: "good" if right[f.number - 1] else "bad" for f in audited.waiting[:labeled]
        }
        found = accuracy(replace(audited, given=given))
        held += found.low <= right.mean() <= found.high
        width += found.high - found.low
    # 95 % with a binomial error of 0.9 points; Kish's effective number errs toward too wide
    assert held / 600 > 0.93
    assert width / 600 < (0.13 if labeled == 150 else 0.2)
