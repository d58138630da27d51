"""Records: nothing is lost by a crash, a full disk or a rotation but what has to be."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from camera_parts import Collect, ListSource, shipped_runtime

from edgecv.camera import Pipeline, open_source
from edgecv.camera import records as records_module
from edgecv.camera.keep import Keeper
from edgecv.camera.records import Recorder, RotatingFile, read_records, sample, to_csv
from edgecv.errors import InputError


def test_rotation_keeps_the_newest_under_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = RotatingFile(path, 20_000)
    for number in range(5000):
        file.append(json.dumps({"n": number}))
    file.close()
    sizes = [entry.stat().st_size for entry in tmp_path.iterdir()]
    assert len(sizes) == 5
    assert sum(sizes) <= 20_000
    numbers = [record["n"] for record in read_records(path)]
    assert numbers == list(range(numbers[0], 5000))
    assert len(numbers) > 1000


def test_a_torn_last_line_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"n":1}\n{"n":2')
    file = RotatingFile(path, 10_000)
    file.append('{"n":3}')
    file.close()
    assert [record["n"] for record in read_records(path)] == [1, 3]


_WRITER = """
import json, sys
from pathlib import Path
from edgecv.camera.records import RotatingFile
file = RotatingFile(Path(sys.argv[1]), 30_000)
for number in range(int(sys.argv[2]), 10**9):
    file.append(json.dumps({"n": number, "text": "x" * 50}))
    if number % 100 == 0:
        print(number, flush=True)
