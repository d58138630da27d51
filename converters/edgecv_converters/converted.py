"""What a conversion returns: the files in memory and what they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecv.artifact.manifest import QuantizerRecord
from edgecv.spec.types import TensorSpec
from edgecv_converters.plan import Plan

__all__ = ["Converted"]


@dataclass(frozen=True)
class Converted:
    """One target's files, not yet sealed with a manifest.

    Attributes:
        target: Name of the target.
        files: Suffix (``".tflite"``, ``".xml"``, ``".bin"``, ``".onnx"``) → content, the main file first.
        precision: ``"int8"`` when the source quantizes activations, else ``"float32"``, or ``"float16"``
            where its constants are stored so.
        inputs: Tensors at the file's edge.
        outputs: Tensors at the file's edge.
        quantizers: In the file, bit for bit the source's.
        left_out: Names of the source's quantizers that the target leaves out.
        plan: What was done, and why.
        warnings: What works, but not as well as it could.
    """

    target: str
    files: Mapping[str, bytes]
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantizers: tuple[QuantizerRecord, ...]
    left_out: tuple[str, ...]
    plan: Plan
    warnings: tuple[str, ...]
