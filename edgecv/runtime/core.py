"""The class :class:`edgecv.Runtime`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import numpy.typing as npt

from edgecv import artifact
from edgecv.errors import InputError, ModelLoadError
from edgecv.foreign import LabelsSource, PreprocessSource, resolve
from edgecv.preprocess import DEVIATION, MODES, check_mode
from edgecv.results.model_info import ModelInfo
from edgecv.runtime.edges import all_finite, describe, misfit, one_of
from edgecv.runtime.pictures import PictureEdge
from edgecv_runtimes.base import FLOAT_PRECISIONS, Array, Backend, ExecutedLayer, ListsLayers
from edgecv_runtimes.registry import choose

if TYPE_CHECKING:
    from edgecv.preprocess import Picture
    from edgecv.results import Classification, Profile, StreamAnswer

__all__ = ["Runtime"]

_MAX_THREADS = 256
_CHECKS = ("hash", "trial", "off")


class Runtime:
    """A model file, loaded and ready.

    The file is read as bytes and its digests are checked before an engine sees it; every array is
    checked before an engine gets it. One object may be shared by threads; :meth:`clone` gives a
    thread one of its own.

    Args:
        source: Path, bytes, or ``(xml, bin)`` of an OpenVINO model; its kind is found by content.
        backend: Name of the engine, or ``"auto"`` for the one made for the kind of file.
        threads: Threads of the engine; None is 1, for every engine.
        float_precision: What floating-point layers compute in: ``"f32"``, or ``"f16"`` and ``"bf16"``
            where the engine can (OpenVINO). int8 layers are not concerned.
        check: ``"hash"`` refuses a file that changed since edgecv wrote it; ``"trial"`` also runs a
            file without a manifest in a process of its own first, since a damaged file can kill the
            process that loads it; ``"off"`` takes it as it is and says so in :attr:`info`.
        resize: ``"exact"`` (timm's pixels), ``"fast"`` or ``"fastest"``; :attr:`info` has the
            deviation that was measured for each.
        labels: Names of the classes, or a text or JSON file of them, for a file that has none.
        preprocess: From picture to input: ``"raw"``, ``"unit"``, ``"signed"``, ``"imagenet"``, a JSON
            file, or a :class:`~edgecv.Preprocess`, for a file that does not say.

    Raises:
        ModelLoadError: Missing, damaged, changed or refused by the engine.
        MissingExtraError: The engine is not installed; the message has the command.
        UnsupportedError: No such backend, or it does not run this kind of file or this precision.
        InputError: An argument out of range.
    """

    def __init__(
        self,
        source: artifact.Source,
        *,
        backend: str = "auto",
        threads: int | None = None,
        float_precision: str = "f32",
        check: str = "hash",
        resize: str = "exact",
        labels: LabelsSource | None = None,
        preprocess: PreprocessSource | None = None,
    ) -> None:
        count = 1 if threads is None else threads
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MAX_THREADS:
            raise InputError(
                f"threads={threads!r} is out of range", cure=f"Use 1 to {_MAX_THREADS}."
            )
        one_of("float_precision", float_precision, FLOAT_PRECISIONS)
        one_of("check", check, _CHECKS)
        one_of("resize", resize, MODES)
        check_mode(resize)
        file = artifact.read(source, check="off" if check == "off" else "hash")
        chosen = choose(backend, file.kind)
        state = file.state
        if check == "trial" and state == "unsigned":
            from edgecv.runtime.trial import run_trial

            run_trial(file, backend=chosen.name, threads=count, float_precision=float_precision)
            state = "tried"
        try:
            self._backend: Backend = chosen(file, threads=count, float_precision=float_precision)
            inputs = describe(self._backend.inputs, file.manifest, "inputs")
            outputs = describe(self._backend.outputs, file.manifest, "outputs")
        except ModelLoadError as error:
            name = f"'{file.path}'" if file.path else "the model"
            raise type(error)(f"{name}: {error.what}", cure=error.cure) from error
        reading = resolve(file, inputs, outputs, labels, preprocess)
        self._pictures = PictureEdge(inputs, outputs, reading, resize=resize, path=file.path)
        self._inputs = {spec.name: (spec, spec.shape, np.dtype(spec.dtype)) for spec in inputs}
        self._only_input = inputs[0].name if len(inputs) == 1 else None
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
            check=state,
            precision="unknown",
            manifest=file.manifest,
            float_precision=float_precision,
            resize=resize,
            resize_deviation=DEVIATION[resize].mean,
            labels=reading.labels,
            labels_from=reading.labels_from,
            preprocess=reading.preprocess,
            preprocess_from=reading.preprocess_from,
            score_kind=reading.score_kind,
            notes=reading.notes,
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

        A file takes as many pictures at once as its first dimension says. Other numbers of them run
        in as many calls as it needs, where its outputs keep the pictures apart.

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
        whole = True
        for name, (spec, shape, dtype) in self._inputs.items():
            array = feeds[name]
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
                from edgecv.runtime.batches import is_other_batch

                whole = False
                if not is_other_batch(array, shape, dtype, self._info.outputs):
                    raise misfit(spec, array)
            if dtype.kind == "f" and not all_finite(array):
                raise InputError(
                    f"the input {name!r} holds NaN or infinity",
                    cure="Check where the values come from; engines answer such input with nonsense.",
                )
        if self._closed:
            self._refuse_closed()
        if whole:
            return self._backend.infer(feeds)
        from edgecv.runtime.batches import in_batches

        return in_batches(self._backend.infer, feeds, self._info.inputs)

    def scores(self, image: Picture, *, color: str = "rgb") -> npt.NDArray[np.float32]:
        """The model's output for one picture as real numbers.

        Args:
            image: Path, encoded bytes, PIL image, or uint8 [H, W, 3].
            color: Channel order of an array, ``"rgb"`` or ``"bgr"``.

        Returns:
            float32 [classes], dequantized; of the kind that ``info.manifest.score_kind`` names.

        Raises:
            InputError: As :meth:`classify`, labels apart.
        """
        scores = self._pictures.real(self.infer(self._pictures.array([image], color)))
        first: npt.NDArray[np.float32] = scores[0]
        return first

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
        Where nobody says which of the two a stranger's model gives, they are its bare output.

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
        if not isinstance(image, list | tuple):
            return self._classify([image], top_k, color)[0]  # type: ignore[list-item]
        size = self._pictures.batch
        return [
            answer
            for start in range(0, len(image), size)
            for answer in self._classify(image[start : start + size], top_k, color)
        ]

    def stream(
        self,
        frames: Iterable[Picture],
        *,
        top_k: int = 5,
        color: str = "rgb",
        policy: str = "latest",
    ) -> Iterator[StreamAnswer]:
        """Name what the frames of a camera show.

        Args:
            frames: Pictures, without end or with one.
            top_k: Classes in each answer.
            color: Channel order of arrays: OpenCV's cameras give ``"bgr"``.
            policy: ``"latest"`` keeps the newest frame only, drops what the model has no time for, and
                counts it; ``"all"`` classifies every one.

        Yields:
            The frame with its answer, how many were dropped before it, and its age.

        Raises:
            InputError: As :meth:`classify`, or *policy* is unknown.
        """
        from edgecv.runtime.stream import stream

        return stream(frames, lambda one: self.classify(one, top_k, color), policy)

    def warmup(self, runs: int = 3) -> tuple[float, ...]:
        """Run noise, so that the first picture does not pay for first-time work.

        Args:
            runs: At least 1.

        Returns:
            Wall time of each, in milliseconds; the first is usually the longest.
        """
        from edgecv.runtime.profile import noise

        if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
            raise InputError(f"runs={runs!r} is not a positive integer", cure="Use 1 or more.")
        feeds, times = noise(self._info.inputs), []
        for _ in range(runs):
            began = time.perf_counter_ns()
            self.infer(feeds)
            times.append((time.perf_counter_ns() - began) / 1e6)
        return tuple(times)

    def profile(self, image: Picture | None = None, *, runs: int = 20) -> Profile:
        """Where the time of an answer goes: per stage, and per layer where the engine says it.

        Args:
            image: What to classify; by default noise of 640 by 480 pixels.
            runs: Calls behind each figure; an engine that is asked for layers is slower meanwhile.

        Returns:
            Medians; ``print`` shows them with the slowest layers first.
        """
        from edgecv.runtime.profile import profile

        takes_pictures = bool(self._info.preprocess and self._info.labels)
        return profile(
            self._backend,
            self._info.inputs,
            self.classify if takes_pictures else None,
            self.infer,
            image=image,
            runs=runs,
            clock=time.perf_counter_ns,
        )

    def executed_layers(self) -> tuple[ExecutedLayer, ...]:
        """What carries the arithmetic, in execution order; empty where the engine does not say.

        Raises:
            InputError: The runtime is closed.
        """
        with self._lock:
            self._refuse_closed()
            backend = self._backend
            return backend.executed_layers() if isinstance(backend, ListsLayers) else ()

    def clone(self) -> Self:
        """The same model with buffers of its own, for another thread.

        One object may be shared; but an engine with one set of buffers (LiteRT) then answers one
        thread after the other. Each clone is closed by itself.

        Raises:
            InputError: The runtime is closed.
        """
        with self._lock:
            self._refuse_closed()
            other = type(self).__new__(type(self))
            other.__dict__.update(self.__dict__)
            other._backend = self._backend.clone()
        other._lock = threading.Lock()
        return other

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

    def _classify(self, images: Sequence[Picture], top_k: int, color: str) -> list[Classification]:
        from edgecv.results.classification import Timings

        began = time.perf_counter_ns()
        if self._closed:
            self._refuse_closed()
        self._pictures.check_labels()
        array = self._pictures.array(images, color)
        ready = time.perf_counter_ns()
        outputs = self.infer(array)
        answered = time.perf_counter_ns()
        scores = self._pictures.real(outputs)
        share = len(images)
        shared = Timings((ready - began) // share, (answered - ready) // share, 0)
        answers = []
        for row in scores:
            answer = self._pictures.answer(row, top_k, shared)
            done = time.perf_counter_ns()
            answers.append(replace(answer, timings=replace(shared, postprocess_ns=done - answered)))
            answered = done
        return answers
