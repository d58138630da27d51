"""Per-tensor proof of a TFLite plan: each operator gets the reference's integers and must give its integers.

End to end, one rounding that falls the other way grows over the layers; two optimization levels of one
engine differ by many steps. Between two tensors whose integers are known, only the roundings in between
can differ, so that a wrong scale, pad or axis shows at its own operator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from edgecv.errors import InputError, ModelLoadError
from edgecv.spec import TensorSpec
from edgecv.verify.edges import as_in_file
from edgecv.verify.litert import KERNELS, Interpreter
from edgecv.verify.reference import reference_roundings
from edgecv.verify.source import Array, Rounding, Source, read_source
from edgecv_converters import Plan
from edgecv_converters.plan import PlannedOp, PlannedTensor
from edgecv_converters.tflite.performer import perform

__all__ = [
    "KERNELS",
    "Lesson",
    "TensorError",
    "failures",
    "leaves_integers",
    "lessons",
    "teacher_forced",
]

#: Largest mean error in steps that correct kernels reach, by what computes the tensor; measured on the builtin
#: ones: 0.028 behind a DEPTHWISE_CONV_2D of a foreign GhostNet, 0.069 behind a MUL of a trained MobileViT.
_MEAN_LIMIT = {"xnnpack": 1e-3, "builtin": 0.1}
#: Averages divide in fixed point: 0.04 measured on XNNPACK, 0.11 on the builtin kernel over 3x3 pixels.
_AVERAGE_LIMIT = {"xnnpack": 0.05, "builtin": 0.15}
#: What lies halfway between two integers may become either. The builtin kernels round twice: where the
#: quotient of the scales is a power of two, as many elements just below a half go up as well (a mean over
#: 2x2 pixels makes 1 of 0.25: 0.38 measured).
_TIE_LIMIT = {"xnnpack": 1.0, "builtin": 2.0}
#: The builtin MEAN rounds the input's zero point on the output's grid to a whole step before it adds the
#: mean: up to a half (0.33 measured behind a ResNet).
_BUILTIN_MEAN_LIMIT = 0.6
_AVERAGING_RULES = ("pool.AveragePool", "pool.GlobalAveragePool", "reduce.")
#: The right operand of a product on a grid with zero point 0 (matmul.MatMul) is rounded once more, and all
#: of a row's roundings meet in one sum; where 0.7 LSB of noise are to be expected, there is no bridge.
#: Measured: 0.55 in the mean and 3 at most in a foreign MobileViT, 0.73 and 4 in a foreign LeViT.
_BRIDGE_LIMIT, _BRIDGE_MAX = 1.0, 6
#: Operators that round to integers; the others move them.
_ROUNDING = {
    "ADD",
    "AVERAGE_POOL_2D",
    "BATCH_MATMUL",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "LOGISTIC",
    "MEAN",
    "MUL",
    "QUANTIZE",
    "SUB",
}


@dataclass(frozen=True)
class TensorError:
    """How far one tensor is from the reference's integers, in steps of its own scale (LSB).

    Attributes:
        tensor: Name in the plan.
        operators: Planned operators between it and the known tensors before it.
        elements: Elements compared, over all samples.
        max_lsb: Largest difference.
        mean_lsb: Mean absolute difference.
        averages: Whether a mean or an average pool is among the operators.
        roundings: How many of the operators round to integers; those inside a float island do not.
        bridged: Whether an operand is rounded that the source does not round there.
        slack: Mean error, at most, that comes of rounding a bias to the grid of its sum.
        ties: Share of the elements that lie halfway between two integers.
        fault: Why nothing could be compared, or "".
    """

    tensor: str
    operators: tuple[str, ...]
    elements: int
    max_lsb: int
    mean_lsb: float
    averages: bool = False
    roundings: int = 1
    bridged: bool = False
    slack: float = 0.0
    ties: float = 0.0
    fault: str = ""

    def __str__(self) -> str:
        path = ", ".join(self.operators)
        if self.fault:
            return f"{self.tensor} ({path}): {self.fault}"
        return f"{self.tensor} ({path}): max {self.max_lsb} LSB, mean {self.mean_lsb:.2g}"


def teacher_forced(
    plan: Plan, source: bytes, samples: Sequence[Mapping[str, Array]], *, kernels: str = "xnnpack"
) -> list[TensorError]:
    """Compare every quantized tensor of *plan* with ONNX Runtime (no optimizations), one operator at a time.

    Args:
        plan: Of target ``tflite``, made from *source*.
        source: QDQ ONNX file.
        samples: Name → array for every input, both in the source's order; at least one.
        kernels: One of :data:`KERNELS`.

    Returns:
        One entry per computed tensor whose integers the source names, in execution order.

    Raises:
        InputError: No samples, or an unknown kernel set.
        MissingExtraError: LiteRT or ONNX Runtime is not installed.
    """
    if not samples or kernels not in KERNELS:
        raise InputError(
            f"{len(samples)} samples, kernels {kernels!r}", cure=f"Kernels: {', '.join(KERNELS)}."
        )
    return [lesson.run(kernels) for lesson in lessons(plan, source, samples)]


@dataclass(frozen=True, eq=False)
class Lesson:
    """One tensor, with all that computing it alone takes.

    Attributes:
        comparison: What is known of it before.
        tflite: The operators from known tensors to it, as a file.
        given: Per sample the known tensors, in the order of the file's inputs.
        wanted: Per sample the reference's integers.
        positions: Of its operators in the plan.
    """

    comparison: TensorError
    tflite: bytes
    given: Sequence[Sequence[Array]]
    wanted: Sequence[Array]
    positions: tuple[int, ...]

    def run(self, kernels: str) -> TensorError:
        """Compute the tensor with one kernel set, and compare."""
        try:
            engine = Interpreter(self.tflite, kernels)
            found = [engine.run(arrays)[0] for arrays in self.given]
        except ModelLoadError as error:
            return replace(self.comparison, fault=error.what)
        return _compared(self.comparison, found, self.wanted)


def lessons(plan: Plan, source: bytes, samples: Sequence[Mapping[str, Array]]) -> Iterator[Lesson]:
    """Every computed tensor whose integers the source names, in execution order.

    Arguments and errors are those of :func:`teacher_forced`.
    """
    origin = read_source(source)
    known = _known_tensors(plan, origin)
    given = {i: place for place, i in enumerate(plan.inputs) if i not in known}
    roundings = reference_roundings(source, [*known.values()], samples)
    references = [
        _physical(plan, {i: found[rounding.output].integers for i, rounding in known.items()})
        | {i: _in_file(plan, i, origin, [*sample.items()][place]) for i, place in given.items()}
        for sample, found in zip(samples, roundings, strict=True)
    ]
    producers = {index: place for place, op in enumerate(plan.ops) for index in op.outputs}
    for index in (i for i in known if i in producers):
        positions, inputs = _between(plan, index, {*known, *given}, producers)
        ops = [plan.ops[place] for place in positions]
        comparison = TensorError(
            plan.tensors[index].name,
            tuple(op.op for op in ops),
            0,
            0,
            0.0,
            any(op.rule.startswith(_AVERAGING_RULES) for op in ops),
            sum(_rounds(plan, op) for op in ops),
            any(":symmetric" in plan.tensors[op.outputs[0]].name for op in ops),
            sum(_bias_slack(plan, op, origin) for op in ops),
            float(np.mean([found[known[index].output].ties for found in roundings])),
        )
        yield Lesson(
            comparison,
            perform(_sub_plan(plan, ops, inputs, index)),
            [[reference[i] for i in inputs] for reference in references],
            [reference[index] for reference in references],
            positions,
        )


def _compared(
    comparison: TensorError, found: Sequence[Array], wanted: Sequence[Array]
) -> TensorError:
    if found[0].shape != wanted[0].shape:
        shapes = f"shape {list(found[0].shape)} instead of {list(wanted[0].shape)}"
        return replace(comparison, fault=shapes)
    differences = np.abs(np.stack(found).astype(int) - np.stack(wanted))
    return replace(
        comparison,
        elements=differences.size,
        max_lsb=int(differences.max()),
        mean_lsb=float(differences.mean()),
    )


def failures(errors: Sequence[TensorError], *, kernels: str = "xnnpack") -> list[TensorError]:
    """Those beyond what correct kernels reach: one step per rounding, and a bound on the mean.

    The bound on the mean is widened by three standard deviations of such a count: in a small tensor a
    single element that rounds the other way is more than the bound itself.
    """
    found = []
    for error in errors:
        if error.fault:
            found.append(error)
            continue
        roundings = max(error.roundings, 1)
        limits = _AVERAGE_LIMIT if error.averages else _MEAN_LIMIT
        mean = max(limits[kernels] * roundings, _BRIDGE_LIMIT * error.bridged)
        if kernels == "builtin" and "MEAN" in error.operators:
            mean = max(mean, _BUILTIN_MEAN_LIMIT)
        mean += error.slack + _TIE_LIMIT[kernels] * error.ties
        mean += 3 * (mean / error.elements) ** 0.5
        largest = max(roundings, _BRIDGE_MAX * error.bridged)
        if error.max_lsb > largest or error.mean_lsb > mean:
            found.append(error)
    return found


def _rounds(plan: Plan, op: PlannedOp) -> bool:
    return op.op in _ROUNDING and plan.tensors[op.outputs[0]].dtype == "int8"


def _bias_slack(plan: Plan, op: PlannedOp, source: Source) -> float:
    """Half a step of the sum, in steps of the result, where the source has the bias on another grid."""
    tensors = [plan.tensors[i] for i in op.inputs if i >= 0]
    after = plan.tensors[op.outputs[0]].quantization
    bias = next((t for t in tensors if t.role == "bias" and t.dtype == "int32"), None)
    if bias is None or bias.quantization is None or after is None:
        return 0.0
    # a second arrangement of a constant has a suffix
    names = (bias.name, *(bias.name.rsplit(":", n)[0] for n in (1, 2)))
    name = next((n for n in names if n in source.constants or n in source.by_output), "")
    rounding = source.by_output.get(name)
    steps = np.asarray(bias.quantization.scales, np.float64)
    on_grid = name not in source.constants and (
        rounding is None
        or (not rounding.zero_points.any() and np.allclose(rounding.scales, steps, 1e-6, 0))
    )
    return 0.0 if on_grid else float(steps.max()) / 2 / after.scales[0]


def _known_tensors(plan: Plan, source: Source) -> dict[int, Rounding]:
    """Planned tensor → the source's rounding that gives the same integers."""
    integers: dict[str, Rounding] = {}
    for rounding in source.activations():
        outputs = [r.output for r in source.roundings if r.input == rounding.output]
        # a graph may give out the integers themselves
        for name in (rounding.input.removesuffix("/float"), *outputs, rounding.output):
            integers.setdefault(name, rounding)
    found = {}
    for index, tensor in enumerate(plan.tensors):
        layout = tensor.layout
        whole = layout is not None and layout.fills(prod(tensor.shape))
        # behind an edge that is not int8 (tflite/edges.py)
        name = tensor.name.removesuffix(":int8")
        if whole and tensor.dtype in ("int8", "uint8") and tensor.data is None and name in integers:
            found[index] = integers[name]
    return found


