"""What only a board can prove: speed, memory, heat, camera. One record that its owner can hand on."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgecv.bench import BenchOptions, BenchResult, Cell, run_cells
from edgecv.bench.record import build
from edgecv.board import system
from edgecv.board.conditions import throttling
from edgecv.board.probe import Fact, Machine
from edgecv.board.report import report
from edgecv.preprocess import Pixels
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, load_bundle
from edgecv.selftest.frame import grab_frame
from edgecv.selftest.run import ENGINES, SelftestReport, kind_of, run_selftest

__all__ = ["Claim", "Proof", "prove"]

SCHEMA: Final = "edgecv.proof/1.0"
#: A board of 512 MB shows less than that; one of 1 GB shows more.
_SMALL_BOARD_BYTES: Final = 600 * 10**6
#: Above this a processor that is not throttled yet soon will be (Raspberry Pi: soft limit 60 to 80).
_HOT_C: Final = 80.0


@dataclass(frozen=True)
class Claim:
    """One thing that edgecv says of boards.

    Attributes:
        name: ``"answers"``, ``"speed"``, ``"memory"``, ``"heat"`` or ``"camera"``.
        state: ``"shown"``, ``"not shown"`` (this machine cannot show it) or ``"failed"``.
        found: What was seen, or why it cannot be shown.
    """

    name: str
    state: str
    found: str


@dataclass(frozen=True)
class Proof:
    """The record.

    Attributes:
        claims: In a fixed order.
        selftest: Answers of every engine.
        records: Documents of the sustained measurement, one per engine, without single samples.
        board: The machine.
        created_utc: When.
    """

    claims: tuple[Claim, ...]
    selftest: SelftestReport
    records: tuple[dict[str, Any], ...]
    board: dict[str, Any]
    created_utc: str

    @property
    def failed(self) -> tuple[Claim, ...]:
        """Claims that this machine contradicts."""
        return tuple(claim for claim in self.claims if claim.state == "failed")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "created_utc": self.created_utc,
            "claims": [asdict(claim) for claim in self.claims],
            "engines": [asdict(engine) for engine in self.selftest.engines],
            "environment": self.selftest.environment,
            "bench": list(self.records),
            "board": self.board,
        }

    def to_text(self) -> str:
        """A line per claim."""
        width = max(len(claim.state) for claim in self.claims)
        return "\n".join(
            f"{claim.state:<{width}}  {claim.name:<7}  {claim.found}" for claim in self.claims
        )


def prove(
    backends: Sequence[str] = ENGINES,
    *,
    seconds: float = 60.0,
    machine: Machine | None = None,
    grab: Callable[[Machine], Fact[Pixels]] = grab_frame,
    progress: Callable[[str], None] | None = None,
) -> Proof:
    """Run the self-test, then the shipped model for a while on every engine, then the camera.

    Args:
        backends: Engines; those that are not installed are left out.
        seconds: Of inference per engine: long enough for the processor to get warm.
        machine: Where the board's facts are read.
        grab: Takes a frame; another one in tests.
        progress: Called with a line now and then.

    Raises:
        EdgecvError: As :func:`edgecv.selftest.run_selftest`.
    """
    machine, say = machine or Machine(), progress or (lambda _: None)
    answers = run_selftest(backends, progress=say)
    present = [engine.backend for engine in answers.present if engine.p50_ms is not None]
    result: BenchResult | None = None
    records: tuple[dict[str, Any], ...] = ()
    camera = Claim("camera", "not shown", "no engine is installed")
    with tempfile.TemporaryDirectory(prefix="edgecv-proof-") as folder:
        load_bundle().unpack(Path(folder))
        paths = {name: Path(folder) / MODELS[kind_of(name)] for name in present}
        if present:
            options = BenchOptions(
                runs=10**9, max_seconds=seconds, blocks=max(8, round(seconds / 15)), stages=True,
                timeout_s=max(120.0, 4 * seconds),
            )  # fmt: skip
            cells = [Cell(name, path, name) for name, path in paths.items()]
            result = run_cells(cells, options, progress=say)
            records = tuple(_without_samples(build(result, r, options)) for r in result.records)
            say("taking a frame")
            camera = _camera(grab(machine), paths[present[0]], present[0])
    return Proof(
        (
            _answers(answers),
            *((_speed(result), _memory(result, machine), _heat(result)) if result else ()),
            camera,
        ),
        answers,
        records,
        report(machine).to_json(),
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _without_samples(document: dict[str, Any]) -> dict[str, Any]:
    """A minute has a hundred thousand samples; percentiles and blocks say what they say."""
    return {**document, "samples_ns": []}


def _answers(found: SelftestReport) -> Claim:
    if not found.present:
        return Claim("answers", "not shown", "no engine is installed")
    if found.failed:
        return Claim("answers", "failed", f"{found.failed[0].backend}: {found.failed[0].problem}")
    names = ", ".join(f"{e.backend} {e.version}" for e in found.present)
    return Claim("answers", "shown", f"right, with the recorded integers: {names}")


def _speed(result: BenchResult) -> Claim:
    told = ", ".join(
        f"{r.cell.name} p50 {r.p50.value:.3f} ms, p99 {r.p99.value:.3f} ms" for r in result.records
    )
    if not result.valid:
        return Claim("speed", "not shown", f"{told}; not to be trusted: {' '.join(result.reasons)}")
    runs = sum(len(block) for r in result.records for block in r.samples_ns)
    return Claim("speed", "shown", f"{told}; {runs} inferences")


def _memory(result: BenchResult, machine: Machine) -> Claim:
    peak = max(r.peak_rss_bytes for r in result.records) / 2**20
    whole = system.memory_bytes(machine)
    swapped = [reason for reason in result.reasons if "swapped in" in reason]
    if whole.value is None:
        return Claim("memory", "not shown", f"peak {peak:.0f} MiB; {whole.reason}")
    told = f"peak {peak:.0f} MiB of {whole.value / 2**20:.0f} MiB"
    if swapped:
        return Claim("memory", "failed", f"{told}; {swapped[0]}")
    if whole.value > _SMALL_BOARD_BYTES:
        return Claim("memory", "not shown", f"{told}: this is no board of 512 MB")
    return Claim("memory", "shown", f"{told}, nothing swapped in")


def _heat(result: BenchResult) -> Claim:
    degrees = [c for c in result.trace.get("temperature_c", ()) if c is not None]
    bits = [b for b in result.trace.get("throttled", ()) if b is not None]
    now = 0
    for word in bits:
        now |= word & 0xF
    told = (
        f"{degrees[0]:.1f} to {max(degrees):.1f} degrees Celsius"
        if degrees
        else "no thermal zone is readable"
    )
    if now:
        return Claim("heat", "failed", f"{told}; {throttling(now)}: see docs/boards.md on cooling")
    if not bits:
        return Claim("heat", "not shown", f"{told}; the firmware does not tell of throttling")
    if degrees and max(degrees) >= _HOT_C:
        return Claim("heat", "failed", f"{told}: too hot to run for long, see docs/boards.md")
    return Claim("heat", "shown", f"{told}, not throttled")


def _camera(frame: Fact[Pixels], path: Path, backend: str) -> Claim:
    if frame.value is None:
        return Claim("camera", "not shown", frame.reason)
    height, width = frame.value.shape[:2]
    if int(frame.value.max()) - int(frame.value.min()) < 8:
        return Claim("camera", "failed", f"the frame of {width}x{height} shows nothing (lens cap?)")
    with Runtime(path, backend=backend) as runtime:
        answer = runtime.classify(frame.value, top_k=1)
    spent = answer.timings.total_ms
    return Claim("camera", "shown", f"a frame of {width}x{height}, classified in {spent:.1f} ms")
