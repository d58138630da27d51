"""``Runtime``: one API over every engine.

>>> import edgecv
>>> with edgecv.Runtime("model.int8.tflite") as runtime:  # doctest: +SKIP
...     print(runtime.classify("photo.jpg").top.label)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from edgecv import artifact
from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.errors import EdgecvError, InputError, ModelLoadError
from edgecv.preprocess import Picture, prepare, to_input
from edgecv.results import Classification, ModelInfo, Prediction, Timings
from edgecv.spec.arithmetic import dequantize
from edgecv.spec.types import QuantParams, TensorSpec
from edgecv_runtimes.base import Array, Backend
from edgecv_runtimes.registry import choose

__all__ = ["Runtime"]

_MAX_THREADS = 256


class Runtime:
    """A model file, loaded and ready.

    The file is read as bytes and its digests are checked before an engine sees it; every array is
    checked before an engine gets it. One object may be shared by threads.

    Args:
        source: Path, bytes, or ``(xml, bin)`` of an OpenVINO model; its kind is found by content.
        backend: Name of the engine, or ``"auto"`` for the one made for the kind of file.
        threads: Threads of the engine; None is 1, for every engine.
        check: ``"hash"`` refuses a file that changed since edgecv wrote it; ``"off"`` takes it as it is
            and says so in :attr:`info`.

    Raises:
        ModelLoadError: Missing, damaged, changed or refused by the engine.
        MissingExtraError: The engine is not installed; the message has the command.
        UnsupportedError: No such backend, or it does not run this kind of file.
        InputError: An argument out of range.
    """

    def __init__(
        self,
        source: artifact.Source,
        *,
        backend: str = "auto",
        threads: int | None = None,
        check: str = "hash",
    ) -> None:
        count = 1 if threads is None else threads
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MAX_THREADS:
            raise InputError(
                f"threads={threads!r} is out of range", cure=f"Use 1 to {_MAX_THREADS}."
            )
        file = artifact.read(source, check=check)
        chosen = choose(backend, file.kind)
        try:
            self._backend: Backend = chosen(file, threads=count)
            inputs = _describe(self._backend.inputs, file.manifest, "inputs")
            outputs = _describe(self._backend.outputs, file.manifest, "outputs")
        except ModelLoadError as error:
            name = f"'{file.path}'" if file.path else "the model"
            raise type(error)(f"{name}: {error.what}", cure=error.cure) from error
        self._manifest = file.manifest
        self._inputs = {spec.name: (spec, spec.shape, np.dtype(spec.dtype)) for spec in inputs}
        self._only_input = inputs[0].name if len(inputs) == 1 else None
        self._outputs = outputs
        self._closed = False
        self._lock = threading.Lock()
        self._precision: str | None = None
        self._info = ModelInfo(
            path=file.path,
            kind=file.kind,
            backend=chosen.name,
            backend_version=chosen.version(),
            threads=count,
            inputs=inputs,
            outputs=outputs,
            check=file.state,
            precision="unknown",
            manifest=file.manifest,
        )

    @property
    def info(self) -> ModelInfo:
        """What is loaded and how it runs; the executed precision is asked of the engine once."""
        with self._lock:
            if self._precision is None:
                self._refuse_closed()
                self._precision = self._backend.executed_precision()
        return replace(self._info, precision=self._precision)

    def infer(self, arrays: Array | Mapping[str, Array]) -> dict[str, Array]:
        """Run arrays in the file's own dtypes.

        Args:
            arrays: The input, or a mapping with an array for every input. Shapes, dtypes and layouts
                are those that ``info.inputs`` names; floats are finite.

        Returns:
            Output name → array in the file's own dtype, owned by the caller.

        Raises:
            InputError: An array does not fit, a name is unknown or missing, or the runtime is closed.
            ModelLoadError: The engine failed.
        """
        if isinstance(arrays, np.ndarray):
            if self._only_input is None:
                raise InputError(
                    f"the model has the inputs {', '.join(map(repr, self._inputs))}",
                    cure="Give a dictionary with an array for each.",
                )
            feeds: Mapping[str, Array] = {self._only_input: arrays}
        else:
            feeds = self._check_names(arrays)
        for name, (spec, shape, dtype) in self._inputs.items():
            array = feeds[name]
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
                raise _misfit(spec, array)
            if dtype.kind == "f" and not np.isfinite(array).all():
                raise InputError(
                    f"the input {name!r} holds NaN or infinity",
                    cure="Check where the values come from; engines answer such input with nonsense.",
                )
        if self._closed:
            self._refuse_closed()
        return self._backend.infer(feeds)

    def scores(self, image: Picture, *, color: str = "rgb") -> npt.NDArray[np.float32]:
        """The model's output for one picture as real numbers.

        Args:
            image: Path, encoded bytes, PIL image, or uint8 [H, W, 3].
            color: Channel order of an array, ``"rgb"`` or ``"bgr"``.

        Returns:
            float32 [classes], dequantized; of the kind that ``info.manifest.score_kind`` names.

        Raises:
            InputError: As :meth:`classify`.
        """
        spec, preprocess = self._picture_input()
        return self._real_output(
            self.infer(to_input(prepare(image, preprocess, color=color), spec, preprocess))
        )

    @overload
    def classify(  # type: ignore[overload-overlap]  # text is a path, never a list of letters
        self, image: Picture, top_k: int = 5, color: str = "rgb"
    ) -> Classification: ...
    @overload
    def classify(
        self, image: Sequence[Picture], top_k: int = 5, color: str = "rgb"
    ) -> list[Classification]: ...
    def classify(
        self, image: Picture | Sequence[Picture], top_k: int = 5, color: str = "rgb"
    ) -> Classification | list[Classification]:
        """Name what a picture shows.

        Scores are probabilities: the softmax of a model that gives logits, else the model's own.

        Args:
            image: Path, encoded bytes, PIL image, or uint8 [H, W, 3]; or a list of those.
            top_k: Classes in the answer, best first; at most as many as there are.
            color: Channel order of arrays, ``"rgb"`` or ``"bgr"``.

        Returns:
            An answer, or for a list a list of answers.

        Raises:
            InputError: The file names no labels or no preprocessing, the picture cannot be read, or
                *top_k* is not positive.
        """
        if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
            raise InputError(f"top_k={top_k!r} is not a positive integer", cure="Use 1 or more.")
        if isinstance(image, list | tuple):
            return [self._classify(one, top_k, color) for one in image]
        return self._classify(image, top_k, color)  # type: ignore[arg-type]

    def close(self) -> None:
        """Give the engine's memory back; any call after that is an error. May be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return (
            f"<Runtime {str(self._info.path or self._info.kind)!r} on {self._info.backend}{state}>"
        )

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InputError("the runtime is closed", cure="Make a new Runtime.")

    def _check_names(self, arrays: Any) -> Mapping[str, Array]:
        if not isinstance(arrays, Mapping):
            raise InputError(
                f"{type(arrays).__name__} is no input",
                cure="Give a NumPy array, or a dictionary of them by input name.",
            )
        if arrays.keys() != self._inputs.keys():
            raise InputError(
                f"the inputs {sorted(map(str, arrays))} are not the model's",
                cure=f"Give exactly these: {', '.join(map(repr, self._inputs))}.",
            )
        return arrays

    def _classify(self, image: Picture, top_k: int, color: str) -> Classification:
        began = time.perf_counter_ns()
        spec, preprocess = self._picture_input()
        manifest = self._labeled()
        array = to_input(prepare(image, preprocess, color=color), spec, preprocess)
        ready = time.perf_counter_ns()
        outputs = self.infer(array)
        answered = time.perf_counter_ns()
        scores = self._real_output(outputs).astype(np.float64)
        if len(scores) != len(manifest.labels):
            raise InputError(
                f"the model has {len(scores)} outputs and the file names {len(manifest.labels)} labels",
                cure="Correct the labels in the file's manifest.",
            )
        if manifest.score_kind == "logit":
            scores = _softmax(scores)
        best = np.argsort(-scores, kind="stable")[:top_k]
        predictions = tuple(Prediction(int(i), manifest.labels[i], float(scores[i])) for i in best)
        done = time.perf_counter_ns()
        timings = Timings(ready - began, answered - ready, done - answered)
        return Classification(predictions, "probability", timings)

    def _picture_input(self) -> tuple[TensorSpec, Preprocess]:
        """The one input that takes a picture, and how a picture becomes it."""
        if len(self._inputs) != 1:
            raise InputError(
                f"the model has {len(self._inputs)} inputs, so it takes no single picture",
                cure="Run arrays with .infer.",
            )
        [(spec, _, _)] = self._inputs.values()
        if self._manifest is None or self._manifest.preprocess is None:
            raise InputError(
                f"the file does not say how a picture becomes its input; {_suggestion(spec)}",
                cure="Run arrays with .infer, or use a file that edgecv converted.",
            )
        return spec, self._manifest.preprocess

    def _labeled(self) -> Manifest:
        if self._manifest is None or not self._manifest.labels:
            raise InputError(
                "the file names no labels",
                cure="Use .scores for the bare output, or a file that edgecv converted with labels.",
            )
        return self._manifest

    def _real_output(self, outputs: Mapping[str, Array]) -> npt.NDArray[np.float32]:
        if len(self._outputs) != 1:
            raise InputError(
                f"the model has {len(self._outputs)} outputs, so none is the score",
                cure="Run arrays with .infer.",
            )
        [spec] = self._outputs
        array = outputs[spec.name].reshape(-1)
        if spec.quantization is not None:
            return dequantize(array, spec.quantization)
        if array.dtype.kind != "f":
            raise InputError(
                f"the output {spec.name!r} of {spec.dtype} does not say what its integers mean",
                cure="Run arrays with .infer.",
            )
        return array.astype(np.float32)


