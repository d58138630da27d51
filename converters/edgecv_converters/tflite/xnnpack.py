"""What falls out of XNNPACK without a word: found in the plan, before anything is written."""

from __future__ import annotations

from edgecv_converters.plan import Plan, PlannedOp
from edgecv_converters.targets import Engine

__all__ = ["outside"]


def outside(plan: Plan, engine: Engine) -> tuple[str, ...]:
    """One warning per operator that the engine's delegate will not take, with the delegate's condition."""
    found = []
    for op in plan.ops:
        reason = _reason(plan, op, engine)
        if reason:
            name = plan.tensors[op.outputs[0]].name
            nodes = f" (from {', '.join(op.sources)})" if op.sources else ""
            found.append(f"{op.op} {name!r}{nodes} runs outside {engine.delegate}: {reason}")
    return tuple(found)


def _reason(plan: Plan, op: PlannedOp, engine: Engine) -> str | None:
    dtype = plan.tensors[op.inputs[0]].dtype
    if op.op not in engine.inside[dtype]:
        return f"it has no {dtype} {op.op}"
    if op.op == "TRANSPOSE":
        rank, limit = len(plan.tensors[op.outputs[0]].shape), int(engine.limits["transpose_rank"])
        return f"rank {rank} > {limit}" if rank > limit else None
    if op.op in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        return _wide_stride(op)
    if dtype == "int8" and op.op in ("ADD", "QUANTIZE"):
        return _scale_ratio(plan, op, engine.limits[f"{op.op.lower()}_scale_ratio"])
    return None


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


def _scale_ratio(plan: Plan, op: PlannedOp, limits: list[float]) -> str | None:
    out = plan.tensors[op.outputs[0]].quantization
    for index in op.inputs:
        source = plan.tensors[index].quantization
        if source is None or out is None:
            continue
        ratio = source.scales[0] / out.scales[0]
        if not limits[0] <= ratio < limits[1]:
            name = plan.tensors[index].name
            return f"the scale of {name!r} is {ratio:.4g} of its output's, outside [{limits[0]:g}, {limits[1]:g})"
    return None
