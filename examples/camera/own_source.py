"""A source and a sink of your own: python own_source.py [MODEL]."""

import sys

from edgecv import Runtime
from edgecv.camera import Answer, Pipeline, Shot, Source
from edgecv.selftest import load_bundle


class Slideshow(Source):
    """The pictures that come with edgecv, ten per second."""

    uri = "slideshow:"  # what the page and the events call it
    live = False  # True: the newest frame counts, and a source that is lost is opened again
    rate_hz = 10.0

    def open(self) -> None:  # raise SourceError where it is not there
        self.shipped, self.number = load_bundle(), -1

    def grab(self) -> int | None:  # wait for a frame, cheaply; None ends the stream
        self.number += 1
        return self.number if self.number < len(self.shipped.labels) else None

    def decode(self, raw: int) -> Shot:  # called for frames that are answered, not for dropped ones
        return Shot(self.shipped.pictures[raw], label=self.shipped.labels[raw])


class Printer:
    """Prints every answer."""

    def take(self, answer: Answer) -> None:
        top = answer.classification.top
        print(f"{top.label} {top.score:.0%}, {answer.glass_ns / 1e6:.1f} ms old")


if __name__ == "__main__":
    model = sys.argv[1] if len(sys.argv) > 1 else load_bundle().files["digits.int8.tflite"]
    with Runtime(model) as runtime:
        record = Pipeline(Slideshow(), runtime, sinks=[Printer()]).run()
    print(f"{record['frames_out']} answers, accuracy {record['accuracy']['true_top1']:.0%}")
