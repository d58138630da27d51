"""Lines of JSON that survive a crash, with rotation and a bound; and the same as CSV."""

from __future__ import annotations

import csv
import datetime
import errno
import io
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from edgecv.camera.events import Event
from edgecv.camera.frame import Answer
from edgecv.camera.meters import STAGES
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.camera.pipeline import Pipeline

__all__ = ["Recorder", "RotatingFile", "read_records", "sample", "to_csv"]

#: Files that share the bound: the current one and the older ones, ``.1`` the newest of these.
_FILES: Final = 5
_EVERY_S: Final = 1.0
#: Fields of the statistics that go into a sample as they are.
_PLAIN: Final = (
    "seconds", "frames_in", "frames_out", "frames_dropped", "frames_damaged", "fps_in", "fps_out", "rss_bytes",
    "peak_rss_bytes", "cpu_percent", "frequency_hz", "temperature_c", "throttling", "pressure_percent",
)  # fmt: skip


class RotatingFile:
    """Appends lines; when a file is full it gets a number, and the oldest one goes.

    A line is one write to a file opened for appending, so a process that is killed leaves at most its
    last line torn; the next one begins on a line of its own.

    Args:
        path: The current file.
        most_bytes: Of all files together.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most = path, max(most_bytes // _FILES, 1024)
        self._handle = -1
        self._size = 0

    def append(self, line: str) -> None:
        """Write one line.

        Raises:
            OSError: It could not be written, e.g. for want of space; nothing of it is left.
        """
        data = line.encode() + b"\n"
        if self._handle < 0:
            self._open()
        if self._size and self._size + len(data) > self._most:
            self._rotate()
        written = os.write(self._handle, data)
        if written < len(data):
            os.ftruncate(self._handle, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def close(self) -> None:
        """Give the file back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(self._path, flags, 0o644)
        self._size = os.fstat(self._handle).st_size
        if self._size and os.pread(self._handle, 1, self._size - 1) != b"\n":
            self._size += os.write(self._handle, b"\n")

    def _rotate(self) -> None:
        self.close()
        # the oldest first: whenever this ends, no line is in two files and none is lost but the oldest
        for number in range(_FILES - 1, 0, -1):
            older = _numbered(self._path, number - 1)
            if older.exists():
                older.replace(_numbered(self._path, number))
        self._open()


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """All records of a log, oldest first; torn lines are left out.

    Raises:
        InputError: There is no such log.
    """
    files = [_numbered(path, number) for number in range(_FILES - 1, -1, -1)]
    present = [file for file in files if file.is_file()]
    if not present:
        raise InputError(f"there is no log '{path}'", cure="Name the file of --log.")
    for file in present:
        with file.open("rb") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record


def sample(stats: dict[str, Any]) -> dict[str, Any]:
    """One flat record of a pipeline's statistics; names have units, rates are fractions."""
    answer, truth = stats["answer"] or {}, stats["accuracy"] or {}
    paired, drift = stats["against_float"] or {}, stats["drift"] or {}
    estimate = drift.get("interval") or (None, None)
    return {
        "kind": "sample",
        "utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "source_state": stats["source"]["state"],
        **{name: stats[name] for name in _PLAIN},
        **{
            f"{stage}_{name}_ms": stats["latency_ms"][stage][name]
            for stage in STAGES
            for name in ("p50", "p90", "p99")
        },
        "label": answer.get("label"),
        "score": answer.get("score"),
        "true_top1": truth.get("value"),
        "true_top1_low": truth.get("low"),
        "true_top1_high": truth.get("high"),
        "true_top1_n": truth.get("n"),
        "recent_top1": (stats["accuracy_recent"] or {}).get("value"),
        "float_agreement": paired.get("agreement"),
        "float_delta": paired.get("delta"),
        "estimated_top1": drift.get("estimated_top1"),
        "estimated_top1_low": estimate[0],
        "estimated_top1_high": estimate[1],
    }


def to_csv(path: Path) -> Iterator[str]:
    """The samples of a log as lines of CSV, the first one with names.

    Raises:
        InputError: There is no such log.
    """
    names: list[str] = []
    for record in read_records(path):
        if record.pop("kind", None) == "sample":
            if not names:
                names = list(record)
                yield _csv_line(names)
            yield _csv_line([record.get(name) for name in names])


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


class Recorder:
    """Writes a sample per second and every event. A context manager; a sink that needs no answers.

    A disk that is full or gone is an event and no end; writing begins again when it can.

    Args:
        path: The current file.
        pipeline: What is recorded.
        most_bytes: Of all rotated files together.

    Raises:
        InputError: The file cannot be written at all.
    """

    def __init__(self, path: Path, pipeline: Pipeline, most_bytes: int) -> None:
        self._file, self._pipeline = RotatingFile(path, most_bytes), pipeline
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failing = False
        self.lost: int = 0
        try:
            self._file.append(
                json.dumps({"kind": "start", "utc": _now(), "model": _model(pipeline)})
            )
        except OSError as error:
            raise InputError(
                f"the log '{path}' cannot be written: {error.strerror}",
                cure="Choose another place.",
            ) from error
        self._thread = threading.Thread(target=self._run, name="edgecv-records", daemon=True)

    def __enter__(self) -> Self:
        self._pipeline.events.listen(self._event)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.write(sample(self._pipeline.stats()))
        with self._lock:
            self._file.close()

    def take(self, answer: Answer) -> None:
        """Samples are taken by the clock."""

    def write(self, record: dict[str, Any]) -> None:
        """Append a record, or count it as lost."""
        with self._lock:
            try:
                self._file.append(json.dumps(record, separators=(",", ":")))
                reason = ""
            except OSError as error:
                self.lost += 1
                self._file.close()
                reason = error.strerror or type(error).__name__
            changed = self._failing != bool(reason)
            self._failing = bool(reason)
        if changed:
            # outside the lock: the event comes back here as a record
            text = f"Records are lost: {reason}." if reason else f"Records again; {self.lost} lost."
            self._pipeline.events.add("record", text)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.write(sample(self._pipeline.stats()))

    def _event(self, event: Event) -> None:
        self.write({"kind": "event", "utc": event.utc, "about": event.kind, "text": event.text})


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _model(pipeline: Pipeline) -> dict[str, Any]:
    info = pipeline.runtime.info
    return {
        "file": info.path.name if info.path else None,
        "backend": info.backend,
        "backend_version": info.backend_version,
        "threads": info.threads,
        "executed_precision": info.precision,
    }
