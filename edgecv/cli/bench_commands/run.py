"""``edgecv bench run``: measure models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecv.cli.options import Progress, file_argument, parse_size

if TYPE_CHECKING:
    from edgecv.bench import BenchOptions, BenchResult, Cell

__all__ = ["command"]


@click.command(name="run")
@file_argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Engine; may be repeated. By default the one made for the kind of file.",
)
@click.option(
    "--threads",
    "threads",
    type=click.IntRange(1, 256),
    multiple=True,
    help="Threads of the engine; may be repeated. 1 without this option.",
)
@click.option(
    "--scenario",
    type=click.Choice(["single", "camera", "offline"]),
    default="single",
    show_default=True,
    help="single: one after the other; camera: frames by the clock, newest answered, drops counted;"
    " offline: throughput.",
)
@click.option("--rate", type=click.FloatRange(0.1, 1000), default=30.0, show_default=True,
              help="Frames per second of the camera scenario.")  # fmt: skip
@click.option("--frame", default="480x640", show_default=True, metavar="HxW",
              help="Size of the frames that preprocessing is measured on.")  # fmt: skip
@click.option("--runs", type=click.IntRange(50), default=1000, show_default=True,
              help="Inferences per model; p90, p95 and p99 need 64, 130 and 662.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True,
              help="Longest timed part per model.")  # fmt: skip
@click.option("--sustained", type=click.FloatRange(1), metavar="S",
              help="Measure for this many seconds per model, to see heat and throttling.")  # fmt: skip
@click.option("--cooldown", is_flag=True,
              help="Wait first until the processor has stopped cooling down.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of noise and order.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("bench"),
              show_default=True, help="Folder for the records, one JSON file per measurement.")  # fmt: skip
def command(
    models: tuple[Path, ...],
    backends: tuple[str, ...],
    threads: tuple[int, ...],
    scenario: str,
    rate: float,
    frame: str,
    runs: int,
    seconds: float,
    sustained: float | None,
    cooldown: bool,
    seed: int,
    out: Path,
) -> None:
    """Measure latency and memory of MODELs, each in a process of its own, blocks interleaved.

    Every measurement becomes a JSON record that is never changed. Where the machine was busy, hot or
    emulated, the record says so, the reasons are printed, and the exit code is 3.

    \b
    edgecv bench run artifacts/model.int8.tflite artifacts/model.float.tflite
    edgecv bench run artifacts/*.tflite --threads 1 --threads 4 --scenario camera --rate 30
    """
    from edgecv.bench import BenchOptions, run_cells
    from edgecv.bench.cooldown import cool_down
    from edgecv.bench.record import build, save
    from edgecv.errors import InvalidMeasurementError

    progress = Progress()
    options = BenchOptions(
        runs=10**9 if sustained else runs,
        max_seconds=sustained or seconds,
        blocks=max(8, round(sustained / 30)) if sustained else 8,
        seed=seed,
        timeout_s=max(120.0, 4 * (sustained or seconds)),
        scenario=scenario,
        rate_hz=rate,
        frame=parse_size(frame) or (480, 640),
        stages=True,
    )
    cells = _cells(models, backends or ("auto",), threads or (1,))
    if cooldown:
        cool_down(progress.update)
    result = run_cells(cells, options, progress=progress.update)
    for record in result.records:
        path = save(build(result, record, options), out)
        progress.note(f"wrote {path}")
    click.echo(_table(result, options))
    if not result.valid:
        raise InvalidMeasurementError(
            "these measurements cannot be trusted: " + " ".join(result.reasons).rstrip("."),
            cure="See docs/boards.md, and measure again.",
        )


def _cells(
    models: tuple[Path, ...], backends: tuple[str, ...], threads: tuple[int, ...]
) -> list[Cell]:
    """Every model on every engine that runs its kind, with every number of threads."""
    from edgecv.bench import Cell

    cells = []
    repeated = len({model.name for model in models}) < len(models)
    for model in models:
        for backend in backends:
            for count in threads:
                name = str(model) if repeated else model.name
                name += f" {backend}" if len(backends) > 1 else ""
                name += f" t{count}" if len(threads) > 1 else ""
                cells.append(Cell(name, model, backend, threads=count))
    return cells


def _table(result: BenchResult, options: BenchOptions) -> str:
    """Figures per cell; a percentile that too few runs support is a dash."""
    from edgecv.stats import least_samples

    head = ["model", "engine", "p50 ms", "p90", "p99", "1/s", "cpu ms", "peak MB", "executes"]
    if options.scenario == "camera":
        head.insert(6, "dropped")
    rows = [head]
    for record in result.records:
        samples = record.p50.n
        cells = [
            record.cell.name,
            f"{record.backend} {record.backend_version}",
            f"{record.p50.value:.3f}",
            *(
                f"{estimate.value:.3f}" if samples >= least_samples(fraction) else "-"
                for estimate, fraction in ((record.p90, 0.9), (record.p99, 0.99))
            ),
            f"{samples / max(1e-9, sum(record.block_wall_s)):.1f}",
            f"{record.cpu_ms:.3f}",
            f"{record.peak_rss_bytes / 1e6:.0f}",
            record.executed_precision,
        ]
        if record.camera is not None:
            cells.insert(6, f"{record.camera.dropped} of {record.camera.scheduled}")
        rows.append(cells)
        if record.stages_ms:
            stages = ", ".join(f"{k} {v:.3f}" for k, v in record.stages_ms.items())
            rows.append([f"  stages, ms: {stages}"])
    widths = [max(len(row[k]) for row in rows if len(row) > 1) for k in range(len(head))]
    return "\n".join(
        row[0]
        if len(row) == 1
        else "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
