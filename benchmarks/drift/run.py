"""The drift monitor, measured: one command makes the record and the page ``docs/drift-benchmark.md``.

    EDGECV_TEST_DATA=… python benchmarks/drift/run.py --river-python ENV/bin/python

river (ADWIN, Page-Hinkley) lives in an environment of its own: ``python -m venv ENV; ENV/bin/pip install river``.
Without it those rows are left out. ``--trained MODEL`` adds a row with a TFLite file of your own, trained on the
``train`` split of Imagenette, such as::

    edgecv train --data $EDGECV_TEST_DATA/datasets/imagenette10 --model mobilevit_xxs --size 128 --out RUN
    edgecv export RUN --method ptq
    edgecv convert RUN/model.qdq.onnx --target tflite --out ARTIFACTS

About 15 minutes; scored pictures are kept in ``--work`` and used again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import estimates
import lossless
import rivals
import streams
from cost import costs
from page import page
from sources import TRAINED, Scored, scored, trained_folder

from edgecv.drift import MonitorOptions
from edgecv.drift.fit import FitOptions, profile_of_tables
from edgecv.drift.profile import DriftProfile

ROOT = Path(__file__).resolve().parents[2]
RECORD, PAGE = Path(__file__).with_name("record.json"), ROOT / "docs" / "drift-benchmark.md"
SEEDS = 10
#: Frames of a stream before its fault and after it.
BEFORE, AFTER = 60_000, 60_000
OF_OURS = "Imagenette, a model that edgecv trained on its train split (held out, frozen)"
#: Families of one cause, left out together.
CAUSES = (("sensor noise", "impulse noise"), ("defocus", "motion", "pixelation"))


def say(text: str) -> None:
    """A line about what is going on."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def estimate_part(work: Path, trained: Path | None) -> dict[str, Any]:
    """The estimator on both data sets; *trained* is a model of Imagenette."""
    cifar = scored("cifar", "train", work, most=2000, per_condition=500, seed=0)
    others = scored("cifar", "train", work, most=1200, per_condition=400, seed=100, skip=2000)
    test = scored("cifar", "test", work, most=1149, per_condition=400, seed=100)
    held = scored("imagenette", "val", work, most=1000, per_condition=150, seed=0)
    held_judged = scored("imagenette", "test", work, most=1000, per_condition=150, seed=100)
    found: dict[str, Any] = {}
    rows_of: list[tuple[str, Scored, Scored, tuple[tuple[str, ...], ...] | None]] = [
        ("CIFAR-10, ResNet-8; pictures like the reference's", cifar, others, None),
        ("CIFAR-10, ResNet-8; the test split, where it is 2.5 points worse", cifar, test, None),
        ("CIFAR-10, ResNet-8; all families of one cause left out", cifar, others, CAUSES),
        ("Imagenette, MobileNetV2 (held out; the second look)", held, held_judged, None),
    ]
    if trained is not None:
        own = trained_folder(trained, work)
        known = scored(TRAINED, "val", own, most=1000, per_condition=150, seed=0)
        fresh = scored(TRAINED, "test", own, most=1000, per_condition=150, seed=100)
        rows_of.append((OF_OURS, known, fresh, None))
    for name, reference, judged, groups in rows_of:
        say(name)
        rows, methods = estimates.judge_all(reference, judged, groups=groups)
        found[name] = {
            "methods": sorted(set(methods)),
            "summaries": estimates.by_mix(rows),
            "families": {
                f: estimates.summary([r for r in rows if r.family == f])
                for f in sorted({r.family for r in rows})
            },
        }
    return found


def cifar_profile(work: Path) -> tuple[DriftProfile, Scored]:
    """The profile that streams are watched with; fitted on everything."""
    reference = scored("cifar", "train", work, most=2000, per_condition=500, seed=0)
    profile = profile_of_tables(
        reference.pictures, reference.tables, reference.signatures, "benchmark", FitOptions()
    )
    return profile, reference


