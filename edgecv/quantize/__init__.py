"""Quantization-aware training: capture, fake quantizers, calibration, and export to ONNX."""

from __future__ import annotations

from edgecv.errors import require

require("torch", extra="train")

from edgecv.quantize.capture import capture  # noqa: E402
from edgecv.quantize.export import export_float, export_qdq  # noqa: E402
from edgecv.quantize.fake_quant import cut_gradient  # noqa: E402
from edgecv.quantize.qat import annotate, calibrate, freeze, placement_of, prepare_qat  # noqa: E402
from edgecv.quantize.reference import as_exported, float_islands, predict  # noqa: E402

__all__ = [
    "annotate",
    "as_exported",
    "calibrate",
    "capture",
    "cut_gradient",
    "export_float",
    "export_qdq",
    "float_islands",
    "freeze",
    "placement_of",
    "predict",
    "prepare_qat",
]
