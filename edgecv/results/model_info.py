"""What is loaded and how it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.spec.types import TensorSpec

__all__ = ["ModelInfo"]


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
