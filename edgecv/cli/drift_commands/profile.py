"""``edgecv drift profile``: reference statistics and the accuracy estimator, into the model's manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli.options import (
    Progress,
    backend_option,
    file_argument,
    overwrite_option,
    threads_option,
)
from edgecv.errors import InputError, require

if TYPE_CHECKING:
    from edgecv.data import Item
    from edgecv.drift import DriftProfile
    from edgecv.runtime import Runtime

__all__ = ["command"]


@click.command(name="profile")
@file_argument("model")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="REF",
    help="Labeled reference pictures that the model was not trained on: a folder with one subfolder per"
    " class, or a run's data.json.",
)
@click.option(
    "--split", help="train, val or test. Default: val if there is one, else test, else everything."
)
@click.option(
    "--float",
    "float_model",
    type=click.Path(path_type=Path),
    metavar="FLOAT_MODEL",
    help="Also store what int8 costs against this model on the same pictures, paired.",
)
@click.option(
    "--label-map",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Folder name to label (or its index): JSON, or CSV/TSV of two columns.",
)
@click.option(
    "--pictures",
    type=click.IntRange(100, 100_000),
    default=2000,
    show_default=True,
    help="Reference pictures used, drawn by chance.",
)
@click.option(
    "--per-condition",
    type=click.IntRange(40, 10_000),
    default=300,
    show_default=True,
    help="Pictures scored under each of 42 corruptions; half as many under each of 60 pairs of them.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write it here, too.")
@overwrite_option
@backend_option
@threads_option
def command(
    model: Path,
    data: Path,
    split: str | None,
    float_model: Path | None,
    label_map: Path | None,
    pictures: int,
    per_condition: int,
    seed: int,
    json_path: Path | None,
    overwrite: bool,
    backend: str,
    threads: int,
) -> None:
    """Make the drift profile of MODEL and store it in its manifest (some ten kilobytes of JSON).

    The reference pictures are scored as they are, under 42 synthetic corruptions and under 60 pairs of them.
    There an estimator learns to tell a window's accuracy without labels; its error is measured on pictures and
    on kinds of corruption that the fit had not seen, and printed beside two estimators that need no fit.

    \b
    edgecv drift profile model.int8.tflite --data pictures --float model.float.tflite
    """
    from edgecv import artifact
    from edgecv.drift.fit import FitOptions
    from edgecv.drift.making import make_profile, store_profile
    from edgecv.runtime import Runtime

    require("sklearn", extra="drift")
    file = artifact.read(model)
    if file.manifest is None:
        raise InputError(
            f"'{model}' has no manifest to keep a profile in",
            cure="Make a copy with one: edgecv adopt MODEL --labels FILE --preprocess … --out NEW",
        )
    taken = [model] if file.manifest.drift_profile is not None else []
    taken += [json_path] if json_path is not None and json_path.exists() else []
    if taken and not overwrite:
        what = "has a drift profile" if taken[0] == model else "exists"
        raise InputError(f"'{taken[0]}' {what}", cure="Use --overwrite.")
    progress = Progress()
    with Runtime(model, backend=backend, threads=threads) as runtime:
        items = _items(runtime, data, split, label_map)
        against = None
        if float_model is not None:
            progress.step(f"{model.name} against {float_model.name}")
            against = _against_float(runtime, float_model, items[:pictures], backend, threads)
        progress.step(f"{min(pictures, len(items))} reference pictures, clean and corrupted")
        profile = make_profile(
            runtime,
            items,
            file.identity,
            FitOptions(per_condition=per_condition, seed=seed),
            most=pictures,
            against_float=against,
            progress=lambda done, total: progress.update(f"{done} of {total}"),
        )
    progress.done()
    size = store_profile(model, profile, overwrite=overwrite)
    if json_path is not None:
        artifact.write_atomically(json_path, json.dumps(profile.as_json(), indent=1).encode())
    click.echo(_summary(model, profile, size))


def _items(
    runtime: Runtime, data: Path, split: str | None, label_map: Path | None
) -> tuple[Item, ...]:
    from edgecv.data import load_json, scan
    from edgecv.data.label_map import map_classes, match_classes, read_label_map

    names = runtime.info.labels
    if not names:
        raise InputError("the model does not name its classes", cure="See edgecv adopt --labels.")
    dataset = load_json(data) if data.suffix == ".json" else scan(data)
    if label_map is None:
        known = match_classes(dataset, names)
    else:
        known = map_classes(dataset, names, read_label_map(label_map))
    chosen = split or next((s for s in ("val", "test") if s in known.splits), None)
    return known.of(chosen) if chosen else known.items


def _against_float(
    runtime: Runtime, float_model: Path, items: tuple[Item, ...], backend: str, threads: int
) -> dict[str, Any]:
    from edgecv.evaluate import PixelCache, compare, evaluate
    from edgecv.runtime import Runtime

    cache = PixelCache()
    with Runtime(float_model, backend=backend, threads=threads) as other:
        if other.info.labels != runtime.info.labels:
            raise InputError(
                f"'{float_model}' has other labels", cure="Give the float file of this model."
            )
        classes = runtime.info.labels
        reference = evaluate(other, items, classes, cache=cache)
    record = compare(reference, evaluate(runtime, items, classes, cache=cache)).record
    return {
        "pictures": record.n,
        "difference": record.difference.as_json(),
        "agreement": record.agreement.as_json(),
        "to_wrong": record.to_wrong,
        "to_right": record.to_right,
        "mcnemar_p": record.mcnemar_p,
    }


def _summary(model: Path, profile: DriftProfile, size: int) -> str:
    reference, chosen = profile.reference, profile.estimator.method
    lines = [
        f"{model}: drift profile of {size / 1000:.0f} kB",
        f"  reference   top-1 {100 * reference.top1:.2f} % [{100 * reference.low:.2f},"
        f" {100 * reference.high:.2f}] on {reference.pictures} pictures",
        f"  estimators  error in points on windows of {profile.estimator.window} frames, under kinds of"
        " corruption and on pictures that their fit had not seen:",
        "              method   mean abs.  other class mix   bias    90 %   worst",
    ]
    for name, row in profile.held_out.items():
        mark = "  <- chosen" if name == chosen else ""
        lines.append(
            f"              {name:<8} {row['mae']:8.1f} {row['mix_mae']:14.1f} {row['bias']:+9.1f}"
            f" {row['p90']:7.1f} {row['worst']:7.1f}{mark}"
        )
    if profile.against_float is not None:
        d = profile.against_float["difference"]
        lines.append(
            f"  int8        {100 * d['value']:+.2f} points [{100 * d['low']:+.2f}, {100 * d['high']:+.2f}]"
            f" against float, paired, n={profile.against_float['pictures']}"
        )
    return "\n".join(lines)
