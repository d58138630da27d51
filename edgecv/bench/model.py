"""What is measured and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv.errors import InputError
from edgecv.stats import Estimate

__all__ = ["SCENARIOS", "BenchOptions", "BenchResult", "CameraRecord", "Cell", "CellRecord"]

#: ``single``: one inference after the other; ``camera``: frames come by the clock, the newest one is
#: answered; ``offline``: as many answers per second as the machine gives.
SCENARIOS = ("single", "camera", "offline")


@dataclass(frozen=True)
class Cell:
    """One model file on one engine.

    Attributes:
        name: For messages; unique within a run.
        path: The file (for OpenVINO the xml).
        backend: Engine, or ``"auto"`` by the kind of file.
        input: A ``.npy`` file with the array to run on, in the file's own dtype and shape; None for
            seeded noise over the input's whole range.
        threads: Threads of the engine; None takes those of :class:`BenchOptions`.
    """

    name: str
    path: Path
    backend: str = "auto"
    input: Path | None = None
    threads: int | None = None


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
        scenario: One of :data:`SCENARIOS`.
        rate_hz: Frames per second of the camera scenario.
        frame: (height, width) of its frames, in pixels.
        stages: Measure preprocessing and postprocessing, too, where the model takes pictures.
    """

    threads: int = 1
    blocks: int = 8
    runs: int = 1000
    max_seconds: float = 10.0
    warmup: int = 20
    seed: int = 0
    timeout_s: float = 120.0
    scenario: str = "single"
    rate_hz: float = 30.0
    frame: tuple[int, int] = (480, 640)
    stages: bool = False

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise InputError(
                f"scenario {self.scenario!r} is unknown", cure=f"Use {', '.join(SCENARIOS)}."
            )
        if not self.rate_hz > 0 or min(self.frame) < 1:
            raise InputError(
                f"a camera of {self.rate_hz} frames per second of {self.frame} pixels",
                cure="Use for example 30 frames of 480x640.",
            )
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
class CameraRecord:
    """What a camera would have seen: open loop, so that a slow answer delays those behind it.

    Attributes:
        scheduled: Frames that came.
        answered: Of those.
        dropped: Of those, because a newer one came.
        rate_hz: Asked for.
        answered_per_s: Reached.
        latency_ns: Of each answer, from the frame's scheduled arrival, in nanoseconds.
    """

    scheduled: int
    answered: int
    dropped: int
    rate_hz: float
    answered_per_s: float
    latency_ns: tuple[int, ...]


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
        peak_rss_bytes: Peak resident memory of the process (VmHWM).
        samples_ns: Every inference, by block, in nanoseconds.
        cpu_ms: CPU time per inference.
        rss_anonymous_bytes: Resident at the end: the process's own.
        rss_file_bytes: Resident at the end: mapped files, which the system may drop.
        model_bytes: Size of the model's files.
        stages_ms: Median of ``preprocess``, ``infer``, ``postprocess`` and ``end_to_end`` of pictures;
            empty where not asked for, or where the model takes none.
        layers: ``(name, kind, precision)`` of what carries the arithmetic, as far as the engine says.
        camera: Of the camera scenario, else None.
        block_wall_s: Wall time of each block: runs over it is the throughput.
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
    samples_ns: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    cpu_ms: float = 0.0
    rss_anonymous_bytes: int | None = None
    rss_file_bytes: int | None = None
    model_bytes: int = 0
    stages_ms: dict[str, float] = field(default_factory=dict)
    layers: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)
    camera: CameraRecord | None = None
    block_wall_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class BenchResult:
    """One run.

    Attributes:
        records: One per cell, in the order asked for.
        environment: Hardware and software, JSON-ready.
        valid: Whether the timings can be trusted.
        reasons: Why not, a sentence each.
        trace: Temperature, frequency, throttling and power meanwhile, JSON-ready.
    """

    records: tuple[CellRecord, ...]
    environment: dict[str, Any]
    valid: bool
    reasons: tuple[str, ...]
    trace: dict[str, Any] = field(default_factory=dict)
