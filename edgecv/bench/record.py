"""One cell's measurement as a JSON document: names with units, nothing that is not a number a string."""

from __future__ import annotations

import datetime
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgecv import artifact
from edgecv.artifact.fields import Fields
from edgecv.bench.model import BenchOptions, BenchResult, CellRecord
from edgecv.board.probe import Machine
from edgecv.board.report import report
from edgecv.errors import InputError
from edgecv.stats import early_stopping, least_samples, percentile

__all__ = ["SCHEMA", "build", "load", "save", "schema"]

#: Major version decides who may read; minor versions only add keys.
SCHEMA: Final = "edgecv.bench/1.0"
_FRACTIONS: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_MOST_BYTES: Final = 64 << 20


def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    text = resources.files("edgecv.bench").joinpath("bench-1.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def build(
    result: BenchResult, record: CellRecord, options: BenchOptions, machine: Machine | None = None
) -> dict[str, Any]:
    """The document of one cell.

    Args:
        result: The run it belongs to.
        record: The cell.
        options: Of the run.
        machine: Where it ran; this one unless told otherwise.
    """
    file = artifact.read(record.cell.path, check="off")
    samples = np.concatenate([np.asarray(b, np.float64) for b in record.samples_ns]) / 1e6
    watts = [w for w in result.trace.get("watts", ()) if w is not None]
    wall_s, runs = sum(record.block_wall_s), len(samples)
    board = report(machine)
    return {
        "schema": SCHEMA,
        "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "edgecv_version": result.environment.get("packages", {}).get("edgecv", "unknown"),
        "model": {
            "name": record.cell.path.name,
            "identity": file.identity,
            "kind": file.kind,
            "precision": file.manifest.precision if file.manifest else None,
            "file_bytes": record.model_bytes,
        },
        "engine": {
            "backend": record.backend,
            "version": record.backend_version,
            "threads": record.threads,
            "executed_precision": record.executed_precision,
            "layers": [
                dict(zip(("name", "kind", "precision"), x, strict=True)) for x in record.layers
            ],
        },
        "scenario": {
            "name": options.scenario,
            "blocks": len(record.samples_ns),
            "runs": runs,
            "warmup_runs": options.warmup,
            "seed": options.seed,
            **(_camera(record) if record.camera else {}),
        },
        "phases_ms": {
            "import": record.import_ms,
            "load": record.load_ms,
            "first_inference": record.first_ms,
        },
        "latency_ms": {
            "mean": float(samples.mean()),
            "min": float(samples.min()),
            "max": float(samples.max()),
            **{name: _percentile(samples, fraction) for name, fraction in _FRACTIONS.items()},
        },
        "stages_ms": dict(record.stages_ms),
        "throughput_per_s": runs / wall_s if wall_s else None,
        "cpu_ms_per_inference": record.cpu_ms,
        "cpu_share": record.cpu_share,
        "memory": {
            "peak_rss_bytes": record.peak_rss_bytes,
            "rss_anonymous_bytes": record.rss_anonymous_bytes,
            "rss_file_bytes": record.rss_file_bytes,
        },
        "energy": {
            "mean_watts": float(np.mean(watts)) if watts else None,
            # while several cells take turns, the board's power belongs to none of them
            "joules_per_inference": (
                float(np.mean(watts)) * wall_s / runs
                if watts and len(result.records) == 1
                else None
            ),
            "what": result.trace.get("watts_of", "not measured"),
        },
        "board": board.to_json(),
        "board_id": _board_id(board.to_json()),
        "environment": result.environment,
        "trace": result.trace,
        "validity": {"valid": result.valid, "reasons": list(result.reasons)},
        "block_p50_ms": list(record.block_p50_ms),
        "samples_ns": [list(block) for block in record.samples_ns],
    }


def _camera(record: CellRecord) -> dict[str, Any]:
    camera = record.camera
    assert camera is not None
    return {
        "rate_hz": camera.rate_hz,
        "frames": camera.scheduled,
        "answered": camera.answered,
        "dropped": camera.dropped,
        "answered_per_s": camera.answered_per_s,
    }


def _percentile(samples: Any, fraction: float) -> dict[str, Any]:
    """Value, interval, and whether there are enough samples to state it."""
    enough = len(samples) >= least_samples(fraction)
    return {
        **percentile(samples, fraction).as_json(),
        "stated": enough,
        "early_stopping": early_stopping(samples, fraction),
    }


def _board_id(board: dict[str, Any]) -> str:
    """Digest of what stays the same on one kind of board; names neither it nor its owner."""
    facts = board["facts"]
    fixed = [facts.get(name) for name in ("model", "soc", "pi_revision", "cores", "memory_bytes")]
    return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()[:16]


def save(document: dict[str, Any], folder: Path) -> Path:
    """Write a record under a name of its own; an existing one is never replaced.

    Args:
        document: From :func:`build`.
        folder: Made when missing.

    Returns:
        The file.

    Raises:
        InputError: The folder cannot be written.
    """
    data = (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()
    stem = Path(document["model"]["name"]).name.replace(".", "-")
    when = document["created_utc"].replace(":", "").replace("-", "")[:15]
    engine, digest = document["engine"], hashlib.sha256(data).hexdigest()[:8]
    name = f"{when}-{stem}-{engine['backend']}-t{engine['threads']}-{digest}.json"
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            artifact.write_atomically(path, data)
    except OSError as error:
        raise InputError(
            f"'{folder}' cannot be written: {error.strerror}",
            cure="Name another folder with --out.",
        ) from error
    return path


def load(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        InputError: Missing, not a record, or of a later major version.
    """

    def wrong(reason: str) -> InputError:
        return InputError(
            f"'{path}' is no benchmark record: {reason}", cure="Make one with 'edgecv bench run'."
        )

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise wrong(f"it has {path.stat().st_size} bytes")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be read: {error.strerror}", cure="Check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise wrong(str(error)) from error
    fields = Fields(document, "", wrong)
    name, _, number = fields.text("schema").rpartition("/")
    if name != "edgecv.bench":
        raise wrong(f"its schema is {document['schema']!r}")
    if number.split(".")[0] != SCHEMA.rpartition("/")[2].split(".")[0]:
        raise InputError(
            f"'{path}' has the schema {document['schema']}, this edgecv reads {SCHEMA}",
            cure="Update edgecv: pip install -U edgecv.",
        )
    _check(document, wrong)
    found: dict[str, Any] = document
    return found


def _check(document: dict[str, Any], wrong: Any) -> None:
    """What comparing and collating read must be there, of the right types."""
    for name, keys in {
        "model": ("name", "identity"),
        "engine": ("backend", "version"),
        "validity": (),
        "latency_ms": (),
        "memory": (),
    }.items():
        part = Fields(document.get(name), name, wrong)
        for key in keys:
            part.text(key)
    if not isinstance(document["validity"].get("valid"), bool):
        raise wrong("validity.valid is not true or false")
    blocks = document.get("samples_ns")
    if (
        not isinstance(blocks, list)
        or not blocks
        or not all(
            isinstance(block, list)
            and block
            and all(
                isinstance(ns, int) and not isinstance(ns, bool) and 0 < ns < 1 << 53
                for ns in block
            )
            for block in blocks
        )
    ):
        raise wrong("samples_ns is not a list of blocks of positive whole numbers")
    for name in _FRACTIONS:
        quantile = Fields(document["latency_ms"].get(name), f"latency_ms.{name}", wrong)
        if not isinstance(document["latency_ms"][name].get("value"), int | float):
            raise quantile.wrong("value", "a number")