def _describe(
    engine: tuple[TensorSpec, ...], manifest: Manifest | None, edge: str
) -> tuple[TensorSpec, ...]:
    """The engine's specs, with the layout and quantization that the manifest adds.

    Raises:
        ModelLoadError: The manifest speaks of other tensors than the file has.
    """
    told: tuple[TensorSpec, ...] = getattr(manifest, edge) if manifest is not None else ()
    if not told:
        return engine
    by_name = {spec.name: spec for spec in told}
    result = []
    for spec in engine:
        other = by_name.get(spec.name)
        if other is None or len(told) != len(engine):
            raise ModelLoadError(
                f"its manifest names the {edge} {sorted(by_name)}, the file has {spec.name!r}",
                cure="Convert it again.",
            )
        if (other.shape, other.dtype) != (spec.shape, spec.dtype) or (
            spec.quantization not in (None, other.quantization)
        ):
            raise ModelLoadError(
                f"its manifest says of {spec.name!r} {_tensor(other)}, the file {_tensor(spec)}",
                cure="Convert it again.",
            )
        result.append(
            replace(spec, layout=other.layout or spec.layout, quantization=other.quantization)
        )
    return tuple(result)


def _tensor(spec: TensorSpec) -> str:
    grid = spec.quantization
    return f"{spec.dtype} {list(spec.shape)}" + (
        f" scale {grid.scale!r} zero point {grid.zero_point}" if grid else ""
    )


