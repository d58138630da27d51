"""``report.json``: names are added, never renamed; rates are fractions, paths relative to the report."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePath
from typing import Any

from edgecv.artifact import write_atomically
from edgecv.errors import InputError
from edgecv.report.model import Agreement, BackendRecord, FileRecord, Latency, MethodRow, Report
from edgecv.stats import Estimate, PairedRecord, non_inferiority

__all__ = ["SCHEMA", "to_json", "write_json", "write_text"]

#: Version of the document; the first number changes when old readers must refuse.
SCHEMA = "1.0"


def write_json(report: Report, path: Path) -> None:
    """Write the report atomically; a file of that name is replaced.

    Raises:
        InputError: The folder cannot be written.
    """
    text = json.dumps(to_json(report, path.parent), indent=1, allow_nan=False)
    write_text(text + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 atomically.

    Undecodable parts of file names (lone surrogates) are written as ``\\udcff``.

    Raises:
        InputError: The folder cannot be written.
    """
    try:
        write_atomically(path, text.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written: {error.strerror}",
            cure="Choose another folder with --out.",
        ) from error


def to_json(report: Report, folder: Path) -> dict[str, Any]:
    """The report as plain JSON values, paths relative to *folder*."""
    return {
        "schema": SCHEMA,
        "title": report.title,
        "model": report.model,
        "created": report.created,
        "test_folder": _relative(report.test_folder, folder),
        "test_pictures": report.pictures,
        "test_groups": report.groups,
        "classes": list(report.classes),
        "torch": {
            "float_top1": _value(report.float_model),
            "float_top1_interval": _interval(report.float_model),
            "quantized_top1": _value(report.quantized_model),
            "quantized_top1_interval": _interval(report.quantized_model),
        },
        "margin": report.margin,
        "backends": [_backend(row, folder, report.margin) for row in report.backends],
        "qat_vs_ptq": [_method(row) for row in report.methods],
        "per_class": [
            {
                "label": row.label,
                "float_recall": _value(row.float_recall),
                "float_recall_interval": _interval(row.float_recall),
                "int8_recall": _value(row.int8_recall),
                "int8_recall_interval": _interval(row.int8_recall),
            }
            for row in report.per_class
        ],
        "confusion": None
        if report.confusion is None
        else {"of": report.confusion.of, "counts": [list(r) for r in report.confusion.counts]},
        "environment": report.environment,
        "validity": {"valid": report.validity.valid, "reasons": list(report.validity.reasons)},
        "notes": list(report.notes),
    }


def _backend(row: BackendRecord, folder: Path, margin: float) -> dict[str, Any]:
    return {
        "backend": row.backend,
        "version": row.version,
        "target": row.target,
        "float_top1": row.float_file.top1.value,
        "float_top1_interval": _interval(row.float_file.top1),
        "int8_top1": row.int8_file.top1.value,
        "int8_top1_interval": _interval(row.int8_file.top1),
        "paired": _paired(row.paired),
        "non_inferiority": non_inferiority(row.paired, margin).outcome,
        **_agreement(row.agreement),
        **_file(row.int8_file, folder, ""),
        **_file(row.float_file, folder, "float_"),
        "int8_path": _relative(row.int8_file.path, folder),
        "float_path": _relative(row.float_file.path, folder),
    }


def _file(record: FileRecord, folder: Path, prefix: str) -> dict[str, Any]:
    """Size and speed; the int8 file's names have no prefix."""
    return {
        f"{prefix}model_bytes": record.model_bytes,
        f"{prefix}import_ms": record.import_ms,
        f"{prefix}load_ms": record.load_ms,
        f"{prefix}first_inference_ms": record.first_ms,
        f"{prefix}latency_ms": _latency(record.latency),
        f"{prefix}latency_ms_intervals": _latency_intervals(record.latency),
        f"{prefix}peak_rss_bytes": record.peak_rss_bytes,
        f"{prefix}executed_precision": record.executed_precision,
    }


def _latency(latency: Latency | None) -> dict[str, float] | None:
    if latency is None:
        return None
    return {"p50": latency.p50.value, "p90": latency.p90.value, "p99": latency.p99.value}


def _latency_intervals(latency: Latency | None) -> dict[str, Any] | None:
    if latency is None:
        return None
    named = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99}
    return {name: _interval(value) for name, value in named.items()}


def _agreement(agreement: Agreement | None) -> dict[str, Any]:
    if agreement is None:
        return {"agreement_with_torch": None}
    return {
        "agreement_with_torch": agreement.rate.value,
        "agreement_with_torch_interval": _interval(agreement.rate),
        "disagreements": agreement.disagreements,
        "disagreements_near_tie": agreement.near_ties,
        "largest_score_difference": agreement.largest_difference,
        "largest_score_difference_steps": agreement.largest_steps,
    }


def _method(row: MethodRow) -> dict[str, Any]:
    return {
        "method": row.method,
        "bits": row.bits,
        "top1": row.top1.value,
        "top1_interval": _interval(row.top1),
        "paired": _paired(row.paired),
    }


def _paired(record: PairedRecord) -> dict[str, Any]:
    return {
        "difference": record.difference.value,
        "difference_interval": _interval(record.difference),
        "mcnemar_p": record.mcnemar_p,
        "agreement": record.agreement.value,
        "agreement_interval": _interval(record.agreement),
        "flips": {
            "total": record.flips,
            "to_wrong": record.to_wrong,
            "to_right": record.to_right,
            "wrong_to_other_wrong": record.wrong_to_other_wrong,
        },
        "pictures": record.n,
        "groups": record.groups,
    }


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _interval(estimate: Estimate | None) -> dict[str, Any] | None:
    """Bounds without the value, which stands beside them."""
    if estimate is None:
        return None
    return {name: part for name, part in estimate.as_json().items() if name != "value"}


def _relative(path: Path, folder: Path) -> str:
    return PurePath(os.path.relpath(path, folder)).as_posix()