def stream_part(
    profile: DriftProfile, reference: Scored, work: Path, river: Path | None
) -> dict[str, Any]:
    """False alarms, faults, and the tests of others on the same streams."""
    say("streams without drift")
    base = streams.pool(profile, work, 2000, 2500, None)
    found: dict[str, Any] = {
        "quiet": {
            "scenes of 30 frames": streams.quiet(profile, base, 24, 400_000, 30.0),
            "every frame its own scene": streams.quiet(profile, base, 8, 80_000, 1.0),
        },
        "faults": {},
    }
    changed = _faulty(profile, base, work)
    for name, after in changed.items():
        say(f"fault: {name}")
        found["faults"][name] = streams.fault(profile, base, after, name, SEEDS, BEFORE, AFTER)
    say("tests per frame")
    signals = {f"quiet-{k}": streams.confidences(base, None, k, BEFORE, 0) for k in range(SEEDS)}
    for name, after in changed.items():
        for k in range(SEEDS // 2):
            key = f"{name.replace(' ', '_').replace('-', '_')}-{k}"
            signals[key] = streams.confidences(base, after, k, BEFORE, AFTER)
    clean = reference.tables[0].scores
    normal = np.array([profile.calibrator.answer(s).row[0] for s in clean])
    quiet = found["quiet"]["scenes of 30 frames"]
    frames = 24 * 400_000
    ours = 1e5 * quiet["alarms"] / frames
    stated = 1e5 * quiet["windows"] / streams.OPTIONS.false_alarm_windows / frames
    rows = rivals.ks_rows(signals, normal, 60)
    if river is not None:
        rows += rivals.river_rows(signals, river, work)
    found["rivals"] = rivals.judged(rows, BEFORE, stated)
    found["ours per 100k frames"] = {"measured": ours, "stated": stated}
    return found


def _faulty(profile: DriftProfile, base: streams.Pool, work: Path) -> dict[str, streams.Pool]:
    """What a stream shows after each fault."""
    changed = {
        name: streams.pool(profile, work, 2000, 2500, make) for name, make in streams.FAULTS.items()
    }
    changed[streams.MIX] = streams.only(base, (3, 4, 5))
    return changed


def default_part(profile: DriftProfile, work: Path) -> dict[str, Any]:
    """With the options that a camera has: windows of 200, a false alarm every 1,000."""
    options = MonitorOptions()
    base = streams.pool(profile, work, 2000, 2500, None)
    faulty = _faulty(profile, base, work)
    say("faults, default options")
    return {
        "faults": {
            name: streams.fault(profile, base, after, name, SEEDS, BEFORE, AFTER, options)
            for name, after in faulty.items()
        },
        "quiet": {
            "every frame its own scene": streams.quiet(profile, base, 6, 320_000, 1.0, options)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, help="Folder of scored pictures; default: temporary.")
    parser.add_argument("--river-python", type=Path, help="Interpreter that has river.")
    parser.add_argument(
        "--trained", type=Path, help="TFLite file trained on Imagenette's train split."
    )
    parser.add_argument("--page-only", action="store_true", help="Make the page from the record.")
    options = parser.parse_args()
    if not options.page_only:
        with tempfile.TemporaryDirectory(prefix="edgecv-drift-") as folder:
            work = options.work or Path(folder)
            work.mkdir(parents=True, exist_ok=True)
            profile, reference = cifar_profile(work)
            parts: dict[str, Callable[[], Any]] = {
                "streams": lambda: stream_part(profile, reference, work, options.river_python),
                "defaults": lambda: default_part(profile, work),
                "lossless": lambda: lossless.lossless_part(work),
                "cost": lambda: costs(profile),
                "estimates": lambda: estimate_part(work, options.trained),
            }
            document: dict[str, Any] = {"date": time.strftime("%Y-%m-%d")}
            for name, make in parts.items():
                # an interrupted run goes on where it was
                kept = work / f"part-{name}.json"
                if not kept.exists():
                    kept.write_text(json.dumps(make()))
                document[name] = json.loads(kept.read_text())
        RECORD.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RECORD.read_text(encoding="utf-8"))), encoding="utf-8")
    say(f"{PAGE}")


if __name__ == "__main__":
    main()
