"""``edgecv compare``: what changes when one model replaces another."""

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

if TYPE_CHECKING:
    from edgecv.evaluate.paired import PairedDetail
    from edgecv.stats import NonInferiority

__all__ = ["command"]

_SHOWN = 10


@click.command(name="compare")
@file_argument("reference", metavar="REFERENCE")
@file_argument("candidates", nargs=-1, required=True, metavar="CANDIDATE...")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    metavar="POINTS",
    help="Gate: exit code 0 when no candidate loses more top-1 than this, 1 when one does, 3 when the"
    " pictures are too few to say.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write a JSON file with all flips."
)
@click.option("--overwrite", is_flag=True, help="Replace the JSON file if it exists.")
@evaluation_options
def command(
    reference: Path,
    candidates: tuple[Path, ...],
    max_drop: float | None,
    json_path: Path | None,
    overwrite: bool,
    **choices: Any,
) -> None:
    """Say what changes when a CANDIDATE replaces REFERENCE, on the same pictures.

    The difference of top-1 with its paired interval, the exact McNemar test, the pictures whose answer
    changed, classes with Holm's correction, and how far scores and calibration moved. Any models of any
    engines: float and int8, two conversions, two trainings.

    \b
    edgecv compare model.float.tflite model.int8.tflite --data pictures --max-drop 0.5
    """
    from edgecv.evaluate.paired import detail
    from edgecv.stats import non_inferiority

    refuse_existing(json_path, overwrite=overwrite)
    first, *others = evaluate_models((reference, *candidates), **choices)
    found = [detail(first, other) for other in others]
    decisions = [
        None if max_drop is None else non_inferiority(one.pair.record, max_drop / 100)
        for one in found
    ]
    for one, decision in zip(found, decisions, strict=True):
        click.echo(_text(one, decision))
    if json_path:
        from edgecv.artifact import write_atomically

        record = {
            "schema": "edgecv.compare/1.0",
            "pairs": [
                {**one.to_json(), "non_inferiority": None if d is None else d.as_json()}
                for one, d in zip(found, decisions, strict=True)
            ],
        }
        write_atomically(json_path, (json.dumps(record, indent=1) + "\n").encode())
    hold_decisions(
        [(one.pair, d) for one, d in zip(found, decisions, strict=True) if d is not None]
    )


def _text(found: PairedDetail, decision: NonInferiority | None) -> str:
    pair, record = found.pair, found.pair.record
    d = record.difference
    originals = f" of {record.groups} originals" if record.groups < record.n else ""
    lines = [
        f"{pair.b} against {pair.a}, {record.n} pictures{originals}",
        f"  top-1        {100 * d.value:+.2f} points [{100 * d.low:+.2f}, {100 * d.high:+.2f}], paired;"
        f" McNemar p = {record.mcnemar_p:.3g}",
    ]
    if decision is not None:
        points = f"{100 * decision.margin:g} point{'s' if decision.margin != 0.01 else ''}"
        lines.append(f"  at most {points} lost: {verdict(decision)}")
    lines += [
        f"  answers      {100 * record.agreement.value:.2f} % agree; {record.flips} flips:"
        f" {record.to_wrong} to wrong, {record.to_right} to right,"
        f" {record.wrong_to_other_wrong} from wrong to wrong",
        f"  scores       SQNR {pair.sqnr_db:.1f} dB, largest difference {pair.max_difference:.4g}",
    ]
    if found.max_probability_change is not None and found.calibration is not None:
        before, after = found.calibration
        lines += [
            f"  probability  KL {pair.kl:.2g} nats, largest change {found.max_probability_change:.3f}",
            f"  calibration  error {100 * before.ece.value:.2f} % before, {100 * after.ece.value:.2f} % after",
        ]
    changed = [c for c in found.classes if c.to_wrong or c.to_right]
    findings = [c for c in changed if c.p_holm < 0.05]
    lines.append(
        f"  classes      {len(changed)} of {len(found.classes)} changed, {len(findings)} beyond chance"
        " (Holm, 0.05)"
    )
    for c in (findings or sorted(changed, key=lambda c: c.change))[:3]:
        lines.append(
            f"    {c.label}: {100 * c.change:+.1f} points ({c.to_wrong} to wrong, {c.to_right} to right of"
            f" {c.pictures}), p = {c.p_holm:.2g} corrected"
        )
    lost = [flip for flip in found.flips if flip.kind == "to wrong"]
    for flip in lost[:_SHOWN]:
        lines.append(f"    to wrong: {flip.path}: {flip.truth}, now {flip.after}")
    if len(lost) > _SHOWN:
        lines.append(f"    and {len(lost) - _SHOWN} more (--json names all)")
    return "\n".join(lines)
