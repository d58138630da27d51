"""What a conversion gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv.artifact.manifest import Manifest

__all__ = ["ConversionResult"]


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
