"""Per-tensor proof of a TFLite plan: each operator gets the reference's integers and must give its integers.

End to end, one rounding that falls the other way grows over the layers; two optimization levels of one
engine differ by many steps. Between two tensors whose integers are known, only the roundings in between
can differ, so that a wrong scale, pad or axis shows at its own operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgecv.errors import InputError, require
from edgecv.verify.source import Array, Source, read_source, to_int8
from edgecv_converters import Plan
from edgecv_converters.plan import PlannedOp, PlannedTensor
from edgecv_runtimes.quiet import import_litert, import_onnxruntime

__all__ = ["KERNELS", "TensorError", "failures", "teacher_forced"]

#: Kernel sets of LiteRT: with its default delegate (XNNPACK), and without.
KERNELS = ("xnnpack", "builtin")
#: Largest mean error in steps that correct kernels reach, by what computes the tensor.
_MEAN_LIMIT = {"xnnpack": 1e-3, "builtin": 0.02}
#: Averages divide in fixed point, and small windows often end on a half: 0.04 measured on XNNPACK, 0.11
#: on the builtin kernel over 3x3 pixels.
_AVERAGE_LIMIT = {"xnnpack": 0.05, "builtin": 0.15}
_AVERAGING_RULES = ("pool.AveragePool", "pool.GlobalAveragePool", "reduce.")
#: Operators that round to integers; the others move them.
_ROUNDING = {
    "ADD",
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "MEAN",
    "QUANTIZE",
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
    """

    tensor: str
    operators: tuple[str, ...]
    elements: int
    max_lsb: int
    mean_lsb: float
    averages: bool = False

    def __str__(self) -> str:
        path = ", ".join(self.operators)
        return f"{self.tensor} ({path}): max {self.max_lsb} LSB, mean {self.mean_lsb:.2g}"


def teacher_forced(
    plan: Plan, source: bytes, samples: Sequence[Mapping[str, Array]], *, kernels: str = "xnnpack"
) -> list[TensorError]:
    """Compare every quantized tensor of *plan* with ONNX Runtime (no optimizations), one operator at a time.

    Args:
        plan: Of target ``tflite``, made from *source*.
        source: QDQ ONNX file.
        samples: Input name → float32 array in ONNX's order; at least one.
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
    known = _known_tensors(plan, read_source(source))
    references = [
        _physical(plan, known, found) for found in _reference(source, list(known.values()), samples)
    ]
    producers = {index: op for op in plan.ops for index in op.outputs}
    errors = []
    for index in known:
        if index not in producers:
            continue
        ops, inputs = _between(plan, index, known, producers)
        run = _Runner(_sub_plan(plan, ops, inputs, index), kernels)
        differences = [
            np.abs(run([r[i] for i in inputs]).astype(int) - r[index]) for r in references
        ]
        stacked = np.stack(differences)
        errors.append(
            TensorError(
                plan.tensors[index].name,
                tuple(op.op for op in ops),
                stacked.size,
                int(stacked.max()),
                float(stacked.mean()),
                any(op.rule.startswith(_AVERAGING_RULES) for op in ops),
            )
        )
    return errors


def failures(errors: Sequence[TensorError], *, kernels: str = "xnnpack") -> list[TensorError]:
    """Those beyond what correct kernels reach: one step per rounding, and a bound on the mean.

    One element that rounds the other way is always allowed: in a small tensor it alone is more than
    the bound on the mean.
    """
    found = []
    for error in errors:
        roundings = max(sum(op in _ROUNDING for op in error.operators), 1)
        limits = _AVERAGE_LIMIT if error.averages else _MEAN_LIMIT
        mean = max(limits[kernels] * roundings, 1 / error.elements)
        if error.max_lsb > roundings or error.mean_lsb > mean:
            found.append(error)
    return found


def _known_tensors(plan: Plan, source: Source) -> dict[int, str]:
    """Planned tensor → name of the source's integer tensor that holds the same elements."""
    integers: dict[str, str] = {}
    for rounding in source.activations():
        outputs = [r.output for r in source.roundings if r.input == rounding.output]
        for name in (rounding.input.removesuffix("/float"), *outputs):
            integers.setdefault(name, rounding.output)
    found = {}
    for index, tensor in enumerate(plan.tensors):
        layout = tensor.layout
        whole = layout is not None and layout.fills(int(np.prod(tensor.shape)))
        if whole and tensor.dtype == "int8" and tensor.data is None and tensor.name in integers:
            found[index] = integers[tensor.name]
    return found


def _reference(
    source: bytes, names: list[str], samples: Sequence[Mapping[str, Array]]
) -> list[dict[str, Array]]:
    """Integer tensors (int8 terms) of the source for each sample."""
    require("onnx", extra="convert")
    import onnx

    runtime = import_onnxruntime()
    model = onnx.ModelProto.FromString(source)
    del model.graph.output[:]
    for name in dict.fromkeys(names):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = [o.name for o in session.get_outputs()]
    results = []
    for sample in samples:
        arrays = session.run(outputs, dict(sample))
        zeros = np.zeros(1, np.int64)
        results.append(
            {n: to_int8(a, zeros, str(a.dtype))[0] for n, a in zip(outputs, arrays, strict=True)}
        )
    return results


def _physical(
    plan: Plan, known: Mapping[int, str], reference: Mapping[str, Array]
) -> dict[int, Array]:
    """The reference's integers in the order in which the planned tensors hold them."""
    arranged = {}
    for index, name in known.items():
        tensor = plan.tensors[index]
        assert tensor.layout is not None
        sizes, order = tensor.layout.physical_order()
        arranged[index] = reference[name].reshape(sizes).transpose(order).reshape(tensor.shape)
    return arranged


def _between(
    plan: Plan, target: int, known: Mapping[int, str], producers: Mapping[int, PlannedOp]
) -> tuple[list[PlannedOp], list[int]]:
    """Operators from known tensors to *target*, in order, and those known tensors."""
    wanted: set[int] = set()
    inputs: list[int] = []
    stack = [target]
    while stack:
        index = stack.pop()
        if index != target and index in known:
            inputs.append(index)
        elif index in producers:
            op = producers[index]
            wanted.add(id(op))
            stack.extend(i for i in op.inputs if i >= 0)
        elif index in plan.inputs:
            raise InputError(
                f"the input {plan.tensors[index].name!r} is not quantized",
                cure="Verify a QDQ model.",
            )
    return [op for op in plan.ops if id(op) in wanted], sorted(set(inputs))


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


class _Runner:
    """One sub-plan in LiteRT, one thread."""

    def __init__(self, plan: Plan, kernels: str) -> None:
        from edgecv_converters.tflite.performer import perform

        litert = import_litert()
        resolvers = litert.OpResolverType
        resolver = (
            resolvers.AUTO if kernels == "xnnpack" else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        self._engine: Any = litert.Interpreter(
            model_content=perform(plan), num_threads=1, experimental_op_resolver_type=resolver
        )
        self._engine.allocate_tensors()
        self._inputs = [d["index"] for d in self._engine.get_input_details()]
        self._output = self._engine.get_output_details()[0]["index"]

    def __call__(self, arrays: Sequence[Array]) -> Array:
        for index, array in zip(self._inputs, arrays, strict=True):
            self._engine.set_tensor(index, np.ascontiguousarray(array))
        self._engine.invoke()
        result: Array = self._engine.get_tensor(self._output)
        return result
