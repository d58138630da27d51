"""What falls out of XNNPACK without a word: found in the plan, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from edgecv_converters.plan import Plan, PlannedOp
from edgecv_converters.targets import Engine

__all__ = ["Outside", "find_outside", "outside", "ratio_complaint"]

#: Operators of which the delegate compares the scale of each operand with the result's.
_COMPARED = ("ADD", "QUANTIZE", "SUB")


@dataclass(frozen=True)
class Outside:
    """An operator that a delegate will not take; ``str`` gives the warning.

    Attributes:
        operator: Name in the schema.
        tensor: Name of what it writes.
        sources: Names of the source nodes.
        delegate: Which delegate.
        reason: Its condition.
    """

    operator: str
    tensor: str
    sources: tuple[str, ...]
    delegate: str
    reason: str

    def __str__(self) -> str:
        nodes = f" (from {', '.join(self.sources)})" if self.sources else ""
        return f"{self.operator} {self.tensor!r}{nodes} runs outside {self.delegate}: {self.reason}"


def find_outside(plan: Plan, engine: Engine) -> tuple[Outside, ...]:
    """Every operator that the engine's delegate will not take, in order."""
    return tuple(
        Outside(op.op, plan.tensors[op.outputs[0]].name, op.sources, engine.delegate, reason)
        for op in plan.ops
        if (reason := _reason(plan, op, engine))
    )


def outside(plan: Plan, engine: Engine) -> tuple[str, ...]:
    """One warning per operator that the engine's delegate will not take, with the delegate's condition."""
    return tuple(map(str, find_outside(plan, engine)))


def ratio_complaint(
    op: str, scales: Sequence[float], output: float, engine: Engine, names: Sequence[str]
) -> str | None:
    """Why the delegate leaves integer operator *op* because of its scales, or None.

    Args:
        op: Name in the schema.
        scales: Of the integer operands.
        output: Of the result.
        engine: For its limits.
        names: Of the operands, for the message.
    """
    if op == "MUL":
        ratios = {"the product of the scales": prod(scales) / output}
    elif op in _COMPARED:
        said = zip(names, scales, strict=True)
        ratios = {f"the scale of {name!r}": scale / output for name, scale in said}
    else:
        return None
    low, high = engine.limits[f"{op.lower()}_scale_ratio"]
    for what, ratio in ratios.items():
        if not low <= ratio < high:
            return f"{what} is {ratio:.4g} of the output's, outside [{low:g}, {high:g})"
    return None


def _reason(plan: Plan, op: PlannedOp, engine: Engine) -> str | None:
    dtype = plan.tensors[op.inputs[0]].dtype
    if op.op not in engine.inside[dtype]:
        return f"it has no {dtype} {op.op}"
    result = plan.tensors[op.outputs[0]].dtype
    if op.op == "QUANTIZE" and result not in engine.limits["quantize_to"]:
        return f"it has no QUANTIZE to {result}"
    rank = max(len(plan.tensors[i].shape) for i in (*op.inputs, *op.outputs) if i >= 0)
    if rank > engine.limits["tensor_rank"]:
        return f"rank {rank} > {engine.limits['tensor_rank']}"
    if op.op in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        return _wide_stride(op)
    if op.op == "CONCATENATION" and len(op.inputs) > engine.limits["concatenation_inputs"]:
        return f"{len(op.inputs)} inputs > {engine.limits['concatenation_inputs']}"
    return _grid_complaint(plan, op, engine) if dtype == "int8" else None


def _grid_complaint(plan: Plan, op: PlannedOp, engine: Engine) -> str | None:
    """Conditions on the parameters of an integer operator."""
    inputs = [plan.tensors[i] for i in op.inputs if i >= 0]
    output = plan.tensors[op.outputs[0]].quantization
    if op.op == "BATCH_MATMUL":
        right, wanted = inputs[1].quantization, engine.limits["batch_matmul_right_zero_point"]
        zero = right.zero_points[0] if right is not None else wanted
        return None if zero == wanted else f"zero point {zero} of the right operand, not {wanted}"
    if output is None:
        return None
    quantized = [t for t in inputs if t.quantization is not None]
    scales = [t.quantization.scales[0] for t in quantized if t.quantization is not None]
    return ratio_complaint(op.op, scales, output.scales[0], engine, [t.name for t in quantized])


def _wide_stride(op: PlannedOp) -> str | None:
    """xnnpack_delegate.cc, CheckPoolingParams: a stride must not exceed its window."""
    for side in "HW":
        stride, window = (
            op.options[f"Stride{side}"],
            op.options["FilterHeight" if side == "H" else "FilterWidth"],
        )
        if float(stride) > float(window):
            return f"stride {stride} exceeds the window of {window}"
    return None
