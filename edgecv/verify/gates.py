"""What a verification finds: gates that passed or failed, and every tensor and layer behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgecv.errors import GateError
from edgecv_runtimes.base import ExecutedLayer

__all__ = ["GateResult", "TensorRow", "VerificationFailedError", "VerificationReport", "shortened"]

#: Findings named in one message.
_SHOWN = 5


@dataclass(frozen=True)
class GateResult:
    """One gate.

    Attributes:
        name: Key in the manifest, e.g. ``"parameters"``.
        passed: Whether the artifact may be written.
        detail: What was found, in words; of a gate that failed it names the tensors.
        value: The number behind it, in the gate's own unit; None without one.
        limit: What the number may be at most (of a share: at least); None where it decides nothing.
    """

    name: str
    passed: bool
    detail: str
    value: float | None = None
    limit: float | None = None

    @property
    def title(self) -> str:
        """The name for people."""
        return self.name.replace("_", " ")

    def to_json(self) -> dict[str, Any]:
        """All but the name, JSON-ready."""
        record = asdict(self)
        del record["name"]
        return record


@dataclass(frozen=True)
class TensorRow:
    """How far one tensor of the artifact is from the reference.

    Attributes:
        tensor: Its name.
        kernels: Which kernels computed it, e.g. ``"xnnpack"``.
        operators: Operators between it and tensors that were given the reference's numbers.
        max_error: Largest difference, in *unit*.
        mean_error: Mean absolute difference, in *unit*.
        unit: ``"LSB"`` (steps of the tensor's own scale) or ``"of the largest magnitude"``.
        passed: Whether it is within the bounds.
    """

    tensor: str
    kernels: str
    operators: str
    max_error: float
    mean_error: float
    unit: str
    passed: bool


@dataclass(frozen=True)
class VerificationReport:
    """Everything that a verification of one artifact found.

    Attributes:
        target: ``"tflite"``, ``"openvino"`` or ``"onnx"``.
        engine: What ran the artifact, with its version.
        reference: What ran the source, with its version.
        data: ``"synthetic"`` or ``"pictures"``.
        samples: How many of them.
        gates: In the order in which they ran.
        mismatches: Every parameter that differs from the source's, in words.
        warnings: What is no fault of the artifact, and good to know.
        tensors: Every tensor that was compared.
        layers: Every convolution, linear layer and product as the engine executes it.
    """

    target: str
    engine: str
    reference: str
    data: str
    samples: int
    gates: tuple[GateResult, ...]
    mismatches: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tensors: tuple[TensorRow, ...] = ()
    layers: tuple[ExecutedLayer, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """The gates that did not."""
        return tuple(gate for gate in self.gates if not gate.passed)

    @property
    def summary(self) -> str:
        """In a few words."""
        on = (
            f"{self.samples} {self.data} samples"
            if self.data == "synthetic"
            else f"{self.samples} pictures"
        )
        if self.verified:
            return f"verified on {on}"
        return f"NOT verified: {', '.join(gate.title for gate in self.failed)} failed"

    def to_json(self) -> dict[str, Any]:
        """What the manifest keeps: the gates and which layer runs in which precision, without single tensors."""
        said: dict[str, Any] = {
            "verified": self.verified,
            "data": self.data,
            "samples": self.samples,
            "engine": self.engine,
            "reference": self.reference,
            "gates": {gate.name: gate.to_json() for gate in self.gates},
        }
        if self.layers:
            said["executed_layers"] = _by_precision(self.layers)
        return said

    def listing_to_json(self) -> dict[str, Any]:
        """The single tensors and layers, JSON-ready."""
        return {
            "tensors": [asdict(row) for row in self.tensors],
            "layers": [layer._asdict() for layer in self.layers],
        }

    def to_text(self, *, tensors: bool = False) -> str:
        """Lines for a terminal: one per gate, and with *tensors* one per tensor and layer."""
        titles = [gate.title for gate in self.gates]
        width = max(map(len, titles))
        lines = [
            f"  {'ok' if gate.passed else 'FAILED':<6}  {title:<{width}}  {gate.detail}"
            for gate, title in zip(self.gates, titles, strict=True)
        ]
        if tensors:
            lines += _table(self.tensors, self.layers)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()


class VerificationFailedError(GateError):
    """An artifact that is not what its source says.

    Args:
        what: As :class:`~edgecv.errors.EdgecvError`.
        cure: Likewise.
        report: What was found.
    """

    def __init__(self, what: str, *, cure: str, report: VerificationReport) -> None:
        super().__init__(what, cure=cure)
        self.report = report


def shortened(findings: Sequence[object], shown: int = _SHOWN) -> str:
    """The first findings, and how many more there are.

    >>> shortened(["a", "b", "c"], shown=2)
    'a; b; and 1 more'
    """
    listed = [str(finding) for finding in findings[:shown]]
    if len(findings) > shown:
        listed.append(f"and {len(findings) - shown} more")
    return "; ".join(listed)


def _by_precision(layers: Sequence[ExecutedLayer]) -> dict[str, dict[str, list[str]]]:
    """Precision → kind → names, in execution order."""
    found: dict[str, dict[str, list[str]]] = {}
    for layer in layers:
        found.setdefault(layer.precision, {}).setdefault(layer.kind, []).append(layer.name)
    return found


def _table(tensors: Sequence[TensorRow], layers: Sequence[ExecutedLayer]) -> list[str]:
    rows = [
        (
            row.tensor,
            row.kernels,
            f"max {row.max_error:.3g}, mean {row.mean_error:.2g} {row.unit}",
            row.operators + ("" if row.passed else "  FAILED"),
        )
        for row in tensors
    ]
    rows += [(layer.name, layer.kind, layer.precision, "") for layer in layers]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    return ["    " + "  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows]
