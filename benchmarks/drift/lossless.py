"""The JPEG drift of CIFAR: reference pictures without loss, a stream of JPEG copies, a stream without loss."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from sources import data_folder, labeled, model, scorer
from streams import scenes, watch

from edgecv.drift import Monitor, MonitorOptions, Sample
from edgecv.drift.fit import FitOptions, fit_profile
from edgecv.drift.quality import quality
from edgecv.drift.tables import Pictures
from edgecv.preprocess import load_rgb
from edgecv.runtime import Runtime

Array = np.ndarray[Any, Any]
OPTIONS = MonitorOptions(window=100, false_alarm_windows=1000)


def _lossless() -> tuple[list[Array], Array]:
    folder = data_folder() / "datasets" / "cifar10_lossless200"
    frames, labels = [], []
    with (folder / "y_labels.csv").open(encoding="utf-8") as stream:
        for name, _, label in csv.reader(stream):
            pixels = np.frombuffer((folder / name).read_bytes(), np.uint8)
            frames.append(pixels.reshape(32, 32, 3))
            labels.append(int(label))
    return frames, np.array(labels, np.int64)


def lossless_part(work: Path) -> dict[str, Any]:
    """What a monitor with a lossless reference says of JPEG copies, and of other lossless pictures."""
    frames, labels = _lossless()
    order = np.random.default_rng(3).permutation(len(frames))
    own, rest = order[:100], order[100:]
    items, _ = labeled("cifar", "test")
    with Runtime(model("cifar", work)) as runtime:
        score, least = scorer(runtime)

        def samples(pictures: list[Array]) -> list[Sample]:
            return [Sample(profile.calibrator.answer(score(p)), quality(p)) for p in pictures]

        pictures = Pictures(
            lambda i: frames[own[i]], labels[own], np.arange(len(own)), score, least
        )
        profile = fit_profile(pictures, "benchmark", FitOptions(per_condition=100, window=100))
        copies = samples([load_rgb(item.path) for item in items])
        control = samples([frames[i] for i in rest])
    found = {}
    for name, pool in (("JPEG copies", copies), ("other lossless pictures", control)):
        named, first = 0, []
        others: set[str] = set()
        for seed in range(10):
            monitor = Monitor(profile, OPTIONS)
            shown = scenes(len(pool), 60_000, np.random.default_rng([seed, 5]))
            reports = list(watch(monitor, pool, shown, 0))
            causes = [set(report.causes) for report in reports]
            hits = [k for k, names in enumerate(causes) if "compression" in names]
            named += bool(hits) and hits[0] < 10
            first += hits[:1]
            others |= set().union(*causes) - {"compression"} if causes else set()
        found[name] = {
            "streams": 10,
            "compression named within 10 windows": named,
            "first window": float(np.median(first)) + 1 if first else None,
            "other names": sorted(others),
            "blockiness in standard deviations": float(
                (np.mean([s.quality[5] for s in pool]) - profile.reference.quality_means[5])
                / profile.reference.quality_spreads[5]
            ),
        }
    return found
