"""What is measured and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv.errors import InputError
from edgecv.stats import Estimate

__all__ = ["BenchOptions", "BenchResult", "Cell", "CellRecord"]


@dataclass(frozen=True)
class Cell:
    """One model file on one engine.

    Attributes:
        name: For messages; unique within a run.
        path: The file (for OpenVINO the xml).
        backend: Engine, or ``"auto"`` by the kind of file.
        input: A ``.npy`` file with the array to run on, in the file's own dtype and shape; None for
            seeded noise over the input's whole range.
    """

    name: str
    path: Path
    backend: str = "auto"
    input: Path | None = None


@dataclass(frozen=True)
class BenchOptions:
    """How long and in which order.

    Attributes:
        threads: Threads of every engine.
        blocks: Blocks per cell; the order of cells is drawn anew for each round of blocks.
        runs: Inferences per cell over all blocks; p99 has an upper bound from 368 on.
        max_seconds: Bound of the timed part per cell; slow models get fewer runs, never fewer than
            50.
        warmup: Inferences that are not counted, after the first one.
        seed: Of the order and of the noise.
        timeout_s: Longest wait for one answer of a cell.
    """

    threads: int = 1
    blocks: int = 8
    runs: int = 1000
    max_seconds: float = 10.0
    warmup: int = 20
    seed: int = 0
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        for name in ("threads", "blocks", "warmup"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", cure="Use 1 or more.")
        if self.runs < 50:
            raise InputError(f"{self.runs} runs are too few for percentiles", cure="Use 1000.")
        if not (self.max_seconds > 0 and self.timeout_s > 0):
            raise InputError(
                f"max_seconds {self.max_seconds} and timeout_s {self.timeout_s}",
                cure="Both are positive.",
            )


@dataclass(frozen=True)
class CellRecord:
    """Measurements of one cell; times in milliseconds.

    Attributes:
        cell: What was measured.
        backend: Engine that ran it.
        backend_version: Of the engine.
        threads: That the engine was told to use.
        executed_precision: From the engine's runtime graph, or ``"unknown"``.
        import_ms: Importing edgecv's runtime and the engine (NumPy and Python itself not included)
            in a fresh process whose files lie in the disk cache.
        load_ms: From the file's path to a model that is ready.
        first_ms: The first inference.
        p50: With order-statistic interval, as the others.
        p90: See p50.
        p95: See p50.
        p99: See p50.
        block_p50_ms: Median of each block, in the order measured: drift and disturbance show here.
        cpu_share: CPU time of the process over wall time of its blocks; far below the number of
            threads when something else used the processor.
        peak_rss_bytes: Peak resident memory of the process.
    """

    cell: Cell
    backend: str
    backend_version: str
    threads: int
    executed_precision: str
    import_ms: float
    load_ms: float
    first_ms: float
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    block_p50_ms: tuple[float, ...]
    cpu_share: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class BenchResult:
    """One run.

    Attributes:
        records: One per cell, in the order asked for.
        environment: Hardware and software, JSON-ready.
        valid: Whether the timings can be trusted.
        reasons: Why not, a sentence each.
    """

    records: tuple[CellRecord, ...]
    environment: dict[str, Any]
    valid: bool
    reasons: tuple[str, ...]
