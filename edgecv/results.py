"""Result types of the public API. Fields are added, never renamed (pinned by a test)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.spec.types import TensorSpec

__all__ = [
    "Classification",
    "ConversionResult",
    "LayerTime",
    "ModelInfo",
    "Prediction",
    "Probabilities",
    "Profile",
    "StreamAnswer",
    "Timings",
]


@dataclass(frozen=True)
class Prediction:
    """One class with its score.

    Attributes:
        index: Output index, from 0.
        label: Its name.
        score: In the unit that :attr:`Classification.score_kind` names.
    """

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Timings:
    """Wall time of one call by stage, in nanoseconds.

    >>> Timings(1_000_000, 2_000_000, 500_000).total_ms
    3.5
    """

    preprocess_ns: int
    infer_ns: int
    postprocess_ns: int

    @property
    def total_ms(self) -> float:
        """All stages together, in milliseconds."""
        return (self.preprocess_ns + self.infer_ns + self.postprocess_ns) / 1e6


class _Scores(np.ndarray[Any, np.dtype[np.float32]]):
    """float32 [classes] with the two methods of a tensor that other libraries call."""

    def cpu(self) -> _Scores:
        """The same: it lies in the memory of the CPU."""
        return self

    def numpy(self) -> npt.NDArray[np.float32]:
        """As a plain array."""
        return self.view(np.ndarray)


class Probabilities:
    """The scores of all classes, under the names that Ultralytics made common.

    ``supervision.Classifications.from_ultralytics(answer)`` reads an answer through them.

    Args:
        scores: float32 [classes].

    Attributes:
        data: float32 [classes].

    >>> probs = Probabilities(np.float32([0.25, 0.75]))
    >>> probs.top1, probs.top1conf, probs.top5
    (1, 0.75, [1, 0])
    """

    def __init__(self, scores: npt.NDArray[np.float32]) -> None:
        self.data: npt.NDArray[np.float32] = scores.view(_Scores)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def top1(self) -> int:
        """Index of the best class."""
        return int(self.data.argmax())

    @property
    def top1conf(self) -> float:
        """Its score."""
        return float(self.data.max())

    @property
    def top5(self) -> list[int]:
        """Indices of the five best classes, best first."""
        return [int(i) for i in np.argsort(-self.data, kind="stable")[:5]]


@dataclass(frozen=True)
class Classification:
    """Answer for one picture.

    Attributes:
        predictions: Best first.
        score_kind: ``"probability"``, or ``"score"`` where nobody says what a stranger's model gives.
        timings: Of this call; in a batch, its share.
        probs: The scores of all classes.
    """

    predictions: tuple[Prediction, ...]
    score_kind: str
    timings: Timings
    probs: Probabilities = field(
        default_factory=lambda: Probabilities(np.zeros(0, np.float32)), compare=False, repr=False
    )

    @property
    def top(self) -> Prediction:
        """The best prediction."""
        return self.predictions[0]


@dataclass(frozen=True)
class StreamAnswer:
    """Answer for one frame of a stream.

    Attributes:
        frame: As it came.
        classification: The answer.
        number: Position of the frame in the stream, from 0.
        dropped: Frames that came since the last answer and were not classified.
        age_ns: From the frame's arrival to the answer, in nanoseconds.
    """

    frame: Any = field(repr=False)
    classification: Classification
    number: int
    dropped: int
    age_ns: int


@dataclass(frozen=True)
class LayerTime:
    """One layer as an engine executed it.

    Attributes:
        name: As the engine calls it.
        kind: Its operator.
        ms: Mean wall time per call, in milliseconds.
        precision: What it computes in, ``""`` where the engine does not say.
    """

    name: str
    kind: str
    ms: float
    precision: str = ""


@dataclass(frozen=True)
class Profile:
    """Where the time of one answer goes. A look inside, not a benchmark: see ``edgecv bench``.

    Attributes:
        runs: Calls behind each figure.
        preprocess_ms: Median, or None for a model that takes no picture.
        infer_ms: Median of the engine's call.
        postprocess_ms: Median, or None.
        layers: In execution order, or None where the engine gives none.
        note: Why there are none.
    """

    runs: int
    preprocess_ms: float | None
    infer_ms: float
    postprocess_ms: float | None
    layers: tuple[LayerTime, ...] | None
    note: str = ""

    def __str__(self) -> str:
        parts = [
            f"{name} {value:.3f} ms"
            for name, value in (
                ("preprocess", self.preprocess_ms),
                ("infer", self.infer_ms),
                ("postprocess", self.postprocess_ms),
            )
            if value is not None
        ]
        lines = [f"medians of {self.runs} runs: {', '.join(parts)}"]
        if self.layers is None:
            lines.append(f"layers: {self.note}")
        else:
            width = max((len(layer.kind) for layer in self.layers), default=0)
            slowest = sorted(self.layers, key=lambda layer: -layer.ms)
            lines += [
                f"{layer.ms:9.4f} ms  {layer.kind:<{width}}  {layer.name}" for layer in slowest
            ]
        return "\n".join(lines)


@dataclass(frozen=True)
class ModelInfo:
    """What is loaded and how it runs.

    Attributes:
        path: File it came from, or None for bytes.
        kind: ``"tflite"``, ``"openvino"``, ``"onnx"``, or ``"torch"`` for a run's checkpoint.
        backend: Name of the engine, e.g. ``"litert"``.
        backend_version: Version of the engine.
        threads: Threads the engine was told to use.
        inputs: Tensors of the file.
        outputs: Tensors of the file.
        check: ``"intact"`` (manifest and digest agree), ``"unsigned"`` (no manifest), ``"tried"`` (no
            manifest, and it ran in a process of its own first), ``"unchecked"``.
        precision: What executes, as the engine's runtime graph says; ``"unknown"`` when it does not.
        manifest: Or None.
        float_precision: Asked for where the model computes in floating point.
        resize: How pictures are resized: ``"exact"``, ``"fast"`` or ``"fastest"``.
        resize_deviation: Measured mean deviation of that from timm's transform, in grey levels.
        labels: One per class, empty when nobody says.
        labels_from: Who says: the argument, the manifest, or other metadata in the file.
        preprocess: From picture to input, or None when nobody says.
        preprocess_from: Who says.
        score_kind: ``"logit"``, ``"probability"``, or ``""`` when neither the manifest nor the graph says.
        notes: Why metadata of others in the file was not used.
    """

    path: Path | None
    kind: str
    backend: str
    backend_version: str
    threads: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    check: str
    precision: str
    manifest: Manifest | None
    float_precision: str = "f32"
    resize: str = "exact"
    resize_deviation: float = 0.0
    labels: tuple[str, ...] = ()
    labels_from: str = ""
    preprocess: Preprocess | None = None
    preprocess_from: str = ""
    score_kind: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConversionResult:
    """One artifact that a conversion wrote.

    Attributes:
        target: ``"tflite"``, ``"openvino"`` or ``"onnx"``.
        path: The artifact (for OpenVINO the xml; the bin lies beside it).
        precision: ``"int8"``, ``"float32"``, or ``"float16"`` for constants stored so.
        manifest: As sealed into it.
        report: Warnings, result of the verification and statistics of the plan, JSON-ready.
        plan: What was done and why; ``str`` prints it.
        verification: What the gates found (``edgecv.verify.gates.VerificationReport``), or None when
            they did not run; ``str`` prints it.
    """

    target: str
    path: Path
    precision: str
    manifest: Manifest
    report: dict[str, Any] = field(default_factory=dict)
    plan: Any = None
    verification: Any = None
