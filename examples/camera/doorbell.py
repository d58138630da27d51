"""A doorbell: when somebody stands at the door, a webhook is told, once.

    python doorbell.py --source usb:0 --model vww.tflite --label person --webhook http://hub.local/door
    python doorbell.py --source synth: --label zero --webhook http://127.0.0.1:9000/door --seconds 10

The answer has to be the same for some frames before it rings, and away for some before it may ring again. The
webhook is called from a thread of its own: a slow one delays no frame, and calls that cannot be made are dropped.
"""

import argparse
import json
import queue
import threading
import urllib.request
from datetime import UTC, datetime

from edgecv import Runtime
from edgecv.camera import Answer, Pipeline, open_source
from edgecv.selftest import load_bundle


class Doorbell:
    """A sink that rings."""

    def __init__(
        self, label: str, webhook: str, *, score: float = 0.6, hold: int = 3, away: int = 10
    ) -> None:
        self._label, self._webhook = label, webhook
        self._score, self._hold, self._away = score, hold, away
        self._seen = self._unseen = 0
        self._rung = False
        self._calls: queue.Queue[dict | None] = queue.Queue(maxsize=16)
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._thread.start()
        self.rings = 0

    def take(self, answer: Answer) -> None:
        top = answer.classification.top
        there = top.label == self._label and top.score >= self._score
        self._seen, self._unseen = (self._seen + 1, 0) if there else (0, self._unseen + 1)
        if self._unseen >= self._away:
            self._rung = False
        if self._seen >= self._hold and not self._rung:
            self._rung = True
            self.rings += 1
            event = {
                "event": "ring",
                "label": top.label,
                "score": round(top.score, 3),
                "utc": datetime.now(UTC).isoformat(),
            }
            try:
                self._calls.put_nowait(event)
            except queue.Full:
                print("the webhook is too slow; a ring is lost")

    def _call(self) -> None:
        while (event := self._calls.get()) is not None:
            request = urllib.request.Request(
                self._webhook, json.dumps(event).encode(), {"Content-Type": "application/json"}
            )
            try:
                urllib.request.urlopen(request, timeout=5).close()
            except OSError as error:
                print(f"the webhook does not answer: {error}")

    def close(self) -> None:
        self._calls.put(None)
        self._thread.join(10)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell a webhook when somebody stands at the door.")
    parser.add_argument("--model", help="default: the digits model that comes with edgecv")
    parser.add_argument(
        "--labels", help="names of the classes, one per line, where the file has none"
    )
    parser.add_argument(
        "--preprocess", help="raw, unit, signed or imagenet, where the file does not say"
    )
    parser.add_argument("--source", default="synth:")
    parser.add_argument("--label", default="person")
    parser.add_argument("--webhook", required=True)
    parser.add_argument("--score", type=float, default=0.6)
    parser.add_argument("--seconds", type=float)
    words = parser.parse_args()
    model = words.model or load_bundle().files["digits.int8.tflite"]
    with Runtime(model, labels=words.labels, preprocess=words.preprocess) as runtime:
        if words.label not in runtime.info.labels:
            parser.error(
                f"the model has no class {words.label!r}; it has {', '.join(runtime.info.labels[:20])}"
            )
        bell = Doorbell(words.label, words.webhook, score=words.score)
        Pipeline(open_source(words.source, runtime.info.labels), runtime, sinks=[bell]).run(
            seconds=words.seconds
        )
        bell.close()
    print(f"rang {bell.rings} times")


if __name__ == "__main__":
    main()
