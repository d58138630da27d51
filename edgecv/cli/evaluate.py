"""``edgecv evaluate``: accuracy of models on labeled pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli.options import Progress, backend_option, file_argument, threads_option
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.data import Dataset
    from edgecv.evaluate import Evaluation, PairedComparison
    from edgecv.stats import Estimate

__all__ = ["command"]


@click.command(name="evaluate")
@file_argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with one subfolder per class, or a run's data.json (then its test pictures).",
)
@click.option("--split", help="train, val or test. Default: test if there is one, else everything.")
@click.option("--per-class", is_flag=True, help="Also print the recall of every class.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write a JSON file too.")
@click.option("--overwrite", is_flag=True, help="Replace the JSON file if it exists.")
@backend_option
@threads_option
def command(
    models: tuple[Path, ...],
    data: Path,
    split: str | None,
    per_class: bool,
    json_path: Path | None,
    overwrite: bool,
    backend: str,
    threads: int,
) -> None:
    """Measure top-1 with its interval; with several models, compare each with the first, paired.

    \b
    edgecv evaluate model.int8.tflite --data pictures
    edgecv evaluate model.float.onnx model.int8.tflite --data run/data.json
    """
    from edgecv.evaluate import PixelCache, compare, evaluate
    from edgecv.runtime import Runtime

    if json_path and json_path.exists() and not overwrite:
        raise InputError(f"'{json_path}' exists", cure="Use --overwrite, or another name.")
    dataset = _dataset(data)
    chosen = split or ("test" if "test" in dataset.splits else None)
    progress, cache = Progress(), PixelCache()
    evaluations = []
    for model in models:
        with Runtime(model, backend=backend, threads=threads) as runtime:
            manifest = runtime.info.manifest
            if manifest is None or not manifest.labels:
                raise InputError(
                    f"'{model}' does not name its classes", cure="Convert it with edgecv convert."
                )
            known = _match(dataset, manifest.labels)
            items = known.of(chosen) if chosen else known.items
            progress.step(f"{model}: {len(items)} pictures")
            evaluations.append(
                evaluate(
                    runtime,
                    items,
                    known.classes,
                    cache=cache,
                    progress=lambda done, total: progress.update(f"{done} of {total}"),
                )
            )
    progress.done()
    pairs = [compare(evaluations[0], other) for other in evaluations[1:]]
    _print(evaluations, pairs, per_class)
    if json_path:
        from edgecv.artifact import write_atomically

        write_atomically(json_path, json.dumps(_record(evaluations, pairs), indent=1).encode())


def _dataset(data: Path) -> Dataset:
    from edgecv.data import load_json, scan

    return load_json(data) if data.suffix == ".json" else scan(data)


def _match(dataset: Dataset, labels: tuple[str, ...]) -> Dataset:
    """Folder names to the model's labels; 'garbage_truck' also finds 'garbage truck, dustcart'."""

    def plain(name: str) -> str:
        return name.split(",")[0].strip().lower().replace("_", " ")

    if set(dataset.classes) <= set(labels):
        return dataset.relabel(labels)
    by_plain: dict[str, list[str]] = {}
    for label in labels:
        by_plain.setdefault(plain(label), []).append(label)
    renamed = []
    for name in dataset.classes:
        found = by_plain.get(plain(name), [])
        renamed.append(found[0] if len(found) == 1 else name)
    import dataclasses

    return dataclasses.replace(dataset, classes=tuple(renamed)).relabel(labels)


def _percent(estimate: Estimate) -> str:
    value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
    return f"{value:6.2f} % [{low:.2f}, {high:.2f}]"


def _print(evaluations: list[Evaluation], pairs: list[PairedComparison], per_class: bool) -> None:
    width = max(len(e.name) for e in evaluations)
    for evaluation in evaluations:
        n, groups = len(evaluation.paths), len(set(evaluation.groups.tolist()))
        grouped = f", {groups} originals" if groups < n else ""
        click.echo(f"{evaluation.name:<{width}}  top-1 {_percent(evaluation.top1)}  n={n}{grouped}")
        if per_class:
            for label, recall in zip(evaluation.classes, evaluation.per_class, strict=True):
                if recall is not None:
                    click.echo(f"  {_percent(recall)}  {label}")
    for pair in pairs:
        record, d = pair.record, pair.record.difference
        click.echo(
            f"{pair.b} against {pair.a}: {100 * d.value:+.2f} points"
            f" [{100 * d.low:+.2f}, {100 * d.high:+.2f}] paired; agreement"
            f" {100 * record.agreement.value:.2f} %; {record.flips} flips ({record.to_wrong} to wrong,"
            f" {record.to_right} to right); McNemar p = {record.mcnemar_p:.3g}"
        )


def _record(evaluations: list[Evaluation], pairs: list[PairedComparison]) -> dict[str, Any]:
    return {
        "schema": "1.0",
        "models": [
            {
                "name": e.name,
                "pictures": len(e.paths),
                "top1": e.top1.as_json(),
                "per_class": {
                    label: recall.as_json()
                    for label, recall in zip(e.classes, e.per_class, strict=True)
                    if recall is not None
                },
            }
            for e in evaluations
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
            }
            for p in pairs
        ],
    }
