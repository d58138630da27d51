"""``edgecv compare``: what changes when one model replaces another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli.comparing import layers_text, pair_text, pipeline_text
from edgecv.cli.evaluating import (
    Evaluated,
    evaluate_models,
    evaluation_options,
    hold_decisions,
    refuse_existing,
)
from edgecv.cli.options import file_argument

if TYPE_CHECKING:
    from edgecv.artifact import ModelFile, Preprocess
    from edgecv.evaluate.pipeline import PipelineEffect
    from edgecv.layers import LayerComparison

__all__ = ["command"]


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
    "--layers",
    is_flag=True,
    help="Compare tensor by tensor, too, and name the first layer where the error jumps.",
)
@click.option(
    "--pipeline",
    is_flag=True,
    help="Change what is in front of the models, too (channel order, resizing, crop, JPEG), so that a fault"
    " there is not taken for quantization.",
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
    layers: bool,
    pipeline: bool,
    json_path: Path | None,
    overwrite: bool,
    **choices: Any,
) -> None:
    """Say what changes when a CANDIDATE replaces REFERENCE, on the same pictures.

    The difference of top-1 with its paired interval, the exact McNemar test, the pictures whose answer
    changed, classes with Holm's correction, and how far scores and calibration moved. Any models of any
    engines: float and int8, two conversions, two trainings.
    --layers and --pipeline look for the cause.

    \b
    edgecv compare model.float.tflite model.int8.tflite --data pictures --max-drop 0.5
    """
    from edgecv.evaluate.paired import detail
    from edgecv.stats import non_inferiority

    refuse_existing(json_path, overwrite=overwrite)
    extras = _Extras(layers=layers, pipeline=pipeline)
    first, *others = evaluate_models((reference, *candidates), each=extras.add, **choices)
    found = [detail(first, other) for other in others]
    decisions = [
        None if max_drop is None else non_inferiority(one.pair.record, max_drop / 100)
        for one in found
    ]
    compared = extras.compared_layers()
    for one, decision in zip(found, decisions, strict=True):
        click.echo(pair_text(one, decision))
    for comparison in compared:
        click.echo(layers_text(comparison))
    if pipeline:
        click.echo(pipeline_text(extras.effects, extras.differences()))
    if json_path:
        from edgecv.artifact import write_atomically

        record = {
            "schema": "edgecv.compare/1.1",
            "pairs": [
                {**one.to_json(), "non_inferiority": None if d is None else d.as_json()}
                for one, d in zip(found, decisions, strict=True)
            ],
            "layers": [comparison.to_json() for comparison in compared],
            "pipeline": [effect.to_json() for effect in extras.effects],
        }
        write_atomically(json_path, (json.dumps(record, indent=1) + "\n").encode())
    hold_decisions(
        [(one.pair, d) for one, d in zip(found, decisions, strict=True) if d is not None]
    )


#: Pictures that layers are compared on: the ratios settle after a few.
_LAYER_PICTURES = 16


class _Extras:
    """What is done with each model while it is open."""

    def __init__(self, *, layers: bool, pipeline: bool) -> None:
        self._layers, self._pipeline = layers, pipeline
        self._feeds: list[tuple[str, ModelFile, list[Any]]] = []
        self._prepared: list[tuple[str, Preprocess]] = []
        self.effects: list[PipelineEffect] = []

    def add(self, model: Evaluated) -> None:
        """Keep what the comparison of layers needs; run the checks of the pipeline."""
        info = model.runtime.info
        name = model.evaluation.name
        assert info.preprocess is not None, "evaluation would have refused it"
        self._prepared.append((name, info.preprocess))
        if self._layers and info.path is not None:
            from edgecv import artifact
            from edgecv.preprocess import to_input

            stride = max(1, len(model.items) // _LAYER_PICTURES)
            some = model.items[::stride][:_LAYER_PICTURES]
            feeds = [
                to_input(
                    model.cache.get(item.path, info.preprocess), info.inputs[0], info.preprocess
                )
                for item in some
            ]
            self._feeds.append((name, artifact.read(info.path, check="off"), feeds))
        if self._pipeline:
            from edgecv.evaluate.pipeline import check_pipeline

            self.effects += check_pipeline(
                model.runtime,
                model.evaluation,
                model.items,
                cache=model.cache,
                progress=lambda check: model.progress.step(f"{name}: {check}"),
            )

    def compared_layers(self) -> list[LayerComparison]:
        """The first model against each other, tensor by tensor."""
        if not self._feeds:
            return []
        from edgecv.layers import compare_layers, open_taps

        (name, file, feeds), *others = self._feeds
        return [
            compare_layers(
                open_taps(file),
                open_taps(candidate),
                list(zip(feeds, given, strict=True)),
                names=(name, title),
            )
            for title, candidate, given in others
        ]

    def differences(self) -> list[str]:
        """Where a candidate prepares pictures otherwise than the reference."""
        from edgecv.evaluate.pipeline import differences

        (first, own), *others = self._prepared
        return [
            f"{first} and {name} differ in {phrase}"
            for name, other in others
            for phrase in differences(own, other)
        ]
