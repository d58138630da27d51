"""``/metrics`` for Prometheus: counters and histograms with fixed buckets, so that fleets add up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from edgecv.camera.frame import Answer
from edgecv.camera.meters import STAGES

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Metrics"]

#: Seconds; the same for every board and version.
BUCKETS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
_COUNTERS: Final = {
    "frames_in": "Frames that the source gave.",
    "frames_out": "Frames that were answered.",
    "frames_dropped": "Frames that were not answered.",
    "frames_damaged": "Of the dropped ones, those that could not be decoded.",
}
_GAUGES: Final = {
    "fps_in": ("fps_in", "Frames per second that came, over the last seconds."),
    "fps_out": ("fps_out", "Frames per second that were answered, over the last seconds."),
    "resident_bytes": ("rss_bytes", "Resident memory."),
    "resident_peak_bytes": ("peak_rss_bytes", "Peak of the resident memory."),
    "cpu_percent": ("cpu_percent", "Percent of one processor."),
    "temperature_celsius": ("temperature_c", "Of the processor."),
    "frequency_hertz": ("frequency_hz", "Of processor 0."),
}


class Metrics:
    """Everything under the prefix ``edgecv_camera_``. A sink."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Histogram

        self._registry = CollectorRegistry()
        times = Histogram(
            "edgecv_camera_stage_seconds",
            "Time of an answer by stage; glass is the frame's age at the answer.",
            ["stage"],
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._stages = {stage: times.labels(stage) for stage in STAGES}
        self._stats: dict[str, Any] = {}
        self._registry.register(_Reader(self))

    def take(self, answer: Answer) -> None:
        """Count the times of an answer."""
        stages, times = self._stages, answer.classification.timings
        stages["capture"].observe(answer.frame.capture_ns / 1e9)
        stages["preprocess"].observe(times.preprocess_ns / 1e9)
        stages["infer"].observe(times.infer_ns / 1e9)
        stages["postprocess"].observe(times.postprocess_ns / 1e9)
        stages["glass"].observe(answer.glass_ns / 1e9)

    def text(self, stats: dict[str, Any]) -> tuple[bytes, str]:
        """The exposition and its content type."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        self._stats = stats
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def families(self) -> Iterator[Metric]:
        """What the figures say now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        stats = self._stats
        if not stats:
            return
        prefix = "edgecv_camera_"
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(prefix + name, text, stats[name])
        yield CounterMetricFamily(
            f"{prefix}source_losses", "How often the source was lost.", stats["source"]["losses"]
        )
        up = float(stats["source"]["state"] == "live")
        yield GaugeMetricFamily(f"{prefix}source_up", "1 while the source gives frames.", up)
        for name, (key, text) in _GAUGES.items():
            if stats[key] is not None:
                yield GaugeMetricFamily(prefix + name, text, float(stats[key]))
        for name, text, value in _accuracies(stats):
            yield GaugeMetricFamily(prefix + name, text, float(value))
        info = {
            name: str(stats[name])
            for name in ("model", "backend", "backend_version", "threads", "executed_precision")
        }
        yield InfoMetricFamily(prefix + "model", "What runs.", info)


def _accuracies(stats: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    truth, paired, drift = stats["accuracy"], stats["against_float"], stats["drift"]
    if truth is not None:
        yield "true_top1_ratio", "Accuracy against the source's labels.", truth["value"]
    if paired is not None:
        yield "float_agreement_ratio", "Agreement with the float file.", paired["agreement"]
    if drift is not None:
        if drift["estimated_top1"] is not None and drift["inside_calibrated_range"]:
            yield (
                "estimated_top1_ratio",
                "Accuracy estimated without labels; absent outside the calibrated range.",
                drift["estimated_top1"],
            )
        yield "drift_alarms", "Drift alarms that are on.", len(drift["alarms"] or ())


class _Reader:
    """What prometheus_client calls a collector."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """All families."""
        return self._metrics.families()
