"""A quality check whose accuracy is known: a part of the answers is labeled by a person, the rest is not.

    python quality_check.py run --model parts.tflite --source usb:0 --audit audit --share 0.02
    python quality_check.py judge audit
    python quality_check.py run --source synth: --audit audit --share 0.1 --seconds 10

"run" puts a random share of the frames into a folder, with a table of the model's answers. A person fills the
column "label" (or leaves it empty). "judge" says how accurate the model is on them, with a 95 % interval. The frames
were chosen by chance, at most one per scene, so that the figure holds for everything that passed the camera; what a
model is sure of is no proof of anything. With `synth:`, which knows what it shows, the table is filled already.
"""

import argparse
import csv
import random
from pathlib import Path

from edgecv import Runtime
from edgecv.camera import Answer, Pipeline, open_source
from edgecv.camera.jpeg import encode
from edgecv.selftest import load_bundle
from edgecv.stats import wilson

COLUMNS = ("file", "answer", "score", "label")


class Audit:
    """A sink that keeps a random share of the frames, at most *most* of them."""

    def __init__(
        self, folder: Path, share: float, *, apart_s: float = 1.0, most: int = 2000, seed: int = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._share, self._apart_s, self._most = folder, share, apart_s, most
        self._random = random.Random(seed)
        self._table = folder / "audit.csv"
        self.kept = len(read(self._table))
        self._scene: object = None
        if not self._table.exists():
            self._append(COLUMNS)

    def take(self, answer: Answer) -> None:
        shot, top = answer.frame.shot, answer.classification.top
        scene = (
            shot.scene
            if shot.scene is not None
            else int(answer.frame.came_ns / 1e9 / self._apart_s)
        )
        if scene == self._scene:
            return
        # one draw per scene: frames of a scene are alike, and would only look like more evidence
        self._scene = scene
        if self.kept >= self._most or self._random.random() >= self._share:
            return
        name = f"{self.kept:06d}.jpg"
        (self._folder / name).write_bytes(encode(shot.pixels, quality=92))
        self._append((name, top.label, f"{top.score:.4f}", shot.label or ""))
        self.kept += 1

    def _append(self, row: tuple[str, ...]) -> None:
        with self._table.open("a", newline="") as file:
            csv.writer(file).writerow(row)


def read(table: Path) -> list[dict[str, str]]:
    """The rows of an audit."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def judge(folder: Path) -> None:
    """Print the accuracy on what was labeled, and what was taken for what."""
    rows = [row for row in read(folder / "audit.csv") if row["label"].strip()]
    if not rows:
        raise SystemExit(f"no row of '{folder / 'audit.csv'}' has a label yet")
    wrong = [row for row in rows if row["answer"] != row["label"].strip()]
    found = wilson(len(rows) - len(wrong), len(rows))
    print(
        f"accuracy {found.value:.1%} (95 % interval {found.low:.1%} to {found.high:.1%}), {found.n} labeled frames"
    )
    for row in wrong:
        print(f"  {row['file']}: {row['label']} was taken for {row['answer']} ({row['score']})")


def main() -> None:
    parser = argparse.ArgumentParser(description="A quality check with an audit.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="classify, and keep a random share")
    run.add_argument("--model", help="default: the digits model that comes with edgecv")
    run.add_argument("--source", default="synth:")
    run.add_argument("--audit", type=Path, default=Path("audit"))
    run.add_argument("--share", type=float, default=0.02)
    run.add_argument("--seconds", type=float)
    commands.add_parser("judge", help="say how accurate it is").add_argument("audit", type=Path)
    words = parser.parse_args()
    if words.command == "judge":
        judge(words.audit)
        return
    with Runtime(words.model or load_bundle().files["digits.int8.tflite"]) as runtime:
        audit = Audit(words.audit, words.share)
        Pipeline(open_source(words.source, runtime.info.labels), runtime, sinks=[audit]).run(
            seconds=words.seconds
        )
    print(
        f"{audit.kept} frames in {words.audit}; fill the column 'label' of audit.csv, then: judge {words.audit}"
    )


if __name__ == "__main__":
    main()
