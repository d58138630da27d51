"""The page of ``edgecv evaluate --report``: rates, classes, calibration, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv.evaluate import Evaluation, Metrics, PairedComparison
from edgecv.report.confusion_table import Cell, confusions, matrix
from edgecv.report.json_form import write_text
from edgecv.report.plots import GRID, INT8, MUTED, Plot, as_svg
from edgecv.report.rendering import render
from edgecv.stats import Estimate
from edgecv.stats.calibration import Calibration

__all__ = ["render_evaluation", "write_evaluation"]


@dataclass(frozen=True)
class _Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class _Model:
    name: str
    matrix: list[tuple[str, list[Cell]]]
    confusions: list[tuple[str, str, int]]


def write_evaluation(
    path: Path,
    evaluations: Sequence[Evaluation],
    metrics: Sequence[Metrics],
    pairs: Sequence[PairedComparison],
) -> None:
    """Write the page atomically; a file of that name is replaced.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        InputError: The folder cannot be written.
    """
    write_text(render_evaluation(evaluations, metrics, pairs), path)


def render_evaluation(
    evaluations: Sequence[Evaluation],
    metrics: Sequence[Metrics],
    pairs: Sequence[PairedComparison],
) -> str:
    """The page as text; every name in it is escaped.

    Args:
        evaluations: Of the same pictures.
        metrics: Of each.
        pairs: Each further model against the first.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    first = evaluations[0]
    return render(
        "evaluation.html.j2",
        classes=len(first.classes),
        pictures=len(first.paths),
        groups=len(set(first.groups.tolist())),
        tables=[_rates(evaluations, metrics), *_differences(pairs), _classes(evaluations, metrics)],
        plots=[
            _reliability(evaluation.name, found.calibration)
            for evaluation, found in zip(evaluations, metrics, strict=True)
            if found.calibration is not None
        ],
        models=[
            _Model(
                e.name,
                matrix(e.classes, e.confusion.tolist()),
                confusions(e.classes, e.confusion.tolist()),
            )
            for e in evaluations
        ],
    )


def _rates(evaluations: Sequence[Evaluation], metrics: Sequence[Metrics]) -> _Table:
    ranks = sorted({k for found in metrics for k in found.top_k})
    columns = (
        "model", *(f"top-{k}" for k in ranks), "macro F1", "worst class", "calibration error", "log loss", "Brier",
    )  # fmt: skip
    rows = []
    for evaluation, found in zip(evaluations, metrics, strict=True):
        c = found.calibration
        assert found.worst.recall is not None
        rows.append(
            (
                evaluation.name,
                *(_percent(found.top_k[k]) for k in ranks),
                f"{100 * found.macro_f1:.2f} %",
                f"{found.worst.label} {_percent(found.worst.recall)}",
                *(("-",) * 3 if c is None else (_percent(c.ece), _number(c.nll), _number(c.brier))),
            )
        )
    missing = [found.calibration_missing for found in metrics if found.calibration is None]
    return _Table("Rates", columns, tuple(rows), "; ".join(dict.fromkeys(missing)))


def _differences(pairs: Sequence[PairedComparison]) -> list[_Table]:
    if not pairs:
        return []
    columns = ("model", "top-1, points", "agreement", "to wrong", "to right", "McNemar p", "SQNR")
    rows = []
    for pair in pairs:
        record, d = pair.record, pair.record.difference
        rows.append(
            (
                f"{pair.b} against {pair.a}",
                f"{100 * d.value:+.2f} [{100 * d.low:+.2f}, {100 * d.high:+.2f}]",
                f"{100 * record.agreement.value:.2f} %",
                str(record.to_wrong),
                str(record.to_right),
                f"{record.mcnemar_p:.3g}",
                f"{pair.sqnr_db:.1f} dB",
            )
        )
    return [_Table("The same pictures through both", columns, tuple(rows))]


def _classes(evaluations: Sequence[Evaluation], metrics: Sequence[Metrics]) -> _Table:
    rows = []
    for number, label in enumerate(evaluations[0].classes):
        for evaluation, found in zip(evaluations, metrics, strict=True):
            one = found.classes[number]
            name = label if len(evaluations) == 1 else f"{label}, {evaluation.name}"
            f1 = "-" if one.f1 is None else f"{100 * one.f1:.1f} %"
            rows.append(
                (name, str(one.pictures), _percent(one.recall), _percent(one.precision), f1)
            )
    columns = ("class", "pictures", "recall", "precision", "F1")
    return _Table("Classes", columns, tuple(rows))


def _reliability(name: str, found: Calibration) -> Plot:
    """Accuracy over confidence; the bars are as dark as they have pictures."""

    def draw(axes: Any) -> None:
        most = max(part.pictures for part in found.bins)
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle="--")
        for part in found.bins:
            axes.bar(
                50 * (part.low + part.high),
                100 * part.accuracy,
                width=96 * (part.high - part.low),
                color=INT8,
                alpha=0.25 + 0.75 * part.pictures / most,
            )
            axes.plot(
                [100 * part.confidence] * 2,
                [100 * part.accuracy, 100 * part.confidence],
                color=MUTED,
                linewidth=0.8,
            )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("confidence, %")
        axes.set_ylabel("accuracy, %", color=MUTED)
        axes.grid(axis="y", color=GRID, linewidth=0.6)

    total = sum(part.pictures for part in found.bins)
    told = ", ".join(
        f"{100 * part.accuracy:.0f} % right at {100 * part.confidence:.0f} %" for part in found.bins
    )
    return Plot(
        f"Reliability, {name}",
        "Bars below the dashed line: surer than right. The darker, the more of the"
        f" {total:,} pictures; expected calibration error {_percent(found.ece)}.",
        as_svg(draw, 3.2, f"reliability {name}", f"reliability of {name}: {told}"),
    )


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate.value:.2f} % [{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


def _number(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
