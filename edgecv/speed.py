"""Whether int8 pays: an artifact against its float twin, on this machine.

The twin is the same model without quantization, converted by the same rules for the same target; both
run in fresh processes with interleaved blocks. On a processor without int8 instructions, or where an
engine falls back to float around every layer, int8 can be the slower one, and a user should hear it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgecv_converters
from edgecv.bench import BenchOptions, Cell, run_cells
from edgecv.stats import Estimate, ratio_of_medians
from edgecv_converters.float_twin import float_twin

__all__ = ["Speed", "against_float_twin"]

_OPTIONS = BenchOptions(blocks=6, runs=300, max_seconds=1.5, warmup=5)


@dataclass(frozen=True)
class Speed:
    """Latency of an int8 artifact and of its float twin.

    Attributes:
        int8_ms: Median.
        float_ms: Median.
        ratio: int8 over float, with its interval.
        int8_executes: What the engine executed.
        float_executes: Likewise.
        valid: Whether the machine was quiet enough.
        reasons: Why not.
    """

    int8_ms: float
    float_ms: float
    ratio: Estimate
    int8_executes: str
    float_executes: str
    valid: bool
    reasons: tuple[str, ...]

    @property
    def slower(self) -> bool:
        """Whether int8 is slower for certain: the whole interval lies above 1."""
        return self.ratio.low > 1

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "int8_p50_ms": self.int8_ms,
            "float_p50_ms": self.float_ms,
            "ratio": self.ratio.as_json(),
            "int8_executes": self.int8_executes,
            "float_executes": self.float_executes,
            "valid": self.valid,
            "reasons": list(self.reasons),
        }

    def __str__(self) -> str:
        text = (
            f"{self.int8_ms:.3f} ms, float twin {self.float_ms:.3f} ms: ratio {self.ratio.value:.2f}"
            f" [{self.ratio.low:.2f}, {self.ratio.high:.2f}]"
        )
        return text if self.valid else f"{text} (not to be trusted: {' '.join(self.reasons)})"


def against_float_twin(
    source: bytes,
    artifact: Path,
    target: str,
    *,
    options: BenchOptions = _OPTIONS,
    progress: Callable[[str], None] | None = None,
) -> Speed:
    """Measure an int8 artifact and the float model that it would be.

    Args:
        source: The QDQ ONNX file that it was made from.
        artifact: The int8 file.
        target: Its kind.
        options: How long.
        progress: Called with a short line now and then.

    Raises:
        UnsupportedError: *source* has no quantizers.
        InvalidMeasurementError: A measuring process died.
    """
    twin = edgecv_converters.convert_model(float_twin(source), target)
    with tempfile.TemporaryDirectory(prefix="edgecv-twin-") as name:
        stem = Path(name) / "twin"
        for suffix, content in twin.files.items():
            stem.with_suffix(suffix).write_bytes(content)
        main = next(suffix for suffix in twin.files if suffix != ".bin")
        cells = [Cell("int8", artifact), Cell("float twin", stem.with_suffix(main))]
        result = run_cells(cells, options, progress=progress)
    int8, real = result.records
    return Speed(
        int8.p50.value,
        real.p50.value,
        ratio_of_medians(int8.samples_ns, real.samples_ns, resamples=500),
        int8.executed_precision,
        real.executed_precision,
        result.valid,
        result.reasons,
    )
