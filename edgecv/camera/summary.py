"""The record of a run, and which of its figures leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgecv.camera.capture import Counts
from edgecv.camera.frame import Answer
from edgecv.measure import Verdict
from edgecv.results import ModelInfo
from edgecv.stats import Estimate

__all__ = ["answer_json", "headline", "summarize"]

_NONE: Final = {
    "kind": "none",
    "title": "Accuracy is not known",
    "value": None,
    "low": None,
    "high": None,
    "n": 0,
    "says": (
        "The source has no labels, no float file runs beside it (--float), and the model carries no"
        " drift profile."
    ),
}


def summarize(
    *,
    counts: Counts,
    seconds: float,
    latency_ms: Mapping[str, Any],
    machine: Mapping[str, Any],
    info: ModelInfo,
    truth: Estimate | None,
    paired: Mapping[str, Any] | None,
    drift: Mapping[str, Any] | None,
    verdict: Verdict,
) -> dict[str, Any]:
    """One JSON record; its fields are fixed.

    Args:
        counts: Of frames.
        seconds: From the first look at the source to the end.
        latency_ms: Stage → percentiles.
        machine: Memory now and at its peak.
        info: Of the model.
        truth: Accuracy against labels.
        paired: Against the float file.
        drift: Of the monitor.
        verdict: Whether the times can be trusted.
    """
    reasons = list(verdict.reasons)
    if not counts.taken:
        reasons.append("No frame was answered.")
    return {
        "frames_in": counts.came,
        "frames_out": counts.taken,
        "frames_dropped": counts.dropped + counts.damaged,
        "fps_out": round(counts.taken / seconds, 3) if seconds else 0.0,
        "latency_ms": dict(latency_ms),
        "rss_bytes": machine["rss_bytes"],
        "peak_rss_bytes": machine["peak_rss_bytes"],
        "backend": info.backend,
        "executed_precision": info.precision,
        "threads": info.threads,
        "accuracy": None
        if truth is None
        else {"true_top1": truth.value, "interval": [truth.low, truth.high], "n": truth.n},
        "against_float": None if paired is None else dict(paired),
        "drift": None if drift is None else dict(drift),
        "valid": not reasons,
        "invalid_reasons": reasons,
    }


def headline(
    truth: Estimate | None, paired: Mapping[str, Any] | None, drift: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The figure that leads: what is true before what is paired before what is estimated."""
    if truth is not None:
        return {
            "kind": "true",
            "title": "Accuracy against known labels",
            "value": truth.value,
            "low": truth.low,
            "high": truth.high,
            "n": truth.n,
            "says": "Measured since the start: the source knows what its frames show.",
        }
    if paired is not None:
        low, high = paired["interval"]
        return {
            "kind": "paired",
            "title": "Agreement of int8 with float",
            "value": paired["agreement"],
            "low": None,
            "high": None,
            "n": paired["n"],
            "says": (
                "Measured on the same frames, without labels: quantization can have changed accuracy by"
                f" {100 * low:+.1f} to {100 * high:+.1f} points, and no more."
            ),
        }
    if drift is not None and drift.get("estimated_top1") is None:
        seen = drift.get("effective_samples") or 0
        return {
            **_NONE,
            "title": "Estimated accuracy",
            "n": seen,
            "says": f"Not known yet: {seen:.0f} independent frames were seen, and an estimate takes 30.",
        }
    if drift is not None:
        low, high = drift.get("interval") or (None, None)
        inside = drift.get("inside_calibrated_range")
        return {
            "kind": "estimated",
            "title": "Estimated accuracy",
            "value": drift["estimated_top1"] if inside else None,
            "low": low if inside else None,
            "high": high if inside else None,
            "n": drift.get("effective_samples") or 0,
            "says": (
                "Estimated without labels from the model's own confidence; new classes and classes that"
                " changed their look cannot be seen this way."
                if inside
                else "Cannot tell: the frames lie outside the range that the estimate was calibrated for."
            ),
        }
    return dict(_NONE)


def answer_json(answer: Answer) -> dict[str, Any]:
    """One answer as a page shows it."""
    shot, given = answer.frame.shot, answer.classification
    return {
        "number": answer.frame.number,
        "label": given.top.label,
        "score": round(given.top.score, 4),
        "score_kind": given.score_kind,
        "top": [{"label": p.label, "score": round(p.score, 4)} for p in given.predictions],
        "truth": shot.label,
        "right": answer.right,
        "name": shot.name,
        "glass_ms": round(answer.glass_ns / 1e6, 3),
    }
