"""A report with plausible numbers, made by the same functions as a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecv.report import (
    Agreement,
    BackendRecord,
    ClassRow,
    Confusion,
    FileRecord,
    Latency,
    MethodRow,
    Report,
    Validity,
)
from edgecv.stats import class_rates, compare_predictions, percentile, rate

MakeReport = Callable[..., Report]


def _latency(rng: np.random.Generator, median: float) -> Latency:
    samples = median * rng.lognormal(0, 0.06, 1000)
    p50, p90, p99 = (percentile(samples, q) for q in (0.5, 0.9, 0.99))
    return Latency(p50, p90, p99)


@pytest.fixture
def make_report(tmp_path: Path) -> MakeReport:
    """Build a report of *classes* on three engines; files lie below the report's folder."""

    def make(classes: tuple[str, ...], *, valid: bool = True, timed: bool = True) -> Report:
        rng = np.random.default_rng(0)
        count, originals = len(classes), 450
        labels = np.repeat(rng.integers(0, count, originals), 5)
        groups = np.repeat(np.arange(originals), 5)
        hard = np.repeat(rng.random(originals) < 0.06, 5)
        whole = np.where(hard & (rng.random(2250) < 0.6), rng.integers(0, count, 2250), labels)

        def quantized(noise: float) -> np.ndarray:
            moved = rng.random(2250) < np.where(hard, 20 * noise, noise / 2)
            return np.where(moved, rng.integers(0, count, 2250), whole)

        torch_int8 = quantized(0.004)
        rows = []
        for name, target, speed in (
            ("litert", "tflite", (0.92, 0.31)),
            ("openvino", "openvino", (0.55, 0.28)),
            ("onnxruntime", "onnx", (0.61, 0.44)),
        ):
            small = np.where(rng.random(2250) < 0.002, rng.integers(0, count, 2250), torch_int8)
            agree = rate(small == torch_int8, groups)
            changed = int((small != torch_int8).sum())
            rows.append(
                BackendRecord(
                    name, "2.1.6", target,
                    FileRecord(tmp_path / f"artifacts/model.float.{target}", 702_512,
                               rate(whole == labels, groups),
                               _latency(rng, speed[0]) if timed else None, 210.0, 14.2, 1.4,
                               61_300_000, "float32"),
                    FileRecord(tmp_path / f"artifacts/model.int8.{target}", 198_144,
                               rate(small == labels, groups),
                               _latency(rng, speed[1]) if timed else None, 211.0, 11.9, 0.9,
                               58_900_000, "int8"),
                    compare_predictions(labels, whole, small, groups),
                    Agreement(agree, changed, changed, 0.31, 0.115),
                )
            )  # fmt: skip
        counts = np.zeros((count, count), int)
        np.add.at(counts, (labels, torch_int8), 1)
        methods = []
        for method, bits, noise in (("QAT", 8, 0.004), ("post-training", 8, 0.006), ("QAT", 4, 0.02),
                                    ("post-training", 4, 0.35)):  # fmt: skip
            answer = quantized(noise)
            methods.append(MethodRow(method, bits, rate(answer == labels, groups),
                                     compare_predictions(labels, whole, answer, groups)))  # fmt: skip
        return Report(
            title="int8 on three engines",
            model="resnet10t",
            created="2026-01-31T12:00:00+00:00",
            test_folder=tmp_path / "pictures/test",
            pictures=2250,
            groups=originals,
            classes=classes,
            backends=tuple(rows),
            float_model=rate(whole == labels, groups),
            quantized_model=rate(torch_int8 == labels, groups),
            methods=tuple(methods),
            per_class=tuple(
                ClassRow(name, a, b)
                for name, a, b in zip(
                    classes,
                    class_rates(whole == labels, labels, count, groups),
                    class_rates(torch_int8 == labels, labels, count, groups),
                    strict=True,
                )
            ),
            confusion=Confusion("int8 on litert", tuple(map(tuple, counts.tolist()))),
            environment={
                "cpu": {"model": "Some CPU @ 2.4 GHz", "flags": ["avx2", "avx512_vnni"]},
                "python": "3.11.7",
                "governor": None,
            },
            validity=Validity(True) if valid else Validity(False, ("CPU pressure was 61 %.",)),
        )  # fmt: skip

    return make
