"""Every engine on the shipped model: right answers, recorded integers, latency, memory, precision.

Each engine is loaded by a measuring process first (:mod:`edgecv.bench`): one that kills its process, such
as a wheel for another processor, is a finding here and no end of the test.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.bench import BenchOptions, Cell, CellRecord, run_cells
from edgecv.errors import EdgecvError, MissingExtraError, UnsupportedError
from edgecv.measure import environment
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, Bundle, load_bundle
from edgecv_runtimes.registry import choose

__all__ = ["ENGINES", "EngineReport", "SelftestReport", "kind_of", "run_selftest"]

#: Engines that are looked for.
ENGINES: Final = ("litert", "openvino", "onnxruntime")
#: The legacy TFLite engine rounds in other places; it is judged by its answers alone.
_LEGACY: Final = "tflite-runtime"
_BENCH: Final = BenchOptions(blocks=4, runs=400, max_seconds=1.0, warmup=10, timeout_s=180)


@dataclass(frozen=True)
class EngineReport:
    """One engine.

    Attributes:
        backend: Its name.
        state: ``"passed"``, ``"failed"``, or ``"absent"``.
        version: Of the engine; ``""`` unless it ran.
        right: Pictures whose class it named.
        pictures: Of so many.
        difference: Largest difference from a recorded integer, in output steps; None unless it ran.
        tolerance: Allowed; None where the integers do not count.
        p50_ms: Median latency, one thread.
        peak_rss_bytes: Of a process that only runs the model.
        precision: What executes, as the engine says.
        valid: Whether the latency can be trusted.
        reasons: Why not.
        problem: What failed, or why it is absent.
        cure: What to do about it: for an absent engine the install command.
    """

    backend: str
    state: str
    version: str = ""
    right: int = 0
    pictures: int = 0
    difference: int | None = None
    tolerance: int | None = None
    p50_ms: float | None = None
    peak_rss_bytes: int | None = None
    precision: str = ""
    valid: bool = True
    reasons: tuple[str, ...] = ()
    problem: str = ""
    cure: str = ""


@dataclass(frozen=True)
class SelftestReport:
    """All engines.

    Attributes:
        engines: In the order asked for.
        environment: Hardware and software, JSON-ready.
    """

    engines: tuple[EngineReport, ...]
    environment: dict[str, Any]

    @property
    def present(self) -> tuple[EngineReport, ...]:
        """Engines that are installed."""
        return tuple(engine for engine in self.engines if engine.state != "absent")

    @property
    def failed(self) -> tuple[EngineReport, ...]:
        """Engines that did not do what they should."""
        return tuple(engine for engine in self.engines if engine.state == "failed")


def run_selftest(
    backends: Sequence[str] = ENGINES,
    *,
    bundle: Bundle | None = None,
    options: BenchOptions = _BENCH,
    progress: Callable[[str], None] | None = None,
) -> SelftestReport:
    """Run the shipped model on *backends*.

    Args:
        backends: Names of engines; an entry point of another package may be among them.
        bundle: Another model; None takes the shipped one.
        options: Of the measurement.
        progress: Called with a line per engine.

    Raises:
        UnsupportedError: No such backend, or one that runs none of the shipped formats.
        ModelLoadError: The shipped model is damaged.
    """
    bundle = bundle or load_bundle()
    kinds = {name: kind_of(name) for name in backends}
    engines = []
    with tempfile.TemporaryDirectory(prefix="edgecv-selftest-") as folder:
        bundle.unpack(Path(folder))
        for name, kind in kinds.items():
            if progress:
                progress(name)
            engines.append(_engine(name, Path(folder) / MODELS[kind], bundle, options))
    return SelftestReport(tuple(engines), environment())


def kind_of(name: str) -> str:
    """The shipped format that the backend *name* runs.

    Raises:
        UnsupportedError: There is none.
    """
    last: UnsupportedError | None = None
    for kind in MODELS:
        try:
            choose(name, kind)
        except UnsupportedError as error:
            last = error
        else:
            return kind
    assert last is not None
    raise last


def _engine(name: str, path: Path, bundle: Bundle, options: BenchOptions) -> EngineReport:
    try:
        result = run_cells([Cell(name, path, name)], options)
    except MissingExtraError as error:
        return EngineReport(name, "absent", problem=error.what, cure=error.cure)
    except EdgecvError as error:
        return EngineReport(name, "failed", problem=error.what, cure=error.cure)
    [record] = result.records
    measured: dict[str, Any] = {
        "version": record.backend_version,
        "p50_ms": record.p50.value,
        "peak_rss_bytes": record.peak_rss_bytes,
        "precision": record.executed_precision,
        "valid": result.valid,
        "reasons": result.reasons,
    }
    try:
        found = _answers(path, name, bundle)
    except EdgecvError as error:
        return EngineReport(name, "failed", problem=error.what, cure=error.cure, **measured)
    return _judged(name, record, bundle, found, measured)


def _answers(path: Path, name: str, bundle: Bundle) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The label of every picture, and the output's integers [pictures, classes]."""
    labels, rows = [], []
    with Runtime(path, backend=name) as runtime:
        for picture in bundle.pictures:
            labels.append(runtime.classify(picture, top_k=1).top.label)
            steps = runtime.scores(picture).astype(np.float64) / bundle.output.scale
            rows.append(np.rint(steps).astype(np.int64) + bundle.output.zero_point)
    return labels, np.stack(rows)


def _judged(
    name: str,
    record: CellRecord,
    bundle: Bundle,
    found: tuple[list[str], npt.NDArray[np.int64]],
    measured: dict[str, Any],
) -> EngineReport:
    labels, integers = found
    right = sum(a == b for a, b in zip(labels, bundle.labels, strict=True))
    difference = int(np.abs(integers - bundle.integers.astype(np.int64)).max())
    tolerance = bundle.tolerance.get(name, max(bundle.tolerance.values()))
    counts = _LEGACY not in record.backend_version
    problems = []
    if right < len(bundle.labels):
        problems.append(f"it names {right} of {len(bundle.labels)} digits")
    if counts and difference > tolerance:
        problems.append(
            f"its integers differ from the recorded ones by up to {difference} (allowed: {tolerance})"
        )
    return EngineReport(
        name,
        "failed" if problems else "passed",
        right=right,
        pictures=len(bundle.labels),
        difference=difference,
        tolerance=tolerance if counts else None,
        problem="; ".join(problems),
        cure="Install another version of the engine, and please report this." if problems else "",
        **measured,
    )
