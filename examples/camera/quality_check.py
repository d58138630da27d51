"""A quality check whose accuracy is known: a person labels frames that were drawn by chance.

    python quality_check.py run --model parts.tflite --source usb:0 --audit audit
    edgecv drift label audit --page
    python quality_check.py judge audit --at-least 0.95
    python quality_check.py run --source synth: --audit audit --seconds 10

"run" classifies and counts; of what passed, frames are drawn into a folder (edgecv.drift.AuditSampler): some by
chance, some of which the model was unsure. A run that is started anew goes on with the folder. The person does not
see what the model said. "judge" weighs each label by its frame's chance of having been drawn, so that the figure
holds for everything that passed the camera, and has exit code 1 where the interval reaches below --at-least. It
cannot say what passed before the first run, and a person's mistakes count as the model's.
"""

import argparse
import collections
import sys
import time
from pathlib import Path

from edgecv import Runtime
from edgecv.camera import Answer, Pipeline, open_source
from edgecv.camera.auditing import identity_of
from edgecv.drift import AuditSampler
from edgecv.drift.audit import AuditOptions
from edgecv.drift.labeling import accuracy, read_audit
from edgecv.selftest import load_bundle


class Check:
    """A sink that counts what passed, and offers one frame per part to the audit."""

    def __init__(self, audit: AuditSampler, apart_s: float) -> None:
        self._audit, self._apart_s = audit, apart_s
        self._scene: object = None
        self.passed: collections.Counter[str] = collections.Counter()

    def take(self, answer: Answer) -> None:
        shot, given = answer.frame.shot, answer.classification
        # frames of one part are alike, and would only look like more evidence
        scene = shot.scene if shot.scene is not None else answer.frame.number
        if shot.scene is None and self._apart_s:
            scene = int(answer.frame.came_ns / 1e9 / self._apart_s)
        if scene == self._scene:
            return
        self._scene = scene
        self.passed[given.top.label] += 1
        try:
            self._audit.offer(given.probs.data, shot.pixels, time.time())
        except OSError as error:
            print(f"the audit keeps nothing: {error.strerror}", file=sys.stderr)


def run(words: argparse.Namespace) -> None:
    """Classify until the source ends."""
    model = words.model or load_bundle().files["digits.int8.tflite"]
    with Runtime(model, labels=words.labels, preprocess=words.preprocess) as runtime:
        info = runtime.info
        options = AuditOptions(by_chance=words.frames, unsure=words.frames // 2)
        with AuditSampler(words.audit, info.labels, identity_of(runtime), options) as audit:
            check = Check(audit, words.apart)
            source = open_source(words.source, info.labels)
            Pipeline(source, runtime, sinks=[check]).run(seconds=words.seconds)
            kept = audit.kept
    counts = ", ".join(f"{count} {name}" for name, count in check.passed.most_common(5))
    print(f"{check.passed.total()} parts passed ({counts} …)")
    print(f"{kept} frames in {words.audit}; label them: edgecv drift label {words.audit} --page")


def judge(folder: Path, at_least: float | None) -> None:
    """Print the accuracy that the labels give, and what was taken for what."""
    audited = read_audit(folder)
    if not audited.given:
        raise SystemExit(
            f"no frame has a label yet; label some: edgecv drift label {folder} --page"
        )
    found = accuracy(audited)
    print(
        f"accuracy {found.value:.1%} (95 % interval {found.low:.1%} to {found.high:.1%}),"
        f" {found.n} labels of {sum(audited.offered.values())} parts"
    )
    for frame in audited.labeled:
        said, label = audited.labels[frame.answer], audited.given[frame.file]
        if said != label:
            print(f"  {frame.file}: {label} was taken for {said}")
    if at_least is not None and found.low < at_least:
        print(f"not shown to be at least {at_least:.1%}: the interval reaches below")
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="A quality check with an audit.")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="classify, and keep frames for a person")
    runs.add_argument("--model", help="default: the digits model that comes with edgecv")
    runs.add_argument("--labels", help="names of the classes, where the file has none")
    runs.add_argument(
        "--preprocess", help="raw, unit, signed or imagenet, where the file does not say"
    )
    runs.add_argument("--source", default="synth:")
    runs.add_argument("--audit", type=Path, default=Path("audit"))
    runs.add_argument(
        "--frames", type=int, default=200, help="kept by chance; half as many unsure ones"
    )
    runs.add_argument(
        "--apart", type=float, default=1.0, help="seconds per part; 0: each frame is one"
    )
    runs.add_argument("--seconds", type=float)
    judges = commands.add_parser("judge", help="say how accurate it is")
    judges.add_argument("audit", type=Path)
    judges.add_argument("--at-least", type=float, help="accuracy that has to be shown, e.g. 0.95")
    words = parser.parse_args()
    if words.command == "judge":
        judge(words.audit, words.at_least)
    else:
        run(words)


if __name__ == "__main__":
    main()
