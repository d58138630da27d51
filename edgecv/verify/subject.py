"""What the gates of every target get, and what they give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgecv.artifact import ModelFile
from edgecv.spec import TensorSpec
from edgecv.verify.edges import as_in_file, as_in_source, described, in_int8_terms
from edgecv.verify.end_to_end import Answers, output_steps
from edgecv.verify.gates import GateResult, TensorRow
from edgecv.verify.samples import Samples
from edgecv.verify.source import Array, Source
from edgecv_converters import Plan
from edgecv_runtimes.base import ExecutedLayer

__all__ = ["Findings", "Subject"]


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
        yardstick: Likewise with what may move the answers: ONNX Runtime's optimizations, or for a float16
            artifact the source's constants rounded to that. Empty without.
        plan: What the artifact was written from, or None when that is not known.
        halves: Constants of the source that a float16 artifact stores rounded.
    """

    file: ModelFile
    model: bytes = field(repr=False)
    source: Source = field(repr=False)
    samples: Samples = field(repr=False)
    expected: Sequence[Sequence[Array]] = field(repr=False)
    yardstick: Sequence[Sequence[Array]] = field(repr=False)
    plan: Plan | None = field(repr=False)
    halves: int = 0

    @property
    def integer(self) -> bool:
        """Whether the source quantizes activations."""
        return bool(self.source.activations() or self.source.integer_inputs())

    def edge(
        self, specs: Sequence[TensorSpec], edge: str, *, layout: str | None = None
    ) -> list[TensorSpec]:
        """An engine's inputs or outputs with what the manifest adds; see :func:`~edgecv.verify.edges.described`."""
        return described(specs, self.file.manifest, edge, layout=layout)

    def feeds(self, specs: Sequence[TensorSpec]) -> list[list[Array]]:
        """Every sample in the artifact's own dtypes and order of dimensions.

        Args:
            specs: The artifact's inputs, in the source's order.
        """
        return [
            [
                as_in_file(array, spec, self.source, name)
                for (name, array), spec in zip(sample.items(), specs, strict=True)
            ]
            for sample in self.samples.arrays
        ]

    def answers(self, found: Sequence[Sequence[Array]], specs: Sequence[TensorSpec]) -> Answers:
        """The artifact's outputs beside the reference's, as real numbers.

        Args:
            found: Per sample one array per output, as the artifact gives it.
            specs: The artifact's outputs, in the source's order.
        """
        names = self.source.outputs
        return Answers(
            names,
            output_steps(self.source),
            [[in_int8_terms(a) for a in sample] for sample in self.expected],
            [
                [
                    as_in_source(a, spec, self.source, name)
                    for a, spec, name in zip(sample, specs, names, strict=True)
                ]
                for sample in found
            ],
            [[in_int8_terms(a) for a in sample] for sample in self.yardstick],
            self.halves,
        )
