"""The QDQ ONNX form, once: a classifier as data, and the only writer of float and QDQ files.

Both makers of such files use it: the exporter of trained models (:mod:`edgecv.quantize`) and
post-training quantization (``edgecv_converters.ptq``). No torch here.
"""

from __future__ import annotations

from edgecv.errors import require

require("onnx", extra="convert")

from edgecv.qdq.graph import (  # noqa: E402
    Attribute,
    FloatGraph,
    FloatWeight,
    Operator,
    Quantization,
    QuantizedWeight,
    WeightNames,
    quantize_weights,
)
from edgecv.qdq.writer import float_model, qdq_model  # noqa: E402

__all__ = [
    "Attribute",
    "FloatGraph",
    "FloatWeight",
    "Operator",
    "Quantization",
    "QuantizedWeight",
    "WeightNames",
    "float_model",
    "qdq_model",
    "quantize_weights",
]
