"""The plan: what a conversion will write, as data that prints itself, before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecv.artifact.manifest import QuantizerRecord
from edgecv.spec.types import QuantParams
from edgecv_converters.ir import Array
from edgecv_converters.layout import Layout

__all__ = ["Plan", "PlannedOp", "PlannedTensor", "Quantization"]


@dataclass(frozen=True)
class Quantization:
    """Parameters of a planned tensor.

    Attributes:
        scales: float32 values, one or one per channel.
        zero_points: As many.
        axis: Channel dimension of the planned shape; 0 per tensor.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    def __str__(self) -> str:
        if len(self.scales) > 1:
            return f"{len(self.scales)} scales, axis {self.axis}"
        return f"{self.scales[0]:.7g}, {self.zero_points[0]}"


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of the file.

    Attributes:
        name: Unique in the file. Activations and constants keep their source names; what is derived
            from ``T`` is ``T:…``.
        shape: Physical shape.
        dtype: ``"int8"``, ``"int32"`` or ``"float32"``; at the edge of the file also ``"uint8"``, of a stored
            constant ``"float16"``.
        role: ``"input"``, ``"activation"``, ``"weight"``, ``"bias"`` or ``"parameter"`` (shapes, axes, pads).
        quantization: Parameters, or None.
        data: Elements of a constant in any memory order, or None.
        layout: How the source's logical tensor lies in this one, for activations that carry one whole.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    quantization: Quantization | None = None
    data: Array | None = field(default=None, repr=False, compare=False)
    layout: Layout | None = None

    def quant_params(self) -> QuantParams | None:
        """Per-tensor parameters of an activation, or None for a float tensor."""
        quant = self.quantization
        return (
            None
            if quant is None
            else QuantParams(quant.scales[0], quant.zero_points[0], self.dtype)
        )


@dataclass(frozen=True)
class PlannedOp:
    """One operator of the file.

    Attributes:
        op: Name in the target's schema, e.g. ``"CONV_2D"``.
        version: Lowest operator version that carries the meaning.
        inputs: Indices of planned tensors; -1 for an omitted one.
        outputs: Indices of planned tensors.
        options: Fields of the operator's options by schema name; members of enumerations by name.
        rule: Which rule planned it.
        reason: Why it looks so.
        sources: Names of the source nodes that it computes (or helps to).
        fused: Clamp that runs inside it, or "".
        macs: Multiply-accumulates.
    """

    op: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float | bool | str]
    rule: str
    reason: str
    sources: tuple[str, ...]
    fused: str = ""
    macs: int = 0


@dataclass(frozen=True)
class Plan:
    """Everything that performing needs, and everything that a reader wants to know before.

    Attributes:
        target: Name of the target.
        tensors: Indexed by the operators.
        ops: In execution order.
        inputs: Indices of the graph's inputs.
        outputs: Indices of its outputs.
        quantizers: Activation quantizers of the source that the file carries, in graph order.
        left_out: Names of those it leaves out.
        float_products: Source nodes that the source quantizes and that run in float all the same; a warning
            says why.
        warnings: What works, but not as well as it could, and why.
    """

    target: str
    tensors: tuple[PlannedTensor, ...]
    ops: tuple[PlannedOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    quantizers: tuple[QuantizerRecord, ...] = ()
    left_out: tuple[str, ...] = ()
    float_products: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def statistics(self) -> dict[str, Any]:
        """Counts: operators by type, multiply-accumulates and their share in int8, bytes of constants."""
        macs = sum(op.macs for op in self.ops)
        int8 = sum(op.macs for op in self.ops if self.tensors[op.inputs[0]].dtype == "int8")
        constants = [t for t in self.tensors if t.data is not None]
        return {
            "operators": len(self.ops),
            "by_type": dict(sorted(Counter(op.op for op in self.ops).items())),
            "macs": macs,
            "int8_macs_share": int8 / macs if macs else 0.0,
            "constant_bytes": sum(t.data.nbytes for t in constants if t.data is not None),
            "quantizers": len(self.quantizers),
        }

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON-ready data; constants without their elements."""
        return {
            "target": self.target,
            "statistics": self.statistics(),
            "inputs": [self.tensors[i].name for i in self.inputs],
            "outputs": [self.tensors[i].name for i in self.outputs],
            "operators": [self._op_json(op) for op in self.ops],
            "tensors": [_tensor_json(t) for t in self.tensors],
            "quantizers": [
                {"name": q.name, "scale": q.scale, "zero_point": q.zero_point}
                for q in self.quantizers
            ],
            "left_out": list(self.left_out),
            "float_products": list(self.float_products),
            "warnings": list(self.warnings),
        }

    def to_text(self) -> str:
        """The plan as a table for a terminal: one line per operator, then counts and warnings."""
        rows = [("", "operator", "output", "shape", "quantization", "fused", "rule", "from", "why")]
        for number, op in enumerate(self.ops):
            out = self.tensors[op.outputs[0]]
            quant = str(out.quantization) if out.quantization else out.dtype
            rows.append(
                (
                    str(number),
                    f"{op.op} v{op.version}" if op.version else op.op,
                    out.name,
                    "x".join(map(str, out.shape)),
                    quant,
                    op.fused,
                    op.rule,
                    ", ".join(op.sources),
                    op.reason,
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
        lines = [
            "  ".join(
                [*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", *self._summary()])

    def _summary(self) -> list[str]:
        counts = self.statistics()
        kinds = ", ".join(f"{n} {op}" for op, n in counts["by_type"].items())
        lines = [f"target {self.target}: {counts['operators']} operators ({kinds})"]
        for title, indices in (("input", self.inputs), ("output", self.outputs)):
            for i in indices:
                t = self.tensors[i]
                quant = f" ({t.quantization})" if t.quantization else ""
                lines.append(f"{title} {t.name}: {'x'.join(map(str, t.shape))} {t.dtype}{quant}")
        if counts["macs"]:
            share = f"{counts['int8_macs_share']:.1%}"
            lines.append(f"{counts['macs']:,} multiply-accumulates, {share} of them in int8")
        left_out = f", left out: {', '.join(self.left_out)}" if self.left_out else ", none left out"
        lines.append(f"{counts['quantizers']} quantizers kept bit for bit{left_out}")
        return lines + [f"warning: {w}" for w in self.warnings]

    def _op_json(self, op: PlannedOp) -> dict[str, Any]:
        def names(indices: tuple[int, ...]) -> list[str | None]:
            return [self.tensors[i].name if i >= 0 else None for i in indices]

        return {
            "operator": op.op,
            "version": op.version,
            "inputs": names(op.inputs),
            "outputs": names(op.outputs),
            "options": dict(op.options),
            "fused": op.fused,
            "rule": op.rule,
            "reason": op.reason,
            "sources": list(op.sources),
            "macs": op.macs,
        }


def _tensor_json(tensor: PlannedTensor) -> dict[str, Any]:
    quant = tensor.quantization
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "role": tensor.role,
        "quantization": None
        if quant is None
        else {
            "scales": list(quant.scales),
            "zero_points": list(quant.zero_points),
            "axis": quant.axis,
        },
        "constant_bytes": None if tensor.data is None else tensor.data.nbytes,
        "layout": None if tensor.layout is None else str(tensor.layout),
    }
