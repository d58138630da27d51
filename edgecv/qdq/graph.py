"""A classifier as plain data: the common ground of the torch exporter and the ONNX annotator.

Everything here is NumPy. BatchNorm is already folded; tensor names are final.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.spec import OpNode, Placement, QuantParams, quantize_weight, weight_scales

__all__ = [
    "Attribute",
    "FloatGraph",
    "FloatWeight",
    "Operator",
    "Quantization",
    "QuantizedWeight",
    "WeightNames",
    "quantize_weights",
]

Array = npt.NDArray[Any]
Attribute = int | float | tuple[int, ...]


@dataclass(frozen=True)
class WeightNames:
    """Names of the constants of a weighted operator: their keys in the state dict."""

    weight: str
    bias: str


@dataclass(frozen=True)
class Operator:
    """One operator of the float graph.

    Attributes:
        output: Name of the tensor it produces.
        kind: Key of :data:`edgecv.spec.OP_TABLE`; never ``input`` or ``batch_norm``.
        inputs: Names of its activation inputs.
        attributes: As ONNX names them: of convolutions and pools (``kernel_shape``, ``strides``,
            ``pads``, ``dilations``, ``group``, ``count_include_pad``; a pool without any is
            global), ``perm``, ``axis``, ``epsilon``, ``alpha`` and ``beta``; ``shape`` of a
            reshape at batch 1, absent where all of a picture becomes one dimension; ``rank`` of a
            linear layer's input.
        constants: Of weighted kinds.
        parameters: Names of constants that stay float: scale and offset of a layer_norm.
    """

    output: str
    kind: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    constants: WeightNames | None = None
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class FloatWeight:
    """Constants of one weighted operator.

    Attributes:
        values: float32 [C, ...], output channel first.
        bias: float32 [C].
    """

    values: Array
    bias: Array


@dataclass(frozen=True)
class QuantizedWeight:
    """The same after quantization and folding.

    Attributes:
        integers: int8 [C, ...], output channel first, in [-127, 127].
        scale: float32 [C].
        bias: float64 [C], not yet quantized.
    """

    integers: Array
    scale: Array
    bias: Array


@dataclass(frozen=True)
class FloatGraph:
    """A whole classifier from ``input`` [1, 3, H, W] to ``logits`` [1, C].

    Attributes:
        operators: In topological order.
        weights: Name of the weight → constants.
        input_size: (height, width) in pixels.
        num_classes: Number of logits.
        parameters: Name → float32 constant that is never quantized.
    """

    operators: tuple[Operator, ...]
    weights: Mapping[str, FloatWeight]
    input_size: tuple[int, int]
    num_classes: int
    parameters: Mapping[str, Array] = field(default_factory=dict)

    def nodes(self) -> list[OpNode]:
        """The graph as the spec sees it."""
        return [
            OpNode("input", "input"),
            *(
                OpNode(op.output, op.kind, op.inputs, op.constants.weight if op.constants else "")
                for op in self.operators
            ),
        ]


@dataclass(frozen=True)
class Quantization:
    """What turns a float graph into a QDQ file.

    Attributes:
        placement: Which tensors carry which quantizer.
        params: Name of the quantizer → parameters, in int8 terms.
        weights: Name of the weight → integers, scale and bias.
    """

    placement: Placement
    params: Mapping[str, QuantParams]
    weights: Mapping[str, QuantizedWeight]


def quantize_weights(weights: Mapping[str, FloatWeight]) -> dict[str, QuantizedWeight]:
    """Quantize folded float weights by the spec: int8, symmetric per output channel."""
    quantized = {}
    for name, weight in weights.items():
        scale = weight_scales(weight.values)
        integers = quantize_weight(weight.values, scale)
        quantized[name] = QuantizedWeight(integers, scale, weight.bias.astype(np.float64))
    return quantized