def leaves_integers(plan: Plan, op: PlannedOp) -> bool:
    """Whether an operator makes the floats of an output from integers: it rounds nothing that could be wrong."""
    return op.op == "DEQUANTIZE" and op.outputs[0] in plan.outputs


def _in_file(plan: Plan, index: int, source: Source, sample: tuple[str, Array]) -> Array:
    """What a graph input that no quantizer of the source rounds holds: floats, or the source's integers."""
    tensor, (name, array) = plan.tensors[index], sample
    spec = TensorSpec(tensor.name, tensor.shape, tensor.dtype)
    logical = as_in_file(array, spec, source, name)
    return _physical(plan, {index: logical})[index]


def _physical(plan: Plan, logical: Mapping[int, Array]) -> dict[int, Array]:
    """Tensors of the source in the order in which the planned tensors hold them."""
    arranged = {}
    for index, elements in logical.items():
        tensor = plan.tensors[index]
        assert tensor.layout is not None
        sizes, order = tensor.layout.physical_order()
        if tensor.dtype == "uint8" and elements.dtype == np.int8:
            elements = elements.view(np.uint8) ^ 0x80
        arranged[index] = elements.reshape(sizes).transpose(order).reshape(tensor.shape)
    return arranged


def _between(
    plan: Plan, target: int, known: Collection[int], producers: Mapping[int, int]
) -> tuple[tuple[int, ...], list[int]]:
    """Positions of the operators from known tensors to *target*, in order, and those known tensors."""
    wanted: set[int] = set()
    inputs: set[int] = set()
    stack = [target]
    while stack:
        index = stack.pop()
        if index != target and index in known:
            inputs.add(index)
        elif index in producers and producers[index] not in wanted:
            wanted.add(producers[index])
            stack.extend(i for i in plan.ops[producers[index]].inputs if i >= 0)
    return tuple(sorted(wanted)), sorted(inputs)


def _sub_plan(plan: Plan, ops: Sequence[PlannedOp], inputs: Sequence[int], target: int) -> Plan:
    used = list(
        dict.fromkeys([*inputs, *(i for op in ops for i in (*op.inputs, *op.outputs) if i >= 0)])
    )
    place = {index: position for position, index in enumerate(used)} | {-1: -1}
    tensors: list[PlannedTensor] = [plan.tensors[index] for index in used]
    moved = [
        replace(
            op,
            inputs=tuple(place[i] for i in op.inputs),
            outputs=tuple(place[i] for i in op.outputs),
        )
        for op in ops
    ]
    return Plan(
        "tflite", tuple(tensors), tuple(moved), tuple(place[i] for i in inputs), (place[target],)
    )
