"""Arrange cells: one fresh process each, loaded one after the other, blocks interleaved."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.bench.model import BenchOptions, BenchResult, CameraRecord, Cell, CellRecord
from edgecv.bench.process import COMMAND, CellProcess
from edgecv.errors import InputError
from edgecv.measure import Trace, Watch, environment
from edgecv.stats import percentile

__all__ = ["run_cells"]

_LEAST_RUNS = 50
_LEAST_PER_BLOCK = 5
#: Inference is arithmetic: a process that got less of a processor was pushed aside.
_LEAST_CPU_SHARE = 0.9


@dataclass
class _Running:
    """A loaded cell and what it has measured so far."""

    cell: Cell
    process: CellProcess
    loaded: dict[str, Any]
    blocks: list[list[int]] = field(default_factory=list)
    walls: list[int] = field(default_factory=list)
    cpu_ns: int = 0
    stages_ms: dict[str, float] = field(default_factory=dict)
    camera: CameraRecord | None = None

    @property
    def wall_ns(self) -> int:
        """Of all blocks."""
        return sum(self.walls)


def run_cells(
    cells: Sequence[Cell],
    options: BenchOptions | None = None,
    *,
    progress: Callable[[str], None] | None = None,
    command: tuple[str, ...] = COMMAND,
) -> BenchResult:
    """Measure all cells side by side.

    Every cell gets a fresh process with the same number of threads. They are loaded one after the
    other (import, load, first inference and warm-up apart); then blocks of inferences run, one cell
    at a time, in an order drawn anew for every round, so that a disturbance meets all cells alike.
    An earlier throwaway process per cell brings files into the disk cache and compiles bytecode.

    Args:
        cells: With unique names.
        options: Threads, runs, order.
        progress: Called with a short line now and then.
        command: The process that answers; another one in tests only.

    Raises:
        InputError: No cells, or two of one name.
        InvalidMeasurementError: A process died or hung.
        EdgecvError: What the runtime says of the file.
    """
    options = options or BenchOptions()
    names = [cell.name for cell in cells]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"cells {names} are empty or repeated", cure="Give each cell its own name."
        )
    say = progress or (lambda _: None)
    for cell in cells:
        say(f"warming the disk cache: {cell.name}")
        with _start(cell, options, command) as process:
            process.ask(_load_request(cell, options))
    before = environment()
    watch = Watch(bytecode=False)  # the cells write bytecode whatever this process does
    with ExitStack() as stack:
        trace = stack.enter_context(Trace())
        running = []
        for cell in cells:
            say(f"loading {cell.name}")
            process = stack.enter_context(_start(cell, options, command))
            running.append(_Running(cell, process, process.ask(_load_request(cell, options))))
        if options.scenario == "camera":
            _run_camera(running, options, say)
        else:
            _run_blocks(running, options, say)
        if options.stages:
            _run_stages(running, options, say)
        records = tuple(_finish(one) for one in running)
    camera = options.scenario == "camera"  # it waits for frames most of the time
    reasons = (
        *watch.validity().reasons,
        *trace.reasons(),
        *(() if camera else _disturbed(records)),
    )
    return BenchResult(records, before, not reasons, tuple(dict.fromkeys(reasons)), trace.to_json())


def _disturbed(records: Sequence[CellRecord]) -> list[str]:
    """A cell that did not have its processor to itself waited inside its own samples."""
    return [
        f"{record.cell.name} had a processor for only {100 * record.cpu_share:.0f} % of its time."
        for record in records
        if record.cpu_share < _LEAST_CPU_SHARE
    ]


def _start(cell: Cell, options: BenchOptions, command: tuple[str, ...]) -> CellProcess:
    threads = cell.threads or options.threads
    return CellProcess(cell, threads=threads, timeout_s=options.timeout_s, command=command)


def _load_request(cell: Cell, options: BenchOptions) -> dict[str, Any]:
    return {
        "do": "load",
        "path": str(Path(cell.path).absolute()),
        "backend": cell.backend,
        "threads": cell.threads or options.threads,
        "warmup": options.warmup,
        "seed": options.seed,
        "input": None if cell.input is None else str(cell.input.absolute()),
    }


def _run_blocks(running: list[_Running], options: BenchOptions, say: Callable[[str], None]) -> None:
    order = random.Random(options.seed)
    sizes = {one.cell.name: _block_size(one.loaded, options) for one in running}
    for block in range(options.blocks):
        say(f"block {block + 1} of {options.blocks}")
        for one in order.sample(running, len(running)):
            reply = one.process.ask({"do": "run", "count": sizes[one.cell.name]})
            one.blocks.append(reply["ns"])
            one.cpu_ns += reply["cpu_ns"]
            one.walls.append(reply["wall_ns"])


def _run_camera(running: list[_Running], options: BenchOptions, say: Callable[[str], None]) -> None:
    """The same blocks of time for each, in random order; a camera cannot run beside another."""
    order = random.Random(options.seed)
    seconds = options.max_seconds / options.blocks
    request = {"do": "camera", "rate_hz": options.rate_hz, "frame": options.frame}
    scheduled = dict.fromkeys((one.cell.name for one in running), 0)
    for block in range(options.blocks):
        say(f"block {block + 1} of {options.blocks}")
        for one in order.sample(running, len(running)):
            reply = one.process.ask({**request, "seconds": seconds})
            one.blocks.append(reply["latency_ns"])
            one.cpu_ns += reply["cpu_ns"]
            one.walls.append(reply["wall_ns"])
            scheduled[one.cell.name] += reply["scheduled"]
    for one in running:
        answered, came = sum(map(len, one.blocks)), scheduled[one.cell.name]
        one.camera = CameraRecord(
            scheduled=came,
            answered=answered,
            dropped=came - answered,
            rate_hz=options.rate_hz,
            answered_per_s=answered / (one.wall_ns / 1e9),
            latency_ns=tuple(ns for block in one.blocks for ns in block),
        )


def _run_stages(running: list[_Running], options: BenchOptions, say: Callable[[str], None]) -> None:
    say("stages of an answer")
    for one in running:
        count = max(_LEAST_PER_BLOCK, _block_size(one.loaded, options))
        reply = one.process.ask({"do": "stages", "count": count, "frame": options.frame})
        one.stages_ms = {name: ns / 1e6 for name, ns in reply["stages_ns"].items()}


def _block_size(loaded: dict[str, Any], options: BenchOptions) -> int:
    """Inferences per block: as asked, or as many as the time allows."""
    typical = float(np.median(loaded["warmup_ns"])) or 1.0
    affordable = options.max_seconds * 1e9 / typical
    runs = max(_LEAST_RUNS, min(options.runs, affordable))
    return max(_LEAST_PER_BLOCK, math.ceil(runs / options.blocks))


def _finish(one: _Running) -> CellRecord:
    last = one.process.ask({"do": "finish"})
    pooled = np.concatenate([np.asarray(block, np.float64) for block in one.blocks]) / 1e6
    p50, p90, p95, p99 = (percentile(pooled, q) for q in (0.5, 0.9, 0.95, 0.99))
    return CellRecord(
        cell=one.cell,
        backend=one.loaded["backend"],
        backend_version=one.loaded["backend_version"],
        threads=one.loaded["threads"],
        executed_precision=last["precision"],
        import_ms=one.loaded["import_ns"] / 1e6,
        load_ms=one.loaded["load_ns"] / 1e6,
        first_ms=one.loaded["first_ns"] / 1e6,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        block_p50_ms=tuple(float(np.median(block)) / 1e6 for block in one.blocks),
        cpu_share=one.cpu_ns / max(1, one.wall_ns),
        peak_rss_bytes=last["peak_rss_bytes"],
        samples_ns=tuple(tuple(block) for block in one.blocks),
        cpu_ms=one.cpu_ns / 1e6 / max(1, len(pooled)),
        rss_anonymous_bytes=last.get("rss_anonymous_bytes"),
        rss_file_bytes=last.get("rss_file_bytes"),
        model_bytes=_size(one.cell.path),
        stages_ms=one.stages_ms,
        layers=tuple((name, kind, precision) for name, kind, precision in last.get("layers", ())),
        camera=one.camera,
        block_wall_s=tuple(ns / 1e9 for ns in one.walls),
    )


def _size(path: Path) -> int:
    """Bytes of a model; an OpenVINO xml comes with its bin."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files if file.exists())
