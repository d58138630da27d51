"""The artifact's answers beside the reference's: error in output steps, and agreement of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv.stats import rate
from edgecv.verify.gates import GateResult, TensorRow, shortened
from edgecv.verify.samples import Samples
from edgecv.verify.source import Array, Source

__all__ = ["Answers", "agreement", "end_to_end", "error_gate", "output_steps"]

#: Mean error of an output, in output steps: one rounding that falls the other way grows over the layers, and
#: how far depends on the net. ONNX Runtime with and without optimizations differ by 0.2 on a ResNet-10, 0.9 on
#: MobileNetV2, 2.8 on a DeiT of random weights; other engines by up to 3 times that, or 1.2 where it is little.
_BASE_STEPS, _TIMES_YARDSTICK = 2.0, 3.0
#: Without that yardstick: for ONNX Runtime itself.
_MEAN_STEPS = 8.0
#: Largest error of a float artifact, as a fraction of the output's largest magnitude. Of a float16 one that and
#: 3 times what rounding the constants does in ONNX Runtime: an engine that folds a normalization into a
#: convolution first rounds other numbers, by as much.
_FLOAT_ERROR = 1e-3
#: Share of the pictures on which both name the same class; its interval must reach this.
_AGREEMENT = 0.99
#: Two classes whose scores lie closer than this many steps may change places.
_NEAR_STEPS = 8.0


@dataclass(frozen=True)
class Answers:
    """Outputs of source and artifact on the same samples.

    Attributes:
        names: Of the outputs, in the source's order.
        steps: Scale of the quantizer behind each output; None where it has none.
        expected: Per sample one float array per output, by the reference.
        found: Likewise by the artifact.
        yardstick: Likewise by ONNX Runtime with optimizations; where *halves* is not 0, without them and
            with those constants rounded to float16. Empty without.
        halves: Constants that the artifact stores in float16.
    """

    names: Sequence[str]
    steps: Sequence[float | None]
    expected: Sequence[Sequence[Array]]
    found: Sequence[Sequence[Array]]
    yardstick: Sequence[Sequence[Array]] = ()
    halves: int = 0

    def stacked(self, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """One output of all samples: expected and found, [samples, elements]."""
        return _stacked(self.expected, index), _stacked(self.found, index)

    def mean_limit(self, index: int, step: float) -> float:
        """What the mean error of one output may be, in steps."""
        if not self.yardstick:
            return _MEAN_STEPS
        noise = np.abs(_stacked(self.yardstick, index) - _stacked(self.expected, index)).mean()
        return _BASE_STEPS + _TIMES_YARDSTICK * float(noise) / step

    def rounding_noise(self, index: int, *, mean: bool = False) -> float:
        """What rounding the constants to float16 does to one output.

        Args:
            index: Of the output.
            mean: The mean, in 1/255 of the output's range; else the largest, as a fraction of the largest
                magnitude.
        """
        if not self.halves:
            return 0.0
        expected = _stacked(self.expected, index)
        moved = np.abs(_stacked(self.yardstick, index) - expected)
        unit = _unit(expected, None, integer=mean)
        return float(moved.mean() if mean else moved.max()) / unit

    def largest_limit(self, index: int) -> float:
        """What the largest error of a float output may be, as a fraction of its largest magnitude."""
        noise = self.rounding_noise(index)
        return _FLOAT_ERROR + _TIMES_YARDSTICK * (noise if np.isfinite(noise) else 0.0)


def output_steps(source: Source) -> list[float | None]:
    """Scale of the quantizer behind every output of *source*; 1 where the output is its integers."""
    steps: list[float | None] = []
    for name in source.outputs:
        rounding = source.by_output.get(name)
        if rounding is None:
            steps.append(None)
        else:
            steps.append(1.0 if rounding.op == "QuantizeLinear" else float(rounding.scales[0]))
    return steps


def end_to_end(
    answers: Answers, samples: Samples, *, integer: bool, kernels: str
) -> tuple[tuple[GateResult, ...], tuple[TensorRow, ...]]:
    """The gates that apply: :func:`error_gate`, :func:`rounding_gate` and :func:`agreement`."""
    error, rows = error_gate(answers, integer=integer, kernels=kernels)
    same = agreement(answers, integer=integer, meaningful=samples.data == "pictures")
    gates = (error, rounding_gate(answers), same)
    return tuple(gate for gate in gates if gate is not None), rows


def error_gate(
    answers: Answers, *, integer: bool, name: str = "end_to_end", kernels: str = ""
) -> tuple[GateResult, tuple[TensorRow, ...]]:
    """How far the outputs are from the reference's.

    Args:
        answers: Both.
        integer: Whether the source is quantized: the mean is bounded, in output steps (without a
            quantizer, in 1/255 of the output's range), by how far ONNX Runtime's own optimizations
            lead; otherwise the largest error is, as a fraction of the largest magnitude (of a float16
            artifact by what rounding the constants alone does).
        name: Of the gate.
        kernels: For the rows.
    """
    unit = "output steps" if integer else "of the largest magnitude"
    rows: list[TensorRow] = []
    faults: list[str] = []
    decided: list[tuple[float, float]] = []
    for index, output in enumerate(answers.names):
        sizes = {np.asarray(s[index]).size for s in (*answers.expected, *answers.found)}
        if len(sizes) != 1:
            faults.append(f"{output}: {' and '.join(map(str, sorted(sizes)))} elements")
            continue
        expected, found = answers.stacked(index)
        if not (np.isfinite(expected).all() and np.isfinite(found).all()):
            faults.append(f"{output}: values that are not finite")
            continue
        step = _unit(expected, answers.steps[index], integer=integer)
        limit = answers.mean_limit(index, step) if integer else answers.largest_limit(index)
        errors = np.abs(found - expected) / step
        largest, mean = float(errors.max()), float(errors.mean())
        value = mean if integer else largest
        decided.append((value, limit))
        rows.append(TensorRow(output, kernels, "", largest, mean, unit, value <= limit))
        if value > limit:
            faults.append(f"{output}: max {largest:.3g}, mean {mean:.3g} {unit}")
    largest = max((row.max_error for row in rows), default=0.0)
    mean = max((row.mean_error for row in rows), default=0.0)
    # the output that is nearest to its limit, or farthest beyond
    value, limit = max(decided, key=lambda pair: pair[0] / pair[1], default=(0.0, 0.0))
    bar = f"{'mean ' if integer else ''}at most {limit:.3g}"
    said = shortened(faults) if faults else f"max {largest:.3g}, mean {mean:.3g} {unit}"
    return GateResult(name, not faults, f"{said} ({bar})", value, limit), tuple(rows)


def rounding_gate(answers: Answers) -> GateResult | None:
    """How far rounding the constants to float16 moves the answers, in ONNX Runtime; None where none is rounded.

    In 1/255 of an output's range, and no further than an int8 artifact may be: beyond that float16 makes no sense.
    """
    if not answers.halves:
        return None
    means = [answers.rounding_noise(i, mean=True) for i in range(len(answers.names))]
    largest = max(answers.rounding_noise(i) for i in range(len(answers.names)))
    known = bool(np.isfinite(means).all())
    mean = max(means) if known else None
    said = (
        f"rounding {answers.halves} constants moves the answers by {max(means):.2g} output steps in the mean,"
        f" by {largest:.2g} of the largest magnitude (mean at most {_BASE_STEPS:g})"
    )
    passed = mean is not None and mean <= _BASE_STEPS
    return GateResult("float16_rounding", passed, said, mean, _BASE_STEPS)


def agreement(answers: Answers, *, integer: bool, meaningful: bool) -> GateResult | None:
    """Share of the samples on which both name the same class; None for what is no classifier.

    Args:
        answers: Both.
        integer: As in :func:`error_gate`.
        meaningful: False for synthetic samples, on which nothing is decided.
    """
    if len(answers.names) != 1 or not answers.expected:
        return None
    shape = np.asarray(answers.expected[0][0]).shape
    sizes = {np.asarray(s[0]).size for s in (*answers.expected, *answers.found)}
    # [N, classes], perhaps with dimensions of 1 behind
    if len(sizes) != 1 or len(shape) < 2 or shape[1] < 2 or set(shape[2:]) - {1}:
        return None
    expected, found = (stacked.reshape(-1, shape[1]) for stacked in answers.stacked(0))
    wanted, got = expected.argmax(axis=1), found.argmax(axis=1)
    rows = np.arange(len(wanted))
    margins = expected[rows, wanted] - expected[rows, got]
    step = _unit(expected, answers.steps[0], integer=integer)
    near = margins <= (_NEAR_STEPS if integer else 2 * answers.largest_limit(0)) * step
    same = wanted == got
    seen = rate(same)
    said = f"{int(same.sum())} of {len(same)} name the same class"
    if not meaningful:
        return GateResult(
            "agreement", True, f"{said}; not meaningful on synthetic samples", seen.value
        )
    ties = int((near & ~same).sum())
    said += f": {seen.value:.1%}, 95 % interval {seen.low:.1%} to {seen.high:.1%}, must reach"
    said += f" {_AGREEMENT:.0%}" + (f" with the {ties} that are nearly tied" if ties else "")
    passed = rate(same | near).high >= _AGREEMENT
    return GateResult("agreement", passed, said, seen.value, _AGREEMENT)


def _unit(expected: npt.NDArray[np.float64], step: float | None, *, integer: bool) -> float:
    """What errors are divided by; never 0."""
    if not integer:
        return max(float(np.abs(expected).max()), 1e-6)
    if step is not None:
        return step
    return max(float(expected.max() - expected.min()) / 255, 1e-6)


def _stacked(outputs: Sequence[Sequence[Array]], index: int) -> npt.NDArray[np.float64]:
    return np.stack([np.asarray(sample[index], np.float64).ravel() for sample in outputs])
