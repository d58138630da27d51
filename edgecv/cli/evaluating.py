"""What ``evaluate`` and ``compare`` share: options, and models over labeled pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgecv.cli.options import (
    Progress,
    backend_option,
    labels_option,
    preprocess_option,
    threads_option,
)
from edgecv.errors import GateError, InputError, InvalidMeasurementError

if TYPE_CHECKING:
    from edgecv.data import Dataset, Item
    from edgecv.evaluate import Evaluation, PairedComparison, PixelCache
    from edgecv.runtime import Runtime
    from edgecv.stats import NonInferiority

__all__ = [
    "Evaluated",
    "evaluate_models",
    "evaluation_options",
    "hold_decisions",
    "refuse_existing",
    "verdict",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Evaluated:
    """A model that was just evaluated and is still open.

    Attributes:
        runtime: The model.
        items: The pictures.
        evaluation: What it answered.
        cache: Prepared pixels.
        progress: To say what else is done with it.
    """

    runtime: Runtime
    items: Sequence[Item]
    evaluation: Evaluation
    cache: PixelCache
    progress: Progress


def evaluation_options(command: F) -> F:
    """Which pictures, how they are labeled, how models run, where scores are kept."""
    for option in reversed(
        (
            click.option(
                "--data",
                required=True,
                type=click.Path(path_type=Path),
                help="Folder with one subfolder per class, or a run's data.json (then its test pictures).",
            ),
            click.option(
                "--split",
                help="train, val or test. Default: test if there is one, else everything.",
            ),
            click.option(
                "--predictions",
                type=click.Path(path_type=Path, file_okay=False),
                metavar="DIR",
                help="Keep scores here by the pictures' content: nothing is computed twice, and an"
                " interrupted run goes on.",
            ),
            labels_option,
            preprocess_option,
            click.option(
                "--label-map",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Folder name to label (or its index): JSON, or CSV/TSV of two columns.",
            ),
            backend_option,
            threads_option,
        )
    ):
        command = option(command)
    return command


def evaluate_models(
    models: tuple[Path, ...],
    *,
    data: Path,
    split: str | None,
    predictions: Path | None,
    labels: Path | None,
    preprocess: str | None,
    label_map: Path | None,
    backend: str,
    threads: int,
    each: Callable[[Evaluated], None] | None = None,
) -> list[Evaluation]:
    """Run models one after the other over the same pictures; *each* is called while a model is open.

    Raises:
        EdgecvError: The data set, a model, a label or a picture cannot be used.
    """
    from edgecv import artifact
    from edgecv.data.label_map import map_classes, match_classes, read_label_map
    from edgecv.evaluate import PixelCache, PredictionStore, evaluate
    from edgecv.runtime import Runtime

    mapping = read_label_map(label_map) if label_map is not None else None
    dataset = _dataset(data)
    chosen = split or ("test" if "test" in dataset.splits else None)
    progress, cache = Progress(), PixelCache()
    found = []
    for model in models:
        with Runtime(
            model, backend=backend, threads=threads, labels=labels, preprocess=preprocess
        ) as runtime:
            names = runtime.info.labels
            if not names:
                raise InputError(f"'{model}' does not name its classes", cure="Add --labels FILE.")
            known = (
                match_classes(dataset, names)
                if mapping is None
                else map_classes(dataset, names, mapping)
            )
            items = known.of(chosen) if chosen else known.items
            progress.step(f"{model}: {len(items)} pictures")
            store = None
            if predictions is not None:
                identity = artifact.read(model, check="off").identity
                store = PredictionStore(predictions, runtime.info, identity)
            # a new store holds nothing, and would count as false
            with nullcontext() if store is None else store:
                found.append(
                    evaluate(
                        runtime,
                        items,
                        known.classes,
                        cache=cache,
                        store=store,
                        progress=lambda done, total: progress.update(f"{done} of {total}"),
                    )
                )
            if store is not None and store.reused:
                progress.note(f"{store.reused} scores were known from {store.path}")
            if each is not None:
                each(Evaluated(runtime, items, found[-1], cache, progress))
    progress.done()
    return found


def refuse_existing(path: Path | None, *, overwrite: bool) -> None:
    """Raise before anything is computed for a file that must not be replaced."""
    if path and path.exists() and not overwrite:
        raise InputError(f"'{path}' exists", cure="Use --overwrite, or another name.")


def _dataset(data: Path) -> Dataset:
    from edgecv.data import load_json, scan

    return load_json(data) if data.suffix == ".json" else scan(data)


def hold_decisions(judged: list[tuple[PairedComparison, NonInferiority]]) -> None:
    """Raise unless every decision is "passed"; a failure comes before what is undecided."""
    for pair, decision in judged:
        if decision.outcome == "failed":
            raise GateError(
                f"{pair.b} loses more top-1 than accepted ({decision})",
                cure="Look at the flips; train or calibrate again.",
            )
    for pair, decision in judged:
        if decision.outcome == "undecided":
            wanted = "more pictures" if decision.needed is None else f"{decision.needed} pictures"
            raise InvalidMeasurementError(
                f"{pair.b}: {pair.record.n} pictures do not decide ({decision})",
                cure=f"Evaluate on {wanted}, or accept a larger loss.",
            )


def verdict(decision: NonInferiority) -> str:
    """Outcome of a gate, with bounds in points and what would decide."""
    d = decision.difference
    bounds = f"{100 * d.confidence:g} % bounds {100 * d.low:+.2f} and {100 * d.high:+.2f}"
    if decision.outcome != "undecided":
        return f"{decision.outcome} ({bounds})"
    if decision.needed is None:
        return f"undecided ({bounds}); the difference is the margin itself"
    return (
        f"undecided ({bounds}) with {d.n} pictures; about {decision.needed} of this kind would"
        f" decide with a chance of {100 * decision.power:g} %"
    )
