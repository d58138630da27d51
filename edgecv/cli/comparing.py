"""What ``edgecv compare`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecv.cli.evaluating import verdict

if TYPE_CHECKING:
    from edgecv.evaluate.paired import PairedDetail
    from edgecv.evaluate.pipeline import PipelineEffect
    from edgecv.layers import LayerComparison, LayerDifference
    from edgecv.stats import NonInferiority

__all__ = ["layers_text", "pair_text", "pipeline_text"]

_SHOWN = 10
#: Up to so many tensors are listed in full, in their order; of more, the worst.
_LISTED = 40
_WIDEST = 48


def pair_text(found: PairedDetail, decision: NonInferiority | None) -> str:
    """What ``compare`` says of a pair."""
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


def layers_text(found: LayerComparison) -> str:
    """The comparison tensor by tensor: where the error jumps, then the table."""
    lines = [
        f"{found.b} against {found.a}, tensor by tensor, {found.pictures} pictures:"
        f" {len(found.layers)} in common by name"
    ]
    jump = found.jump
    if jump is None:
        worst = min(found.layers, key=lambda layer: layer.sqnr_db)
        lines.append(
            f"  no jump: nowhere does the noise grow fourfold at once to more than 1 % of the signal;"
            f" worst {_short(worst.name)}, {worst.sqnr_db:.1f} dB"
        )
    else:
        lines.append(
            f"  the error jumps first at {_short(jump.name)}: {jump.sqnr_db:.1f} dB, {jump.before_db:.1f} dB in front"
            " of it"
        )
    listed: Sequence[LayerDifference] = found.layers
    if len(listed) > _LISTED:
        worst_ones = sorted(listed, key=lambda layer: layer.sqnr_db)[:_SHOWN]
        listed = [layer for layer in found.layers if layer in worst_ones]
        lines.append(f"  the worst {_SHOWN}, in the order of execution (--json has all):")
    width = max(len(_short(layer.name)) for layer in listed)
    lines.append(
        f"  {'tensor':<{width}}  {'SQNR dB':>8}  {'in front':>8}  {'largest':>9}  {'LSB':>6}"
    )
    for layer in listed:
        front = "" if layer.before_db is None else f"{layer.before_db:.1f}"
        steps = "" if layer.max_steps is None else f"{layer.max_steps:.1f}"
        lines.append(
            f"  {_short(layer.name):<{width}}  {layer.sqnr_db:8.1f}  {front:>8}  {layer.max_difference:9.4g}"
            f"  {steps:>6}{'  jump' if layer.jumps else ''}"
        )
    return "\n".join(lines)


def _short(name: str) -> str:
    """TensorFlow joins the names of everything it fused by semicolons."""
    first = name.split(";", 1)[0]
    return first if len(first) <= _WIDEST else f"…{first[1 - _WIDEST :]}"


def pipeline_text(effects: Sequence[PipelineEffect], differing: Sequence[str]) -> str:
    """What faults in front of the models do, model by model."""
    lines = ["what is in front of the models, changed on purpose (points of top-1, paired):"]
    lines += [f"  WARNING: {phrase}" for phrase in differing]
    width = max((len(effect.check.name) for effect in effects), default=0)
    model = ""
    for effect in effects:
        if effect.pair.a != model:
            model = effect.pair.a
            lines.append(f"  {model}")
        d = effect.pair.record.difference
        found = f"{100 * d.value:+7.2f} [{100 * d.low:+.2f}, {100 * d.high:+.2f}]"
        if effect.pair.max_difference == 0:
            found = "no score changes"
        mark = "  WARNING: better" if effect.better else ""
        lines.append(f"    {effect.check.name:<{width}}  {found}  {effect.check.change}{mark}")
    if any(effect.better for effect in effects):
        lines.append(
            "  A change that makes the answers better says that the preprocessing in force is not the one that the"
            "\n  model was trained with. Mend that before a difference is called quantization (--preprocess, edgecv"
            " adopt)."
        )
    return "\n".join(lines)
