"""Collects planned tensors and operators: unique names, shared constants, lowest operator versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgecv.spec.types import QuantParams
from edgecv_converters.ir import Array
from edgecv_converters.layout import Layout
from edgecv_converters.plan import PlannedOp, PlannedTensor, Quantization
from edgecv_converters.targets import TargetSpec

__all__ = ["Origin", "PlanBuilder", "per_tensor"]


def per_tensor(params: QuantParams | None) -> Quantization | None:
    """Planned form of activation parameters."""
    return None if params is None else Quantization((params.scale,), (params.zero_point,))


@dataclass(frozen=True)
class Origin:
    """Whom an operator serves: filled in once per source node, stamped on every operator it emits.

    Attributes:
        rule: Name of the rule.
        sources: Names of the source nodes.
        fused: Clamp of the node.
    """

    rule: str
    sources: tuple[str, ...]
    fused: str = ""


@dataclass
class PlanBuilder:
    """Grows a plan.

    Attributes:
        spec: The target, for operator versions.
        origin: Stamped on emitted operators.
        tensors: So far.
        ops: So far.
    """

    spec: TargetSpec
    origin: Origin = field(default_factory=lambda: Origin("", ()))
    tensors: list[PlannedTensor] = field(default_factory=list)
    ops: list[PlannedOp] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _shared: dict[Any, int] = field(default_factory=dict)

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        *,
        role: str = "activation",
        quantization: Quantization | None = None,
        data: Array | None = None,
        layout: Layout | None = None,
    ) -> int:
        """Add a tensor; a name that is taken gets ``:2``, ``:3``, … behind it."""
        unique, number = name, 2
        while unique in self._names:
            unique, number = f"{name}:{number}", number + 1
        self._names.add(unique)
        self.tensors.append(
            PlannedTensor(unique, tuple(shape), dtype, role, quantization, data, layout)
        )
        return len(self.tensors) - 1

    def activation(self, name: str, shape: tuple[int, ...], quant: QuantParams | None) -> int:
        """Add a computed tensor: int8 with parameters, float32 without."""
        dtype = "float32" if quant is None else "int8"
        return self.tensor(name, shape, dtype, quantization=per_tensor(quant))

    def constant(
        self,
        name: str,
        data: Array,
        role: str,
        quantization: Quantization | None = None,
        *,
        shared: Any = None,
    ) -> int:
        """Add a constant; with *shared* (any hashable key) the second call returns the first one's index."""
        key = None if shared is None else (shared, role, quantization)
        if key is not None and key in self._shared:
            return self._shared[key]
        index = self.tensor(
            name, data.shape, str(data.dtype), role=role, quantization=quantization, data=data
        )
        if key is not None:
            self._shared[key] = index
        return index

    def integers(self, values: Any) -> int:
        """A parameter of an operator (shape, axes, pads) as an int32 constant, shared by value."""
        data = np.asarray(values, np.int32)
        name = f"ints:{'x'.join(map(str, data.ravel()))}"
        return self.constant(name, data, "parameter", shared=(data.shape, data.tobytes()))

    def emit(
        self,
        op: str,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        reason: str,
        *,
        feature: str = "",
        macs: int = 0,
        fused: bool = False,
        options: Mapping[str, int | float | bool | str] | None = None,
    ) -> int:
        """Add an operator and return its first output.

        Args:
            op: Name in the schema.
            inputs: Tensor indices.
            outputs: Tensor indices.
            reason: Why it looks so.
            feature: Key of the target's version table that the operator needs beside its dtype.
            macs: Multiply-accumulates.
            fused: Whether it carries the clamp of the node being lowered.
            options: Fields of the operator's options by schema name; enumerations as strings.
        """
        known = self.spec.operator_versions[op]
        version = max(known[self.tensors[inputs[0]].dtype], known[feature] if feature else 0)
        clamp = self.origin.fused if fused else ""
        fields = dict(options or {})
        if fused:
            fields["FusedActivationFunction"] = clamp.upper() or "NONE"
        self.ops.append(
            PlannedOp(
                op,
                version,
                inputs,
                outputs,
                fields,
                self.origin.rule,
                reason,
                self.origin.sources,
                clamp,
                macs,
            )
        )
        return outputs[0]

    def locate(self, index: int, layout: Layout) -> None:
        """Record how the source's logical tensor lies in tensor *index* (the first record stays)."""
        if self.tensors[index].layout is None:
            self.tensors[index] = replace(self.tensors[index], layout=layout)

    def rename(self, index: int, name: str) -> None:
        """Give a tensor another name, if that is free."""
        if name not in self._names:
            self._names.discard(self.tensors[index].name)
            self._names.add(name)
            self.tensors[index] = replace(self.tensors[index], name=name)
