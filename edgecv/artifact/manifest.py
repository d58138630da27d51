"""The manifest: one JSON document that travels inside the model file (schema 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgecv.spec.types import TensorSpec

__all__ = ["SCHEMA_VERSION", "Manifest", "Preprocess", "QuantizerRecord"]

#: Major version decides who may read; minor versions only add keys.
SCHEMA_VERSION = "1.0"


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the model's input; equal to timm's eval transform.

    Attributes:
        size: Model input (height, width) in pixels.
        resize: ``"shortest"`` (shortest side to size / crop_fraction, then center crop) or
            ``"stretch"`` (both sides to size / crop_fraction, then center crop).
        crop_fraction: In (0, 1]; timm's crop_pct.
        interpolation: ``"bicubic"``, ``"bilinear"`` or ``"nearest"``, antialiased.
        color: Channel order the model wants, ``"rgb"`` or ``"bgr"``.
        mean: Per channel, in [0, 1] units, subtracted outside the model; 0 when folded into it.
        std: Per channel divisor; 1 when folded.
    """

    size: tuple[int, int]
    resize: str = "shortest"
    crop_fraction: float = 1.0
    interpolation: str = "bicubic"
    color: str = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class QuantizerRecord:
    """One activation quantizer present in an artifact.

    Attributes:
        name: Name of the tensor that owns it, the same in every artifact of one run.
        scale: Bit for bit the learned one.
        zero_point: In int8 terms.
    """

    name: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Manifest:
    """Everything an artifact says of itself.

    Attributes:
        task: ``"classification"``.
        labels: One per output index; empty when nobody has said (a stranger's file).
        score_kind: ``"logit"`` or ``"probability"``.
        preprocess: From picture to input, or None when nobody has said.
        inputs: Tensors at the file's edge.
        outputs: Tensors at the file's edge.
        precision: ``"int8"``, ``"float32"``, or ``"float16"`` for constants stored so (computed in float32).
        quantizers: Present in the file.
        left_out: Names of quantizers of the source that this target leaves out.
        training_data: ``{"fingerprint": sha256, "pictures": n}`` or None.
        parent: ``{"identity": …, "kind": …}`` of the file this one was made from, or None.
        tools: Tool name → version.
        calibration: ``{"digest": sha256, "pictures": n, "method": …}`` or None.
        verification: Result of the gates, or None when they did not run.
        drift_profile: Reference statistics for field drift, or None.
        identity: ``"sha256:…"`` of the model without its manifest.
        extra: Unknown keys of a newer minor version, kept as they came.
    """

    labels: tuple[str, ...]
    preprocess: Preprocess | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str
    task: str = "classification"
    score_kind: str = "logit"
    quantizers: tuple[QuantizerRecord, ...] = ()
    left_out: tuple[str, ...] = ()
    training_data: dict[str, Any] | None = None
    parent: dict[str, Any] | None = None
    tools: dict[str, str] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    verification: dict[str, Any] | None = None
    drift_profile: dict[str, Any] | None = None
    identity: str = ""
    schema_version: str = SCHEMA_VERSION
    extra: dict[str, Any] = field(default_factory=dict)
