"""What the gates of every target get, and what they give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.spec import TensorSpec, dequantize, quantize
from edgecv.verify.end_to_end import Answers, output_steps
from edgecv.verify.gates import GateResult, TensorRow
from edgecv.verify.samples import Samples
from edgecv.verify.source import Array, Source, to_int8
from edgecv_converters import Plan
from edgecv_runtimes.base import ExecutedLayer

__all__ = ["Findings", "Subject"]

_NHWC, _NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class Findings:
    """What the gates of one target found; as in :class:`~edgecv.verify.gates.VerificationReport`."""

    gates: tuple[GateResult, ...] = ()
    warnings: tuple[str, ...] = ()
    tensors: tuple[TensorRow, ...] = ()
    layers: tuple[ExecutedLayer, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.gates + other.gates,
            self.warnings + other.warnings,
            self.tensors + other.tensors,
            self.layers + other.layers,
        )


@dataclass(frozen=True)
class Subject:
    """One artifact and everything that it is held against.

    Attributes:
        file: The artifact.
        model: The source, without the quantizers that the artifact leaves out.
        source: The same, read.
        samples: What both are given.
        expected: Per sample one array per output, by the reference.
        yardstick: Likewise with ONNX Runtime's optimizations; empty where that is what is verified.
        plan: What the artifact was written from, or None when that is not known.
    """

    file: ModelFile
    model: bytes = field(repr=False)
    source: Source = field(repr=False)
    samples: Samples = field(repr=False)
    expected: Sequence[Sequence[Array]] = field(repr=False)
    yardstick: Sequence[Sequence[Array]] = field(repr=False)
    plan: Plan | None = field(repr=False)

    @property
    def integer(self) -> bool:
        """Whether the source quantizes activations."""
        return bool(self.source.activations() or self.source.integer_inputs())

    def feeds(self, specs: Sequence[TensorSpec]) -> list[list[Array]]:
        """Every sample in the artifact's own dtypes and order of dimensions.

        Args:
            specs: The artifact's inputs, in the source's order.
        """
        return [
            [_feed(array, spec) for array, spec in zip(sample.values(), specs, strict=True)]
            for sample in self.samples.arrays
        ]

    def answers(self, found: Sequence[Sequence[Array]], specs: Sequence[TensorSpec]) -> Answers:
        """The artifact's outputs beside the reference's, as real numbers.

        Args:
            found: Per sample one array per output, as the artifact gives it.
            specs: The artifact's outputs, in the source's order.
        """
        steps = output_steps(self.source)
        plain = [self._gives_integers(name) for name in self.source.outputs]
        return Answers(
            self.source.outputs,
            steps,
            [[_shifted(a) for a in sample] for sample in self.expected],
            [
                [
                    _real(a, spec, integers)
                    for a, spec, integers in zip(sample, specs, plain, strict=True)
                ]
                for sample in found
            ],
            [[_shifted(a) for a in sample] for sample in self.yardstick],
        )

    def _gives_integers(self, output: str) -> bool:
        rounding = self.source.by_output.get(output)
        return rounding is not None and rounding.op == "QuantizeLinear"


def _feed(array: Array, spec: TensorSpec) -> Array:
    if spec.quantization is not None and array.dtype.kind == "f":
        array = quantize(array, spec.quantization)
    elif spec.dtype == "int8" and array.dtype == np.uint8:
        array = _shifted(array)
    if spec.layout == "NHWC":
        array = array.transpose(_NHWC)
    return np.ascontiguousarray(array)


def _real(array: Array, spec: TensorSpec, integers: bool) -> Array:
    """An output in ONNX's order: real numbers, or int8 terms where the source gives integers."""
    if spec.layout == "NHWC":
        array = array.transpose(_NCHW)
    if spec.quantization is not None and not integers:
        return dequantize(array, spec.quantization)
    return _shifted(array)


def _shifted(array: Array) -> Array:
    """uint8 in int8 terms, anything else as it is."""
    return to_int8(array, np.zeros(1, np.int64), str(array.dtype))[0]
