"""How often somebody stops at a shop window, per hour, with the Visual Wake Words model (person, no person).

    python people_counter.py --source picam:0 --model vww_96_int8.tflite --labels vww.txt --out visits.csv
    python people_counter.py --source synth: --label one-high --out visits.csv --seconds 10

No picture is stored and nobody is recognized: the file has an hour, a number of visits and their median length. A
visit begins when the class was seen for most of the last second, and ends when it was not for most of it, so that
one wrong answer is no visitor. The classifier says whether somebody is there, not how many: two people at once are
one visit, and its own errors stay in the count (on its test pictures this model is right on 85 of 100).
"""

import argparse
import csv
import statistics
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from edgecv import Runtime
from edgecv.camera import Answer, Pipeline, open_source
from edgecv.selftest import load_bundle


class VisitCounter:
    """A sink that counts visits by the hour."""

    def __init__(self, label: str, out: Path, *, window_s: float = 1.0) -> None:
        self._label, self._out, self._window_s = label, out, window_s
        self._recent: deque[tuple[float, bool]] = deque()
        self._since: float | None = None
        self._hours: dict[str, list[float]] = {}
        self.visits = 0

    def take(self, answer: Answer) -> None:
        now = answer.frame.came_ns / 1e9
        self._recent.append((now, answer.classification.top.label == self._label))
        while now - self._recent[0][0] > self._window_s:
            self._recent.popleft()
        share = sum(there for _, there in self._recent) / len(self._recent)
        if self._since is None and share > 0.6 and len(self._recent) > 2:
            self._since = now
        elif self._since is not None and share < 0.4:
            self._end(now - self._since)

    def _end(self, seconds: float) -> None:
        self._since = None
        self.visits += 1
        hour = datetime.now(UTC).strftime("%Y-%m-%dT%H:00Z")
        self._hours.setdefault(hour, []).append(seconds)
        self.write()

    def write(self) -> None:
        """The table anew, in one piece; the last 31 days of hours."""
        for old in list(self._hours)[:-744]:
            del self._hours[old]
        part = self._out.with_suffix(".part")
        with part.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("hour", "visits", "median_seconds"))
            rows.writerows(
                (h, len(s), round(statistics.median(s), 2)) for h, s in self._hours.items()
            )
        part.replace(self._out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count visits to a shop window.")
    parser.add_argument("--model", help="default: the digits model that comes with edgecv")
    parser.add_argument(
        "--labels", help="names of the classes, one per line, where the file has none"
    )
    parser.add_argument(
        "--preprocess", help="raw, unit, signed or imagenet, where the file does not say"
    )
    parser.add_argument("--source", default="synth:")
    parser.add_argument("--label", default="person")
    parser.add_argument("--out", type=Path, default=Path("visits.csv"))
    parser.add_argument("--seconds", type=float)
    words = parser.parse_args()
    model = words.model or load_bundle().files["digits.int8.tflite"]
    with Runtime(model, labels=words.labels, preprocess=words.preprocess) as runtime:
        if words.label not in runtime.info.labels:
            parser.error(
                f"the model has no class {words.label!r}; it has {', '.join(runtime.info.labels[:20])}"
            )
        counter = VisitCounter(words.label, words.out)
        source = open_source(words.source, runtime.info.labels)
        began = time.monotonic()
        Pipeline(source, runtime, sinks=[counter]).run(seconds=words.seconds)
        counter.write()
    print(f"{counter.visits} visits in {time.monotonic() - began:.0f} s; {words.out}")


if __name__ == "__main__":
    main()