"""


def test_a_kill_at_any_moment_loses_no_line_that_was_written(tmp_path: Path) -> None:
    path, first = tmp_path / "log", 0
    for round_ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(first)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        said = 0
        for line in process.stdout:
            said = int(line)
            if said >= first + 1500 + 137 * round_:
                process.send_signal(signal.SIGKILL)
                break
        rest = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        said = max([said, *map(int, rest)])
        numbers = [record["n"] for record in read_records(path)]
        assert numbers[-1] >= said
        # whole, but for what rotation took from the front
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert len(numbers) > 200
        first = numbers[-1] + 1
    assert sum(entry.stat().st_size for entry in tmp_path.iterdir()) <= 30_000


def test_a_disk_that_is_full_from_the_start_says_so() -> None:
    with shipped_runtime() as runtime, pytest.raises(InputError, match="No space left"):
        Recorder(Path("/dev/full"), Pipeline(ListSource([1]), runtime), 10_000)


def test_a_full_disk_is_an_event_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = os.write, [False]

    def writing(handle: int, data: bytes) -> int:
        if full[0] and data.startswith(b'{"kind"'):
            return write(handle, data[:7])  # what a disk does that fills up within a line
        return write(handle, data)

    with shipped_runtime() as runtime:
        pipeline = Pipeline(open_source("synth:?rate=0"), runtime)
        monkeypatch.setattr(records_module.os, "write", writing)
        with Recorder(tmp_path / "log", pipeline, 100_000) as recorder:
            recorder.write({"kind": "one"})
            full[0] = True
            for _ in range(3):
                recorder.write({"kind": "lost"})
            summary = pipeline.run(frames=20)
            full[0] = False
            recorder.write({"kind": "two"})
    assert summary["frames_out"] == 20
    assert recorder.lost >= 3
    told = [event.text for event in pipeline.events.since(0) if event.kind == "record"]
    assert told[0] == f"Records are lost: {os.strerror(errno.ENOSPC)}."
    assert told[1].startswith("Records again; ")
    assert len(told) == 2
    lines = (tmp_path / "log").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]  # no torn line among them
    assert kinds[:2] == ["start", "one"]
    assert "two" in kinds
    assert "lost" not in kinds


def test_csv_has_the_samples_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with shipped_runtime() as runtime:
        pipeline = Pipeline(open_source("synth:?rate=0", runtime.info.labels), runtime)
        with Recorder(path, pipeline, 10**6) as recorder:
            pipeline.run(frames=10)
            recorder.write(sample(pipeline.stats()))
    rows = list(csv.DictReader(to_csv(path)))
    assert len(rows) == 2
    assert rows[-1]["frames_out"] == "10"
    assert rows[-1]["source_state"] == "live"
    assert 0 < float(rows[-1]["glass_p99_ms"]) < 1000
    assert all(None not in row for row in rows)
    with pytest.raises(InputError, match="no log"):
        list(to_csv(tmp_path / "none"))


class Alarming:
    """A monitor that alarms for a while."""

    def __init__(self, first: int, last: int) -> None:
        self._count, self._first, self._last = 0, first, last

    def observe(self, *_: Any) -> object:
        self._count += 1
        return self

    @property
    def state(self) -> dict[str, Any]:
        return {"alarms": ["blur"] if self._first <= self._count < self._last else []}


def kept(folder: Path, why: str) -> list[Path]:
    return sorted(folder.glob(f"edgecv-*-{why}-*.jpg"))


def run_with_keeper(
    folder: Path, uri: str, *, below: float, most: int = 10**7, **monitor: Any
) -> Pipeline:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(open_source(uri), runtime, **monitor)
        pipeline.add(Keeper(folder, pipeline, below=below, most_bytes=most))
        pipeline.run(frames=60)
        return pipeline


def test_nothing_is_kept_of_what_is_certain(tmp_path: Path) -> None:
    run_with_keeper(tmp_path / "kept", "synth:?rate=0", below=0.0)
    assert list((tmp_path / "kept").iterdir()) == []


def test_uncertain_answers_are_kept_at_most_one_per_second(tmp_path: Path) -> None:
    run_with_keeper(tmp_path, "synth:?rate=0", below=1.0)
    assert len(kept(tmp_path, "uncertain")) == 1


def test_an_alarm_keeps_what_was_before_and_what_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecv.camera.keep._CLIP_NS", 0)
    run_with_keeper(tmp_path, "synth:?rate=0", below=0.0, monitor=Alarming(30, 40))
    numbers = [int(path.name.split("-")[2]) for path in kept(tmp_path, "drift")]
    assert numbers == list(range(13, 45))


def test_the_folder_stays_under_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.camera.keep._UNCERTAIN_NS", 0)
    run_with_keeper(tmp_path, "synth:?rate=0", below=1.0, most=100_000)
    files = kept(tmp_path, "uncertain")
    assert sum(path.stat().st_size for path in files) <= 100_000
    numbers = [int(path.name.split("-")[2]) for path in files]
    assert numbers == list(range(60 - len(files), 60))
    assert 2 <= len(files) < 60
    # a later run counts what is there
    run_with_keeper(tmp_path, "synth:?rate=0&seed=2", below=1.0, most=100_000)
    assert sum(path.stat().st_size for path in kept(tmp_path, "uncertain")) <= 100_000


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    torn = tmp_path / ".edgecv-20260101T000000-000000001-drift-zero-0.90.jpg.part"
    torn.write_bytes(b"half a picture")
    run_with_keeper(tmp_path, "synth:?rate=0", below=1.0)
    assert [path.name.startswith("edgecv-") for path in tmp_path.iterdir()] == [True]


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds 'holiday.jpg', which is not ours"):
        run_with_keeper(tmp_path, "synth:?rate=0", below=1.0)
    assert (tmp_path / "holiday.jpg").exists()


def test_a_folder_that_goes_away_is_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecv.camera.keep._UNCERTAIN_NS", 0)
    folder = tmp_path / "kept"

    class Remover(Collect):
        def take(self, answer: Any) -> None:
            super().take(answer)
            if len(self.answers) == 20:
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()

    with shipped_runtime() as runtime:
        pipeline = Pipeline(open_source("synth:?rate=0"), runtime, sinks=[Remover()])
        pipeline.add(Keeper(folder, pipeline, below=1.0, most_bytes=10**7))
        summary = pipeline.run(frames=40)
    assert summary["frames_out"] == 40
    told = [event.text for event in pipeline.events.since(0) if event.kind == "record"]
    assert told == ["Pictures are not kept: No such file or directory."]


def test_events_are_written_when_they_happen(tmp_path: Path) -> None:
    with shipped_runtime() as runtime:
        pipeline = Pipeline(ListSource([1]), runtime)
        with Recorder(tmp_path / "log", pipeline, 10**6):
            pipeline.events.add("test", "now")
            deadline = time.monotonic() + 5
            while not any(r.get("text") == "now" for r in read_records(tmp_path / "log")):
                assert time.monotonic() < deadline
