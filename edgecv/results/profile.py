"""Where the time of one answer goes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LayerTime", "Profile"]


@dataclass(frozen=True)
class LayerTime:
    """One layer as an engine executed it.

    Attributes:
        name: As the engine calls it.
        kind: Its operator.
        ms: Mean wall time per call, in milliseconds.
        precision: What it computes in, ``""`` where the engine does not say.
    """

    name: str
    kind: str
    ms: float
    precision: str = ""


@dataclass(frozen=True)
class Profile:
    """Where the time of one answer goes. A look inside, not a benchmark: see ``edgecv bench``.

    Attributes:
        runs: Calls behind each figure.
        preprocess_ms: Median, or None for a model that takes no picture.
        infer_ms: Median of the engine's call.
        postprocess_ms: Median, or None.
        layers: In execution order, or None where the engine gives none.
        note: Why there are none.
    """

    runs: int
    preprocess_ms: float | None
    infer_ms: float
    postprocess_ms: float | None
    layers: tuple[LayerTime, ...] | None
    note: str = ""

    def __str__(self) -> str:
        parts = [
            f"{name} {value:.3f} ms"
            for name, value in (
                ("preprocess", self.preprocess_ms),
                ("infer", self.infer_ms),
                ("postprocess", self.postprocess_ms),
            )
            if value is not None
        ]
        lines = [f"medians of {self.runs} runs: {', '.join(parts)}"]
        if self.layers is None:
            lines.append(f"layers: {self.note}")
        else:
            width = max((len(layer.kind) for layer in self.layers), default=0)
            slowest = sorted(self.layers, key=lambda layer: -layer.ms)
            lines += [
                f"{layer.ms:9.4f} ms  {layer.kind:<{width}}  {layer.name}" for layer in slowest
            ]
        return "\n".join(lines)