def _misfit(spec: TensorSpec, array: Any) -> EdgecvError:
    """What is wrong with an array for *spec*, and how to mend it."""
    wanted = f"{spec.dtype} {list(spec.shape)}" + (f" ({spec.layout})" if spec.layout else "")
    if not isinstance(array, np.ndarray):
        return InputError(
            f"the input {spec.name!r} is {type(array).__name__}, not a NumPy array",
            cure=f"Give {wanted}.",
        )
    given = f"{array.dtype} {list(array.shape)}"
    cure = f"Give {wanted}."
    if array.shape == spec.shape:
        if spec.quantization is not None and array.dtype.kind == "f":
            cure = (
                f"Quantize it: round(x / {spec.quantization.scale:.9g}) + {spec.quantization.zero_point},"
                f" clipped to {spec.dtype}."
            )
    elif array.ndim == len(spec.shape) - 1 and array.shape == spec.shape[1:]:
        cure = "Add the batch dimension: x[np.newaxis]."
    elif array.ndim == 4 and array.shape[1:] == spec.shape[1:]:
        cure = "The model takes one picture at a time."
    elif array.ndim == 4 and array.transpose(0, 3, 1, 2).shape == spec.shape:
        cure = f"The model wants {spec.layout or 'NCHW'}: x.transpose(0, 3, 1, 2)."
    elif array.ndim == 4 and array.transpose(0, 2, 3, 1).shape == spec.shape:
        cure = f"The model wants {spec.layout or 'NHWC'}: x.transpose(0, 2, 3, 1)."
    return InputError(f"{given} does not fit the input {spec.name!r}: {wanted}", cure=cure)


def _suggestion(spec: TensorSpec) -> str:
    """What the grid of an input says of the values that belong on it."""
    grid: QuantParams | None = spec.quantization
    if grid is None:
        return f"its {spec.dtype} input suggests nothing"
    low, high = np.iinfo(grid.dtype).min, np.iinfo(grid.dtype).max
    first, last = (low - grid.zero_point) * grid.scale, (high - grid.zero_point) * grid.scale
    known = {(0, 1): "pixels / 255", (-1, 1): "pixels / 127.5 - 1", (0, 255): "raw pixels"}
    close = [
        text
        for (begin, end), text in known.items()
        if abs(first - begin) + abs(last - end) < 0.03 * (end - begin)
    ]
    meaning = f", that is {close[0]}" if close else ""
    return f"its input grid spans {first:.3g} to {last:.3g}{meaning}"


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    result: npt.NDArray[np.float64] = powers / powers.sum()
    return result
