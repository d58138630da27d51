"""``edgecv evaluate``: accuracy of models on labeled pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli.evaluating import (
    evaluate_models,
    evaluation_options,
    hold_decisions,
    refuse_existing,
    verdict,
)
from edgecv.cli.options import file_argument
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.evaluate import Evaluation, Metrics, PairedComparison
    from edgecv.stats import Estimate, NonInferiority

__all__ = ["command"]

#: Points of top-1 that may be lost, where nothing else was asked for.
_MAX_DROP = 1.0


@click.command(name="evaluate")
@file_argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--per-class", is_flag=True, help="Also print recall, precision and F1 of every class."
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    metavar="POINTS",
    help="Gate: exit code 0 when no further model loses more top-1 than this, 1 when one does, 3 when"
    " the pictures are too few to say. Without it 1 point is judged, and nothing depends on it.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write a JSON file too.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write a page: classes, confusion matrix, reliability plot.",
)
@click.option("--overwrite", is_flag=True, help="Replace the files if they exist.")
@evaluation_options
def command(
    models: tuple[Path, ...],
    per_class: bool,
    max_drop: float | None,
    json_path: Path | None,
    report_path: Path | None,
    overwrite: bool,
    **choices: Any,
) -> None:
    """Measure top-1 with its interval; with several models, compare each with the first, paired.

    A comparison ends in a decision: passed when the whole 95 % interval of the difference lies above
    the accepted loss, failed when it lies below, else undecided, with the number of pictures that
    would decide.

    \b
    edgecv evaluate model.int8.tflite --data pictures
    edgecv evaluate model.float.onnx model.int8.tflite --data run/data.json --max-drop 0.5
    edgecv evaluate model.int8.tflite --data pictures --report evaluation.html
    edgecv evaluate theirs.tflite --data pictures --labels labels.txt --preprocess signed
    """
    from edgecv.evaluate import compare, measure
    from edgecv.stats import non_inferiority

    refuse_existing(json_path, overwrite=overwrite)
    refuse_existing(report_path, overwrite=overwrite)
    if max_drop is not None and len(models) < 2:
        raise InputError(
            f"--max-drop {max_drop:g} with one model",
            cure="Name the reference first: edgecv evaluate FLOAT INT8.",
        )
    evaluations = evaluate_models(models, **choices)
    metrics = [measure(evaluation) for evaluation in evaluations]
    pairs = [compare(evaluations[0], other) for other in evaluations[1:]]
    margin = (_MAX_DROP if max_drop is None else max_drop) / 100
    decisions = [non_inferiority(pair.record, margin) for pair in pairs]
    _print(evaluations, metrics, pairs, decisions, per_class)
    if json_path:
        from edgecv.artifact import write_atomically

        record = _record(evaluations, metrics, pairs, decisions)
        write_atomically(json_path, json.dumps(record, indent=1).encode())
    if report_path:
        from edgecv.report.evaluation import write_evaluation

        write_evaluation(report_path, evaluations, metrics, pairs)
    if max_drop is not None:
        hold_decisions(list(zip(pairs, decisions, strict=True)))


def _percent(estimate: Estimate) -> str:
    value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
    return f"{value:6.2f} % [{low:.2f}, {high:.2f}]"


def _print(
    evaluations: list[Evaluation],
    metrics: list[Metrics],
    pairs: list[PairedComparison],
    decisions: list[NonInferiority],
    per_class: bool,
) -> None:
    width = max(len(e.name) for e in evaluations)
    for evaluation, found in zip(evaluations, metrics, strict=True):
        n, groups = len(evaluation.paths), len(set(evaluation.groups.tolist()))
        grouped = f", {groups} originals" if groups < n else ""
        tied = f", {evaluation.ties} ties (the first class counts)" if evaluation.ties else ""
        click.echo(
            f"{evaluation.name:<{width}}  top-1 {_percent(evaluation.top1)}  n={n}{grouped}{tied}"
        )
        _print_metrics(found, per_class)
    for pair, decision in zip(pairs, decisions, strict=True):
        record, d = pair.record, pair.record.difference
        click.echo(
            f"{pair.b} against {pair.a}: {100 * d.value:+.2f} points"
            f" [{100 * d.low:+.2f}, {100 * d.high:+.2f}] paired; agreement"
            f" {100 * record.agreement.value:.2f} %; {record.flips} flips ({record.to_wrong} to wrong,"
            f" {record.to_right} to right); McNemar p = {record.mcnemar_p:.3g}"
        )
        points = f"{100 * decision.margin:g} point{'s' if decision.margin != 0.01 else ''}"
        click.echo(f"  at most {points} lost: {verdict(decision)}")


def _print_metrics(found: Metrics, per_class: bool) -> None:
    further = [f"top-{k} {_percent(e).strip()}" for k, e in found.top_k.items() if k > 1]
    worst = found.worst
    further.append(f"macro F1 {100 * found.macro_f1:.2f} %")
    assert worst.recall is not None
    further.append(f"worst class {worst.label} {_percent(worst.recall).strip()}")
    click.echo(f"  {', '.join(further)}")
    if found.calibration is None:
        click.echo(f"  calibration: none, {found.calibration_missing}")
    else:
        c = found.calibration
        click.echo(
            f"  calibration error {_percent(c.ece).strip()}, log loss {_number(c.nll)}, Brier {_number(c.brier)}"
        )
    if per_class:
        width = max(len(one.label) for one in found.classes)
        click.echo(
            f"  {'class':<{width}}  pictures  recall                   precision                  F1"
        )
        for one in found.classes:
            recall, precision = (_percent(e) if e else "-" for e in (one.recall, one.precision))
            f1 = "-" if one.f1 is None else f"{100 * one.f1:.1f} %"
            click.echo(
                f"  {one.label:<{width}}  {one.pictures:8}  {recall:<24} {precision:<26} {f1}"
            )


def _number(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _record(
    evaluations: list[Evaluation],
    metrics: list[Metrics],
    pairs: list[PairedComparison],
    decisions: list[NonInferiority],
) -> dict[str, Any]:
    return {
        "schema": "1.0",
        "models": [
            {
                "name": e.name,
                "pictures": len(e.paths),
                "top1": e.top1.as_json(),
                "ties": e.ties,
                "per_class": {
                    label: recall.as_json()
                    for label, recall in zip(e.classes, e.per_class, strict=True)
                    if recall is not None
                },
                "metrics": m.to_json(),
                "confusion": {"rows": "truth", "labels": e.classes, "counts": e.confusion.tolist()},
            }
            for e, m in zip(evaluations, metrics, strict=True)
        ],
        "paired": [
            {
                "reference": p.a,
                "candidate": p.b,
                "difference": p.record.difference.as_json(),
                "agreement": p.record.agreement.as_json(),
                "to_wrong": p.record.to_wrong,
                "to_right": p.record.to_right,
                "mcnemar_p": p.record.mcnemar_p,
                "largest_difference": p.max_difference,
                "non_inferiority": d.as_json(),
            }
            for p, d in zip(pairs, decisions, strict=True)
        ],
    }
