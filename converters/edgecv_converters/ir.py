"""The source IR: an ONNX graph as immutable Python data, before and after the passes.

Before the passes a graph says what the file says. After them every quantized activation is one
:class:`Value` with its parameters (the QuantizeLinear/DequantizeLinear pairs are gone), every quantized
weight and bias one :class:`Constant` that kept its integers, and clamps are fields of the nodes that
compute them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.spec.types import QuantParams

__all__ = ["Array", "Constant", "ConstantQuant", "Graph", "Node", "Value"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Value:
    """An activation.

    Attributes:
        name: Unique in the graph.
        shape: Static, or None when shape inference could not say (behind an unknown operator).
        dtype: NumPy name of the element type in the source, e.g. ``"float32"``.
        quant: int8 parameters that everybody who reads the value sees, or None.
        quantizer: Name of the tensor that owns those parameters; "" without quantization.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str = "float32"
    quant: QuantParams | None = None
    quantizer: str = ""


@dataclass(frozen=True, eq=False)
class ConstantQuant:
    """Parameters of a quantized constant: real = scale * (integer - zero_point), along *axis*.

    Attributes:
        scales: float32, [1] per tensor or [C] per channel; bit for bit the file's.
        zero_points: int32, as many as scales, for int8 (a uint8 constant is shifted by -128).
        axis: Channel dimension, or None per tensor.
    """

    scales: Array
    zero_points: Array
    axis: int | None

    def along(self, values: Array, rank: int) -> Array:
        """Reshape per-channel *values* so that they broadcast against a tensor of *rank* dimensions."""
        if self.axis is None:
            return values.reshape((1,) * rank)
        shape = [1] * rank
        shape[self.axis] = -1
        return values.reshape(shape)


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant tensor.

    Attributes:
        name: Unique in the graph, among values too.
        data: Elements; read-only. int8 or int32 integers where *quant* is given.
        quant: Parameters, or None for a plain constant.
    """

    name: str
    data: Array
    quant: ConstantQuant | None = None

    def real(self) -> Array:
        """The values as float32 (float64 arithmetic for int32, which float32 cannot hold)."""
        if self.quant is None:
            return np.asarray(self.data, np.float32)
        rank = self.data.ndim
        wide = np.float64 if self.data.dtype == np.int32 else np.float32
        centered = self.data.astype(wide) - self.quant.along(self.quant.zero_points, rank).astype(
            wide
        )
        return np.asarray(
            centered * self.quant.along(self.quant.scales, rank).astype(wide), np.float32
        )


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        name: Of the node in the source; made from its first output when the source gives none.
        op: Operator type.
        domain: "" for ONNX's own.
        version: since_version of the operator's definition that the model's opset selects.
        inputs: Names; "" for an omitted optional input.
        outputs: Names.
        attributes: As in the source; tensors as arrays, unknown kinds as None.
        clamp: ``""``, ``"relu"``, ``"relu6"`` or ``"relu_n1_to_1"``, applied to the result before it is rounded.
        sources: Names of all source nodes that this one stands for.
    """

    name: str
    op: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    clamp: str = ""
    sources: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """What the registry of rules is keyed by."""
        return (self.domain, self.op, self.version)

    def ints(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """A list attribute, or *default* when it is absent."""
        found = self.attributes.get(name)
        return default if found is None else tuple(int(v) for v in found)


@dataclass(frozen=True, eq=False)
class Graph:
    """A model.

    Attributes:
        nodes: In topological order.
        values: Activations by name, graph inputs among them.
        constants: By name.
        inputs: Names of the graph inputs that are no constants.
        outputs: Names.
        opset: Version of ONNX's own operator set.
    """

    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    constants: Mapping[str, Constant]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int

    @cached_property
    def producers(self) -> dict[str, Node]:
        """Value name → the node that computes it."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """Name → the nodes that read it, once per node, in order."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def sole_consumer(self, name: str) -> Node | None:
        """The only node that reads *name*, unless the graph gives *name* out as well."""
        nodes = self.consumers.get(name, ())
        return nodes[0] if len(nodes) == 1 and name not in self.outputs else None

    def shape(self, name: str) -> tuple[int, ...]:
        """Static shape of a value or a constant; only for names whose shape is known."""
        if name in self.constants:
            return tuple(self.constants[name].data.shape)
        shape = self.values[name].shape
        assert shape is not None, name
        return shape

    def elements(self, name: str) -> int:
        """Number of elements of a value or a constant."""
        return prod(self.shape(name))

    def rewired(
        self,
        nodes: Iterable[Node],
        *,
        values: Mapping[str, Value] | None = None,
        constants: Mapping[str, Constant] | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> Graph:
        """A graph of *nodes*, with the values and constants that nothing names any longer left out."""
        kept = tuple(nodes)
        ends = self.outputs if outputs is None else outputs
        named = {*self.inputs, *ends}
        for node in kept:
            named.update(node.inputs)
            named.update(node.outputs)
        all_values = self.values if values is None else values
        all_constants = self.constants if constants is None else constants
        return replace(
            self,
            nodes=kept,
            values={n: v for n, v in all_values.items() if n in named},
            constants={n: c for n, c in all_constants.items() if n in named},
            outputs=ends,
        )
