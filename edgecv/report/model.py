"""What a report says, as types. Every rate is a fraction; every path is a file of this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv.stats import Estimate, PairedRecord

__all__ = [
    "Agreement",
    "BackendRecord",
    "ClassRow",
    "Confusion",
    "FileRecord",
    "Latency",
    "MethodRow",
    "Report",
    "Validity",
]


@dataclass(frozen=True)
class Latency:
    """Percentiles of one inference, in milliseconds, each with its order-statistic interval."""

    p50: Estimate
    p90: Estimate
    p99: Estimate


@dataclass(frozen=True)
class FileRecord:
    """One model file on one engine.

    Attributes:
        path: The file (for OpenVINO the xml).
        model_bytes: Size of everything that must be copied to a board (for OpenVINO xml and bin).
        top1: On the test pictures.
        latency: Steady state, or None when it was not measured.
        import_ms: Importing the engine in a fresh process.
        load_ms: Loading the file in a fresh process.
        first_ms: The first inference after loading.
        peak_rss_bytes: Peak resident memory of that process.
        executed_precision: What the engine's runtime graph says, e.g. ``"int8"``; ``"unknown"``.
    """

    path: Path
    model_bytes: int
    top1: Estimate
    latency: Latency | None = None
    import_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    peak_rss_bytes: int | None = None
    executed_precision: str = "unknown"


@dataclass(frozen=True)
class Agreement:
    """How closely an engine reproduces the model it was made from.

    Attributes:
        rate: Share of pictures with the same class.
        disagreements: Pictures with another class.
        near_ties: Those of them whose two best scores lie within twice the largest difference.
        largest_difference: Largest difference of any score, in score units.
        output_step: Scale of the int8 output, or None when the output is float.
    """

    rate: Estimate
    disagreements: int
    near_ties: int
    largest_difference: float
    output_step: float | None = None

    @property
    def largest_steps(self) -> float | None:
        """The largest difference in steps of the int8 output."""
        return self.largest_difference / self.output_step if self.output_step else None


@dataclass(frozen=True)
class BackendRecord:
    """One engine with its float and its int8 file.

    Attributes:
        backend: Name of the engine.
        version: Of the engine.
        target: Kind of file.
        float_file: The float model before quantization.
        int8_file: The quantized model.
        paired: int8 (b) against float (a) on the same pictures and the same engine.
        agreement: int8 with the torch model it was exported from, or None without torch.
    """

    backend: str
    version: str
    target: str
    float_file: FileRecord
    int8_file: FileRecord
    paired: PairedRecord
    agreement: Agreement | None = None


@dataclass(frozen=True)
class MethodRow:
    """One way to quantize the same float model.

    Attributes:
        method: E.g. ``"QAT"`` or ``"post-training"``.
        bits: Width of weights and activations.
        top1: On the test pictures.
        paired: Against the float model.
    """

    method: str
    bits: int
    top1: Estimate
    paired: PairedRecord


@dataclass(frozen=True)
class ClassRow:
    """Recall of one class; None where the test has no picture of it."""

    label: str
    float_recall: Estimate | None
    int8_recall: Estimate | None


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix.

    Attributes:
        of: Which model on which engine.
        counts: [C][C], row = truth, column = answer.
    """

    of: str
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Validity:
    """Whether the timings can be trusted.

    Attributes:
        valid: False when any reason speaks against them.
        reasons: One sentence each.
    """

    valid: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that a run has to show.

    Attributes:
        title: Headline.
        model: Name of the architecture.
        created: ISO 8601 time, given by the caller so that a report can be reproduced.
        test_folder: The pictures measured on.
        pictures: How many.
        groups: Independent originals among them.
        classes: Names in the order of the outputs.
        backends: One per engine.
        float_model: Top-1 of the float model in torch, or None.
        quantized_model: Top-1 of the fake-quantized model in torch, or None.
        methods: QAT beside post-training quantization.
        per_class: Recall of each class, float and int8, of the first engine.
        confusion: Of one int8 file, or None.
        margin: Accepted loss of the non-inferiority gate, as a fraction.
        environment: Hardware and software, JSON-ready.
        validity: Of the timings.
        notes: Sentences for the reader.
    """

    title: str
    model: str
    created: str
    test_folder: Path
    pictures: int
    groups: int
    classes: tuple[str, ...]
    backends: tuple[BackendRecord, ...]
    float_model: Estimate | None = None
    quantized_model: Estimate | None = None
    methods: tuple[MethodRow, ...] = ()
    per_class: tuple[ClassRow, ...] = ()
    confusion: Confusion | None = None
    margin: float = 0.01
    environment: dict[str, Any] = field(default_factory=dict)
    validity: Validity = Validity(valid=True)
    notes: tuple[str, ...] = ()
