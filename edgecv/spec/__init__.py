"""The quantization spec as data, once: types, arithmetic, and which tensors get a quantizer.

Both annotators (torch for QAT, ONNX for post-training quantization) map their graphs onto
:class:`~edgecv.spec.placement.OpNode` and call :func:`~edgecv.spec.placement.place`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgecv.spec.arithmetic import (
    activation_params,
    bias_params,
    dequantize,
    fold_batch_norm,
    make_room_for_bias,
    quantize,
    quantize_weight,
    weight_scales,
)
from edgecv.spec.types import INPUT_QUANT, QuantParams, TensorSpec, activation_range, integer_range

if TYPE_CHECKING:
    from edgecv.spec.placement import OpNode, Placement, Quantizer, place
    from edgecv.spec.table import OP_TABLE, OpRule

__all__ = [
    "INPUT_QUANT",
    "OP_TABLE",
    "OpNode",
    "OpRule",
    "Placement",
    "QuantParams",
    "Quantizer",
    "TensorSpec",
    "activation_params",
    "activation_range",
    "bias_params",
    "dequantize",
    "fold_batch_norm",
    "integer_range",
    "make_room_for_bias",
    "place",
    "quantize",
    "quantize_weight",
    "weight_scales",
]

#: Loaded when first used: a device quantizes nothing, and they take a tenth of its start.
_PLACEMENT = {"OpNode", "Placement", "Quantizer", "place"}
_TABLE = {"OP_TABLE", "OpRule"}


def __getattr__(name: str) -> Any:
    if name in _PLACEMENT:
        return getattr(importlib.import_module("edgecv.spec.placement"), name)
    if name in _TABLE:
        return getattr(importlib.import_module("edgecv.spec.table"), name)
    raise AttributeError(f"module 'edgecv.spec' has no attribute {name!r}")
