"""Result types of the public API. Fields are added, never renamed (pinned by a test)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv.artifact.manifest import Manifest
from edgecv.spec.types import TensorSpec

__all__ = ["Classification", "ConversionResult", "ModelInfo", "Prediction", "Timings"]


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


@dataclass(frozen=True)
class Classification:
    """Answer for one picture.

    Attributes:
        predictions: Best first.
        score_kind: ``"logit"`` or ``"probability"``.
        timings: Of this call.
    """

    predictions: tuple[Prediction, ...]
    score_kind: str
    timings: Timings

    @property
    def top(self) -> Prediction:
        """The best prediction."""
        return self.predictions[0]


@dataclass(frozen=True)
class ModelInfo:
    """What is loaded and how it runs.

    Attributes:
        path: File it came from, or None for bytes.
        kind: ``"tflite"``, ``"openvino"`` or ``"onnx"``.
        backend: Name of the engine, e.g. ``"litert"``.
        backend_version: Version of the engine.
        threads: Threads the engine was told to use.
        inputs: Tensors of the file.
        outputs: Tensors of the file.
        check: ``"intact"`` (manifest and digest agree), ``"unsigned"`` (no manifest), ``"unchecked"``.
        precision: What executes, as the engine's runtime graph says; ``"unknown"`` when it does not.
        manifest: Or None.
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


@dataclass(frozen=True)
class ConversionResult:
    """One artifact that a conversion wrote.

    Attributes:
        target: ``"tflite"``, ``"openvino"`` or ``"onnx"``.
        path: The artifact (for OpenVINO the xml; the bin lies beside it).
        precision: ``"int8"`` or ``"float32"``.
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
