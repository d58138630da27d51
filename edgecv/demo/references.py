"""The torch models that the demo's artifacts are held against, each with what its artifact has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Preprocess
from edgecv.data import Item
from edgecv.evaluate import Evaluation, PairedComparison, compare, from_scores
from edgecv.quantize.reference import as_exported, float_islands, predict
from edgecv.train import load_float_model, load_qat_model
from edgecv.train.torch_data import Pictures, to_float

if TYPE_CHECKING:
    from torch import nn

__all__ = ["References", "torch_references"]

#: Contrary roundings are followed on every so manieth picture: a root mean square needs no more.
_EVERY = 4
#: Distance from a half, in steps, that float32 decides by chance: what the tensor gates of verification call a
#: tie. The last bit of float32 is 3e-5 at 256 to 512 steps, where sums of two 8-bit terms lie.
_CLOSE = 1e-4
#: Small batches stay in the cache: 256 pictures at once take half as long again in float64.
_BATCH = 32


@dataclass(frozen=True)
class References:
    """Torch models on the test pictures.

    Attributes:
        float_: Before quantization.
        quantized: With every quantizer.
        exported: Target → without the quantizers that its file leaves out, in float64.
        contrary: Target → the same (a) against its copy that decides close calls the other way (b), on a
            part of the pictures; empty for a net whose every operator has an integer kernel.
    """

    float_: Evaluation
    quantized: Evaluation
    exported: dict[str, Evaluation]
    contrary: dict[str, PairedComparison]


def torch_references(
    run: Path,
    items: tuple[Item, ...],
    classes: tuple[str, ...],
    preprocess: Preprocess,
    left_out: Mapping[str, tuple[str, ...]],
) -> References:
    """Evaluate them.

    Args:
        run: Folder of a run with quantization-aware training.
        items: Test pictures.
        classes: Names in the order of the outputs.
        preprocess: Of the model.
        left_out: Target → names of the quantizers that its int8 file lacks.

    Raises:
        InputError: The run is not finished.
    """
    qat = load_qat_model(run)
    some = items[::_EVERY]
    everything, part = Pictures(items, preprocess), Pictures(some, preprocess)

    def scores(model: nn.Module, pictures: Pictures) -> npt.NDArray[np.float32]:
        return predict(model, (to_float(batch) for batch, _ in pictures.batches(_BATCH)))

    exact: dict[tuple[str, ...], Evaluation] = {}
    contrary: dict[tuple[str, ...], PairedComparison] = {}
    for names in dict.fromkeys([(), *left_out.values()]):
        model = as_exported(qat, input_size=preprocess.size, left_out=names)
        title = "torch fake-quant" + (f" without {len(names)} quantizers" if names else "")
        exact[names] = from_scores(title, items, classes, scores(model, everything))
        if not float_islands(qat):
            continue
        model = as_exported(qat, input_size=preprocess.size, left_out=names, contrary=_CLOSE)
        contrary[names] = compare(
            from_scores(title, some, classes, exact[names].scores[::_EVERY]),
            from_scores(f"{title}, contrary", some, classes, scores(model, part)),
        )
    return References(
        float_=from_scores(
            "torch float", items, classes, scores(load_float_model(run), everything)
        ),
        quantized=exact[()],
        exported={target: exact[names] for target, names in left_out.items()},
        contrary={t: contrary[names] for t, names in left_out.items() if names in contrary},
    )
