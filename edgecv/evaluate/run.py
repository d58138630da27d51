"""The loop over pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Preprocess
from edgecv.data.model import Item
from edgecv.errors import InputError
from edgecv.evaluate.evaluation import Evaluation, from_scores
from edgecv.evaluate.pixels import PixelCache, PixelSource
from edgecv.evaluate.predictions import PredictionStore
from edgecv.foreign import complaint
from edgecv.preprocess import to_input
from edgecv.results import ModelInfo
from edgecv.spec import dequantize

__all__ = ["Model", "evaluate"]


class Model(Protocol):
    """What is evaluated; :class:`edgecv.runtime.Runtime` is one."""

    @property
    def info(self) -> ModelInfo:
        """Inputs, outputs, manifest."""
        ...

    def infer(self, arrays: npt.NDArray[Any], /) -> Mapping[str, npt.NDArray[Any]]:
        """Run on an array in the file's own dtype and layout."""
        ...


def evaluate(
    model: Model,
    items: Sequence[Item],
    classes: Sequence[str],
    *,
    name: str | None = None,
    cache: PixelSource | None = None,
    preprocess: Preprocess | None = None,
    store: PredictionStore | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run *model* over pictures, one at a time.

    Args:
        model: A runtime whose manifest says how pictures become inputs.
        items: N pictures whose labels index the model's outputs (see ``Dataset.relabel``).
        classes: C names, one per output.
        name: For messages and reports; by default the file's name and the engine.
        cache: Prepared pixels to share with other models; by default none is kept.
        preprocess: Instead of the model's own, to see what another does to its answers.
        store: Scores computed before; new ones are added.
        confidence: Coverage of the intervals.
        seed: Of the bootstrap.
        progress: Called with (done, total) now and then.

    Raises:
        InputError: The file does not say how to preprocess, has several inputs or outputs, has
            another number of classes, or a picture cannot be read.
        InvalidMeasurementError: A score is not finite.
    """
    info = model.info
    title = name if name is not None else _title(info)
    said = _check(info, len(classes), title)
    preprocess = said if preprocess is None else preprocess
    pixels = cache if cache is not None else PixelCache(0)
    scores = np.empty((len(items), len(classes)), np.float32)
    for row, item in enumerate(items):
        known = store.get(item.sha256) if store is not None else None
        if known is None:
            image = pixels.get(item.path, preprocess)
            outputs = model.infer(to_input(image, info.inputs[0], preprocess))
            known = _real(next(iter(outputs.values())), info)
            if store is not None:
                store.put(item.sha256, known)
        scores[row] = known
        if progress and ((row + 1) % 50 == 0 or row + 1 == len(items)):
            progress(row + 1, len(items))
    return from_scores(
        title, items, classes, scores, confidence=confidence, seed=seed, score_kind=info.score_kind
    )


def _title(info: ModelInfo) -> str:
    return f"{info.path.name if info.path else info.kind} on {info.backend}"


def _check(info: ModelInfo, classes: int, title: str) -> Preprocess:
    """The preprocessing, after everything that would fail later was checked."""
    if info.preprocess is None:
        what, cure = complaint(info.path, info.inputs, info)
        raise InputError(f"{title}: {what}", cure=cure)
    if len(info.inputs) != 1 or len(info.outputs) != 1:
        raise InputError(
            f"{title}: {len(info.inputs)} inputs and {len(info.outputs)} outputs",
            cure="A classifier has one of each.",
        )
    output = info.outputs[0]
    if output.quantization is None and not output.dtype.startswith("float"):
        raise InputError(
            f"{title}: the output of {output.dtype} does not say what its integers mean",
            cure="Evaluate a file that edgecv wrote.",
        )
    if math.prod(output.shape) != classes:
        raise InputError(
            f"{title}: {math.prod(output.shape)} outputs for {classes} classes",
            cure="Evaluate on the classes that the model was trained on.",
        )
    return info.preprocess


def _real(output: npt.NDArray[Any], info: ModelInfo) -> npt.NDArray[np.float32]:
    """The output as float32 [C]."""
    params = info.outputs[0].quantization
    real = output if params is None else dequantize(output, params)
    return np.asarray(real, np.float32).reshape(-1)
