"""From pictures to a model's input, and from its output to answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError
from edgecv.foreign import Reading, complaint
from edgecv.spec.arithmetic import dequantize
from edgecv.spec.types import TensorSpec

if TYPE_CHECKING:
    from edgecv.preprocess import Picture
    from edgecv.results import Classification, Timings

__all__ = ["PictureEdge"]

Real = npt.NDArray[np.float32]


class PictureEdge:
    """The edge of a model that takes pictures and gives one score per class.

    Making one checks nothing: a model without pictures runs arrays. What is missing is said when a
    picture comes.

    Args:
        inputs: Of the model.
        outputs: Of the model.
        reading: Labels, preprocessing and what the scores are, and who says so.
        resize: ``"exact"``, ``"fast"`` or ``"fastest"``.
        path: Of the model, for what to say where no preprocessing is known.
    """

    def __init__(
        self,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        reading: Reading,
        *,
        resize: str,
        path: Path | None,
    ) -> None:
        self._inputs, self._outputs, self._reading = inputs, outputs, reading
        self._resize, self._path = resize, path

    @property
    def batch(self) -> int:
        """Pictures that the file takes at once."""
        return self._inputs[0].shape[0] if len(self._inputs) == 1 and self._inputs[0].shape else 1

    def array(self, images: Sequence[Picture], color: str) -> npt.NDArray[Any]:
        """Pictures as the model's input.

        Args:
            images: At least one.
            color: Channel order of arrays.

        Returns:
            [len(images), …] in the file's own dtype and layout.

        Raises:
            InputError: The model takes no single picture, nobody says how a picture becomes its input,
                or one of *images* is none.
        """
        from edgecv.preprocess import prepare, to_input  # Pillow comes with the first picture

        if len(self._inputs) != 1:
            raise InputError(
                f"the model has {len(self._inputs)} inputs, so it takes no single picture",
                cure="Run arrays with .infer.",
            )
        preprocess = self._reading.preprocess
        if preprocess is None:
            what, cure = complaint(self._path, self._inputs, self._reading)
            raise InputError(what, cure=cure)
        [spec] = self._inputs
        if spec.shape[:1] != (1,):
            spec = replace(spec, shape=(1, *spec.shape[1:]))
        arrays = [
            to_input(prepare(image, preprocess, color=color, mode=self._resize), spec, preprocess)
            for image in images
        ]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def real(self, outputs: Mapping[str, npt.NDArray[Any]]) -> Real:
        """The model's one output as real numbers, float32 [pictures, classes].

        Raises:
            InputError: The model has several outputs, or integers without a meaning.
        """
        if len(self._outputs) != 1:
            raise InputError(
                f"the model has {len(self._outputs)} outputs, so none is the score",
                cure="Run arrays with .infer.",
            )
        [spec] = self._outputs
        array = outputs[spec.name]
        array = array.reshape(array.shape[0] if array.ndim > 1 else 1, -1)
        if spec.quantization is not None:
            return dequantize(array, spec.quantization)
        if array.dtype.kind != "f":
            raise InputError(
                f"the output {spec.name!r} of {spec.dtype} does not say what its integers mean",
                cure="Run arrays with .infer.",
            )
        return array.astype(np.float32)

    def check_labels(self) -> None:
        """Raise where no label can be named, before the engine works for nothing."""
        if not self._reading.labels:
            why = f" ({'; '.join(self._reading.notes)})" if self._reading.notes else ""
            raise InputError(
                f"nobody says what the model's classes are called{why}",
                cure="Give labels=… (--labels FILE), or use .scores for the bare output.",
            )

    def answer(self, scores: Real, top_k: int, timings: Timings) -> Classification:
        """The best classes of one picture.

        Args:
            scores: Real numbers, [classes].
            top_k: How many.
            timings: Of the call.

        Raises:
            InputError: There are not as many labels as classes.
        """
        from edgecv.results.classification import Classification, Prediction, Probabilities

        labels, kind = self._reading.labels, self._reading.score_kind
        if len(scores) != len(labels):
            raise InputError(
                f"the model has {len(scores)} outputs, and {len(labels)} labels come from the"
                f" {self._reading.labels_from or 'caller'}",
                cure="Give the labels of this model: labels=… (--labels FILE).",
            )
        exact = scores.astype(np.float64)
        if kind == "logit":
            exact, kind = _softmax(exact), "probability"
        best = np.argsort(-exact, kind="stable")[:top_k]
        predictions = tuple(Prediction(int(i), labels[i], float(exact[i])) for i in best)
        return Classification(
            predictions, kind or "score", timings, Probabilities(exact.astype(np.float32))
        )


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    result: npt.NDArray[np.float64] = powers / powers.sum()
    return result
