"""``export_checkpoint``: from somebody's timm checkpoint, without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.data import picture_batches
from edgecv.errors import InputError
from edgecv.models import FoldReport, create, imagenet_labels
from edgecv.train.export import ExportedRun, write_exports
from edgecv.train.folder import RunFolder

__all__ = ["CheckpointOptions", "export_checkpoint"]


@dataclass(frozen=True)
class CheckpointOptions:
    """What to make of a checkpoint.

    Attributes:
        model: timm name.
        weights: State dict file.
        calibrate: Folder of pictures, any structure; they set the ranges (min-max).
        pictures: At most this many of them, evenly spread.
        size: Input (height, width) in pixels, or None for the published one.
        normalize: ``"fold"`` or ``"op"``.
        labels: Class names; None takes ImageNet's for 1000 classes and numbers otherwise.
        num_classes: Outputs; None takes the published number.
    """

    model: str
    weights: Path
    calibrate: Path
    pictures: int = 256
    size: tuple[int, int] | None = None
    normalize: str = "fold"
    labels: Sequence[str] | None = None
    num_classes: int | None = None


def export_checkpoint(
    options: CheckpointOptions,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> tuple[ExportedRun, FoldReport | None]:
    """Write the float ONNX file of a checkpoint and quantize it after training.

    Args:
        options: Model, weights, pictures.
        out: Folder for ``model.float.onnx`` and ``model.qdq.onnx``.
        overwrite: Replace files that exist.
        progress: Called with a line per step.

    Returns:
        The files, and how the folded normalization compares with the original (None when nothing
        was folded).

    Raises:
        EdgecvError: An unknown model, weights that do not fit, no pictures, files that exist.
    """
    say = progress or (lambda _: None)
    say(f"loading {options.model} from {options.weights}")
    batches: list[Any] = []

    def decode(preprocess: Preprocess) -> list[Any]:
        say(f"decoding pictures of {options.calibrate} for calibration")
        batches.extend(picture_batches(options.calibrate, preprocess, count=options.pictures))
        return batches

    made = create(
        options.model,
        num_classes=options.num_classes,
        weights=options.weights,
        size=options.size,
        normalize=options.normalize,
        fold_batches=decode,
    )
    if not batches:
        # nothing was folded, so that nothing was compared
        decode(made.preprocess)
    labels = _labels(options, made.num_classes)
    say("exporting and quantizing")
    about = Manifest(
        labels=labels, preprocess=made.preprocess, inputs=(), outputs=(), precision="float32"
    )
    exported = write_exports(
        made.module.eval(), batches, about, RunFolder(out), overwrite=overwrite
    )
    return exported, made.fold_report


def _labels(options: CheckpointOptions, classes: int) -> tuple[str, ...]:
    if options.labels is not None:
        if len(options.labels) != classes:
            raise InputError(
                f"{len(options.labels)} labels for {classes} classes",
                cure="Give one label per class.",
            )
        return tuple(options.labels)
    return imagenet_labels() if classes == 1000 else tuple(str(i) for i in range(classes))
