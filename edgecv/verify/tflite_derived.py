"""Constants of a TFLite file that the source holds in another form: attributes of operators, normalizations.

An attribute stands beside the operator's result as ``<result>:<attribute>``. A batch normalization is one
weight and one bias per channel, ``<result>:weight`` and ``<result>:bias``, of its own or together with
those of the product before it. Both are computed here anew from the source. GELU has its numbers in itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from edgecv.verify.mismatch import Mismatch, compare_elements, compare_per_channel
from edgecv.verify.source import Array, Source, User
from edgecv.verify.tflite_clamps import compare_clamps
from edgecv.verify.tflite_gelu import gelu_constants
from edgecv.verify.tflite_reading import FileModel, FileTensor

__all__ = ["Derived"]

#: Operator → parameter → ONNX's default; what is no attribute is always that.
_PARAMETERS = {
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5, "one": 1.0},
    "LayerNormalization": {"epsilon": 1e-5},
}
_PRODUCTS = ("Conv", "Gemm", "MatMul")
#: Least weight of a channel: any is exact with the scale factor / weight, and a large one is fine for the bias.
_LEAST_WEIGHT = 64
#: Steps that a bias may take, and the scale of a channel without factor and shift.
_MAX_BIAS_STEPS, _LEAST_SCALE = 2.0**30, 1e-12


@dataclass(frozen=True, eq=False)
class _Map:
    """A batch normalization as x * factor + shift, after what was folded into it.

    Attributes:
        factor: float64 [C], or the float32 weight of a product.
        shift: float64 [C], or the float32 bias.
        weight: How the product reads its weight; None for a normalization that stands alone.
        read: (constant, all inputs of the operator that reads it) for everything that went in.
    """

    factor: Array
    shift: Array
    weight: User | None = None
    read: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass
class Derived:
    """One comparison.

    Attributes:
        file: The artifact.
        source: What to compare with.
        in_source_order: Brings a constant of the file into the source's order of dimensions.
        compared: Constants of the file that were compared.
        replaced: (constant, inputs of the operator that reads it) of the source that they stand for.
    """

    file: FileModel
    source: Source
    in_source_order: Callable[[FileTensor, User, tuple[int, ...]], Array]
    compared: set[str] = field(default_factory=set)
    replaced: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)

    def run(self) -> list[Mismatch]:
        """All differences of the tensors that are recognized."""
        mismatches: list[Mismatch] = []
        for tensor in self.file.tensors.values():
            base, _, label = tensor.name.rpartition(":")
            result = self.origins.get(base)
            if tensor.data is None or result is None:
                continue
            known = _PARAMETERS.get(self.source.producers[result][0], {})
            if label in known:
                value = self.source.attributes.get(result, {}).get(label, known[label])
                wanted = np.asarray([value], np.float32)
                mismatches += compare_elements(tensor.name, "value", wanted, tensor.data, None)
                self.compared.add(tensor.name)
            elif label == "weight" and (normalization := self._unclamped(result)) is not None:
                mismatches += self._normalization(tensor, base, normalization)
        for operator in self.file.operators:
            if operator.op == "GELU":
                result = self.origins.get(operator.outputs[0].removesuffix(":float"), "")
                self.replaced.update(gelu_constants(result, self.source))
        return mismatches

    def clamps(self) -> list[Mismatch]:
        """Operators of the file that clamp otherwise than the source."""
        return compare_clamps(self.file, self.source, self.origins)

    @cached_property
    def origins(self) -> dict[str, str]:
        """Name of a tensor, rounded or not → the tensor that an operator of the source computes for it."""
        found = {name: name for name in self.source.producers}
        for rounding in self.source.activations():
            if rounding.input in self.source.producers:
                found.setdefault(self.source.title(rounding), rounding.input)
                found[rounding.output] = rounding.input
        for rounding in self.source.roundings:
            if rounding.input in self.source.by_output and rounding.op == "DequantizeLinear":
                found[rounding.output] = found[rounding.input]
        return found

    def _unclamped(self, name: str) -> str | None:
        """The result of a BatchNormalization that *name* is, perhaps behind a clamp."""
        op, inputs = self.source.producers.get(name, ("", ()))
        if op in ("Relu", "Clip", "Identity"):
            return self._unclamped(inputs[0])
        return name if op == "BatchNormalization" else None

    def _normalization(self, weight: FileTensor, base: str, name: str) -> list[Mismatch]:
        bias = self.file.tensors.get(f"{base}:bias")
        found = self._map(name)
        if bias is None or bias.data is None or found is None:
            return [Mismatch(f"{base}:bias", "presence", "a constant", "nothing")]
        attempts = [(self._compare(weight, bias, m), m) for m in (found, self._folded(name)) if m]
        mismatches, taken = min(attempts, key=lambda attempt: len(attempt[0]))
        self.compared |= {weight.name, bias.name}
        self.replaced.update(taken.read)
        return mismatches

    def _compare(self, weight: FileTensor, bias: FileTensor, wanted: _Map) -> list[Mismatch]:
        assert weight.data is not None
        assert bias.data is not None
        if weight.dtype == "int8":
            return self._compare_integers(weight, bias, wanted)
        user = wanted.weight
        there = (
            weight.data.reshape(-1)
            if user is None
            else self.in_source_order(weight, user, wanted.factor.shape)
        )
        factor, shift = wanted.factor.astype(np.float32), wanted.shift.astype(np.float32)
        return compare_elements(weight.name, "value", factor, there, None) + compare_elements(
            bias.name, "value", shift, bias.data.reshape(-1), 0
        )

    def _compare_integers(
        self, weight: FileTensor, bias: FileTensor, wanted: _Map
    ) -> list[Mismatch]:
        """Weights of at least 6 bits, whose scales are then exact; but no bias of more than 31 bits."""
        assert weight.data is not None
        reader, _ = self.file.readers.get(weight.name, (None, 0))
        before = self._input_scale(wanted)
        factor, shift = wanted.factor, wanted.shift
        if before is None or wanted.weight is not None or weight.data.size != factor.size:
            return [Mismatch(weight.name, "shape", factor.shape, weight.data.shape)]
        if reader is None or reader.op != "DEPTHWISE_CONV_2D" or weight.axis != 3:
            return [Mismatch(weight.name, "form", "scales along channels", f"axis {weight.axis}")]
        steps = np.abs(weight.data.reshape(-1).astype(np.float64))
        floor = np.maximum(np.abs(shift) / before / _MAX_BIAS_STEPS, _LEAST_SCALE)
        finest = np.abs(factor) / 127
        exact = np.abs(factor) / np.maximum(steps, _LEAST_WEIGHT)
        scales = np.where(finest > floor, exact, floor).astype(np.float32).astype(np.float64)
        return _compare_on_grid(weight, factor, scales) + _compare_on_grid(
            bias, shift, scales * before
        )

    def _input_scale(self, wanted: _Map) -> float | None:
        """Scale of what a normalization that stands alone reads."""
        rounding = self.source.by_output.get(wanted.read[0][1][0]) if wanted.read else None
        return None if rounding is None else float(rounding.scales[0])

    # the source's side

    def _map(self, name: str) -> _Map | None:
        """The BatchNormalization with result *name*, alone."""
        inputs = self.source.producers[name][1]
        vectors = [self.source.real(n) for n in inputs[1:5]]
        found = [v.astype(np.float64).reshape(-1) for v in vectors if v is not None]
        if len(found) != 4:
            return None
        scale, bias, mean, variance = found
        epsilon = self.source.attributes.get(name, {}).get("epsilon", 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        return _Map(factor, bias - mean * factor, read=_reads(inputs[1:5], inputs))

    def _folded(self, name: str) -> _Map | None:
        """Weight and bias of the product whose result, after what stands behind it, is *name*."""
        op, inputs = self.source.producers.get(name, ("", ()))
        if op in _PRODUCTS:
            return self._product(name, op, inputs)
        if op == "Identity":
            return self._folded(inputs[0])
        if op == "Add":
            return self._biased(inputs)
        before = self._folded(inputs[0]) if op == "BatchNormalization" else None
        after = self._map(name) if before is not None else None
        if before is None or after is None or before.weight is None:
            return None
        axis = _output_axis(before.weight, before.factor.ndim)
        shape = [-1 if d == axis else 1 for d in range(before.factor.ndim)]
        weight = (before.factor * after.factor.reshape(shape)).astype(np.float32)
        bias = (after.shift + before.shift.astype(np.float64) * after.factor).astype(np.float32)
        return replace(before, factor=weight, shift=bias, read=(*before.read, *after.read))

    def _product(self, name: str, op: str, inputs: tuple[str, ...]) -> _Map | None:
        weight = self.source.constants.get(inputs[1])
        users = [u for u in self.source.readers(inputs[1]) if u.op == op and u.inputs == inputs]
        if weight is None or weight.dtype != np.float32 or not users:
            return None
        bias = self.source.real(inputs[2]) if len(inputs) > 2 else np.zeros(1, np.float32)
        shift = np.zeros(1, np.float32) if bias is None else bias.reshape(-1)
        return _Map(weight, shift, users[0], _reads(inputs[1:], inputs))

    def _biased(self, inputs: tuple[str, ...]) -> _Map | None:
        """A product and the constant that is added to it."""
        for product, constant in (inputs, inputs[::-1]):
            bias = self.source.real(constant)
            before = None if bias is None else self._folded(product)
            if bias is not None and before is not None:
                return replace(
                    before,
                    shift=bias.reshape(-1),
                    read=(*before.read, *_reads((constant,), inputs)),
                )
        return None


def _compare_on_grid(tensor: FileTensor, real: Array, scales: Array) -> list[Mismatch]:
    """Scales, zero points of 0, and the integers that are nearest to *real*."""
    assert tensor.data is not None
    zeros = np.zeros(scales.size, np.int64)
    steps = np.rint(real / scales).astype(tensor.data.dtype)
    return [
        *compare_per_channel(tensor.name, "scale", scales.astype(np.float32), tensor.scales),
        *compare_per_channel(tensor.name, "zero_point", zeros, tensor.zero_points),
        *compare_elements(tensor.name, "integer", steps, tensor.data.reshape(-1), 0),
    ]


def _reads(
    names: Iterable[str], inputs: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, inputs) for name in names if name)


def _output_axis(user: User, ndim: int) -> int:
    """Dimension of a product's weight that counts output channels."""
    last = user.op == "MatMul" or (user.op == "Gemm" and not user.transposed)
    return ndim - 1 if last else 0
