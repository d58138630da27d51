"""Streams of scenes without and with faults; ours beside tests that people run per frame.

A scene is one picture held for a number of frames that is geometric with a mean of 30, at 10 frames per
second: as correlated as frames can be. Faults are made here, by other means than the corruptions of the fit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from sources import labeled, model, scorer

from edgecv.drift import Monitor, MonitorOptions, Sample, WindowReport
from edgecv.drift.profile import DriftProfile
from edgecv.drift.quality import quality
from edgecv.preprocess import load_rgb
from edgecv.runtime import Runtime

Array = np.ndarray[Any, Any]
HOLD = 30.0
RATE = 10.0
#: Small windows and a high stated rate, so that the rate can be measured in minutes.
OPTIONS = MonitorOptions(window=50, false_alarm_windows=100)


def dark(frame: Array) -> Array:
    """Half the light on a sensor whose curve is steeper."""
    return (255 * 0.7 * (frame / 255.0) ** 1.6).astype(np.uint8)


def blur(frame: Array) -> Array:
    """Box blur of 3x3 pixels."""
    return np.asarray(Image.fromarray(frame).filter(ImageFilter.BoxBlur(1)))


def compression(frame: Array) -> Array:
    """JPEG at quality 25, coarse colors."""
    stored = io.BytesIO()
    Image.fromarray(frame).save(stored, "JPEG", quality=25, subsampling=2)
    return np.asarray(Image.open(stored))


FAULTS: dict[str, Callable[[Array], Array]] = {
    "dark": dark,
    "blur": blur,
    "compression": compression,
}
MIX = "class-mix shift"


@dataclass(frozen=True)
class Pool:
    """Measured frames of a stream.

    Attributes:
        samples: What the monitor reads of each.
        labels: Their classes.
        right: Whether the model is right.
    """

    samples: list[Sample]
    labels: Array
    right: Array


def pool(
    profile: DriftProfile, work: Path, skip: int, most: int, change: Callable[[Array], Array] | None
) -> Pool:
    """Pictures of CIFAR's training split that the reference does not hold."""
    items, labels = labeled("cifar", "train")
    order = np.random.default_rng(1).permutation(len(items))[skip : skip + most]
    samples, right = [], []
    with Runtime(model("cifar", work)) as runtime:
        score, _ = scorer(runtime)
        for i in order.tolist():
            frame = load_rgb(items[i].path)
            frame = frame if change is None else change(frame)
            answer = profile.calibrator.answer(score(frame))
            samples.append(Sample(answer, quality(frame)))
            right.append(answer.index == labels[i])
    return Pool(samples, labels[order], np.array(right))


def scenes(size: int, frames: int, rng: np.random.Generator, hold: float = HOLD) -> Array:
    """Which picture each frame shows: int64 [frames]."""
    count = int(2 * frames / hold) + 50
    lengths = rng.geometric(1 / hold, count)
    return np.repeat(rng.integers(0, size, count), lengths)[:frames]


def watch(monitor: Monitor, samples: list[Sample], shown: Array, at: int) -> Iterator[WindowReport]:
    """Reports of a monitor that sees *shown* from frame *at* on."""
    for frame, index in enumerate(shown.tolist(), start=at):
        report = monitor.observe_sample(samples[index], frame / RATE)
        if report is not None:
            yield report


def quiet(
    profile: DriftProfile,
    base: Pool,
    streams: int,
    frames: int,
    hold: float,
    options: MonitorOptions = OPTIONS,
) -> dict[str, float]:
    """False alarms on streams without drift."""
    windows = alarms = named = 0
    covered, widths, strides, samples = [], [], [], 0
    for seed in range(streams):
        monitor = Monitor(profile, options)
        shown = scenes(len(base.samples), frames, np.random.default_rng([seed, 77]), hold)
        truth = float(base.right.mean())
        for report in watch(monitor, base.samples, shown, 0):
            windows += 1
            samples += report.frames
            alarms += len(report.raised)
            named += bool(report.causes)
            covered.append(report.estimate.low <= truth <= report.estimate.high)
            widths.append(report.estimate.high - report.estimate.low)
        strides.append(monitor.stride_s)
    return {
        "windows": windows,
        "samples": samples,
        "alarms": alarms,
        "windows per alarm": windows / alarms if alarms else float("inf"),
        "stated": options.false_alarm_windows,
        "rate over stated": alarms / windows * options.false_alarm_windows,
        "windows with a cause": 100 * named / windows,
        "coverage": 100 * float(np.mean(covered)),
        "median width": 100 * float(np.median(widths)),
        "stride s": float(np.median(strides)),
    }


def fault(
    profile: DriftProfile,
    base: Pool,
    after: Pool,
    cause: str,
    seeds: int,
    before: int,
    frames: int,
    options: MonitorOptions = OPTIONS,
) -> dict[str, Any]:
    """Alarms that name a fault that begins after *before* frames; delays in windows and frames."""
    delays, in_frames, wrong, early = [], [], 0, 0
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 99])
        monitor = Monitor(profile, options)
        for report in watch(monitor, base.samples, scenes(len(base.samples), before, rng), 0):
            early += len(report.raised)
        shown = scenes(len(after.samples), frames, rng)
        found = None
        for count, report in enumerate(watch(monitor, after.samples, shown, before)):
            names = {name for alarm in report.raised for name in alarm.causes}
            if cause in names:
                found = count, round(report.end_s * RATE) - before
                break
            wrong += bool(names)
            if count >= 10:
                break
        delays.append(None if found is None else found[0] + 1)
        in_frames.append(None if found is None else found[1])
    hits = [d for d in delays if d is not None and d <= 10]
    return {
        "seeds": seeds,
        "named within 10 windows": len(hits),
        "median windows": float(np.median(hits)) if hits else float("nan"),
        "median frames": float(np.median([f for f in in_frames if f is not None]))
        if hits
        else np.nan,
        "alarms with another name before": wrong,
        "false alarms before the fault": early,
        "true top-1 before": 100 * float(base.right.mean()),
        "true top-1 after": 100 * float(after.right.mean()),
    }


def confidences(base: Pool, after: Pool | None, seed: int, before: int, frames: int) -> Array:
    """The largest probability of every frame, for tests that look at one number per frame."""
    rng = np.random.default_rng([seed, 99])
    values = np.array([s.answer.row[0] for s in base.samples])
    signal = values[scenes(len(values), before, rng)]
    if after is None:
        return signal
    other = np.array([s.answer.row[0] for s in after.samples])
    return np.concatenate([signal, other[scenes(len(other), frames, rng)]])


def only(pool_: Pool, classes: tuple[int, ...]) -> Pool:
    """The pictures of some classes."""
    at = np.flatnonzero(np.isin(pool_.labels, classes))
    return Pool([pool_.samples[i] for i in at], pool_.labels[at], pool_.right[at])
