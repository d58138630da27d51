"""``Pipeline``: source → preprocess → infer → sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgecv.camera.capture import Capture, Counts
from edgecv.camera.events import Events
from edgecv.camera.frame import Answer, Frame
from edgecv.camera.meters import RECENT, MachineState, Meters, Rates
from edgecv.camera.monitor import PARTED, DriftMonitor, drift_json, shadow_of
from edgecv.camera.sources import Source
from edgecv.camera.summary import answer_json, headline, summarize
from edgecv.camera.truth import RECENT_GROUPS, Paired, Tally, group_of
from edgecv.errors import InputError
from edgecv.measure import Watch
from edgecv.results import Classification
from edgecv.stats import Estimate

if TYPE_CHECKING:
    from edgecv.runtime import Runtime

__all__ = ["Pipeline", "PipelineOptions", "Sink"]


class Sink(Protocol):
    """Takes every answer. Called in the pipeline's thread, so what it does adds to the next frame's age."""

    def take(self, answer: Answer) -> None:
        """Do something with an answer."""
        ...


@dataclass(frozen=True)
class PipelineOptions:
    """How a pipeline runs.

    Attributes:
        loop: A source that ends begins again.
        reference_every: The float file answers one frame in so many.
        top_k: Classes of an answer.
        warmup: Inferences on noise before the first frame.
    """

    loop: bool = False
    reference_every: int = 10
    top_k: int = 3
    warmup: int = 3


class Pipeline:
    """Answers the frames of a source, and measures while it does.

    Args:
        source: Where frames come from.
        runtime: The model; it has to know its labels and its preprocessing.
        sinks: Called with every answer, in order.
        reference: The float file of the same classes, asked for one frame in *options.reference_every*.
        monitor: Watches drift without labels.
        options: See :class:`PipelineOptions`.
        on_tick: Called a few times a second while the loop is alive, frames or not.

    Attributes:
        events: What happened.
        last: The newest answer, or None.
        alarmed: Whether there was a drift alarm at any time: of the monitor, or of int8 and float that parted.
        alive_ns: When the loop last went round, on the monotonic clock; 0 before it does.

    >>> from edgecv.camera import Pipeline, open_source
    >>> from edgecv.runtime import Runtime
    >>> from edgecv.selftest.bundle import MODELS, load_bundle
    >>> with Runtime(load_bundle().files[MODELS["tflite"]]) as runtime:
    ...     source = open_source("synth:?rate=0", runtime.info.labels)
    ...     summary = Pipeline(source, runtime).run(frames=50)
    >>> summary["frames_in"], summary["frames_out"], summary["accuracy"]["n"]
    (50, 50, 50)
    """

    def __init__(
        self,
        source: Source,
        runtime: Runtime,
        *,
        sinks: Sequence[Sink] = (),
        reference: Runtime | None = None,
        monitor: DriftMonitor | None = None,
        options: PipelineOptions | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None:
        self.events: Events = Events()
        self.last: Answer | None = None
        self._source, self._runtime, self._sinks = source, runtime, list(sinks)
        self._reference, self._monitor = reference, monitor
        self._options = options or PipelineOptions()
        self._on_tick = on_tick
        self._capture = Capture(source, self.events, loop=self._options.loop)
        self._meters, self._rates, self._machine = Meters(), Rates(), MachineState()
        self._truth, self._paired = Tally(), Paired()
        self._shadow = (
            None
            if reference is None
            else shadow_of(runtime.info.manifest, self._options.reference_every)
        )
        self._known = frozenset(runtime.info.labels)
        self._alarms: dict[str, dict[str, str]] = {}
        self._unreadable = 0
        self.alarmed: bool = False
        self._stop = threading.Event()
        self._watch = Watch(bytecode=False)
        self._began_ns = self._ended_ns = 0
        self.alive_ns: int = 0
        if reference is not None and reference.info.labels != runtime.info.labels:
            raise InputError(
                "the float file has other classes than the model",
                cure="Give the float file that the model was made from.",
            )

    @property
    def counts(self) -> Counts:
        """Frames that came, and what became of them."""
        return self._capture.counts

    @property
    def runtime(self) -> Runtime:
        """The model."""
        return self._runtime

    @property
    def drops(self) -> bool:
        """Whether frames are dropped that nobody has time for."""
        return self._source.drops

    def run(self, *, frames: int | None = None, seconds: float | None = None) -> dict[str, Any]:
        """Answer frames until the source ends, or *frames* or *seconds* are over, or :meth:`stop`.

        Returns:
            The summary; see docs/camera.md.

        Raises:
            EdgecvError: The source cannot be opened, or a file cannot be read on. A live source that is
                lost is opened again instead.
            InputError: It was run before.
        """
        if self._began_ns:
            raise InputError("the pipeline was run before", cure="Make a new one.")
        self._warm_up()
        self._watch = Watch(bytecode=False)
        with self._capture as capture:
            self._began_ns = time.monotonic_ns()
            end_ns = None if seconds is None else self._began_ns + round(seconds * 1e9)
            while not self._stop.is_set() and (frames is None or capture.counts.taken < frames):
                if end_ns is not None and time.monotonic_ns() >= end_ns:
                    break
                self.alive_ns = time.monotonic_ns()
                taken = capture.take()
                if taken is not None:
                    self._answer(*taken)
                elif capture.ended:
                    break
                self._rates.update(capture.counts.came, capture.counts.taken)
                if self._on_tick is not None:
                    self._on_tick()
        self._ended_ns = time.monotonic_ns()
        return self.summary()

    def add(self, sink: Sink) -> None:
        """Let one more sink take answers; before :meth:`run`."""
        self._sinks.append(sink)

    def stop(self) -> None:
        """End :meth:`run` soon; from any thread or signal handler."""
        self._stop.set()
        self._capture.stop()

    def _warm_up(self) -> None:
        for runtime in (self._runtime, self._reference):
            if runtime is None:
                continue
            # a model without labels or preprocessing is refused before the camera is opened
            runtime.classify(np.zeros((48, 64, 3), np.uint8), 1)
            if self._options.warmup:
                runtime.warmup(self._options.warmup)

    def _answer(self, frame: Frame, dropped: int) -> None:
        """One frame through the model, the reference, the monitor and the sinks."""
        pixels, label = frame.shot.pixels, frame.shot.label
        given = self._runtime.classify(pixels, self._options.top_k)
        glass_ns = time.monotonic_ns() - frame.came_ns
        right = given.top.label == label if label in self._known else None
        reference = self._ask_reference(frame, given)
        answer = Answer(frame, given, glass_ns, dropped, right, reference)
        self._meters.add(answer)
        if right is not None:
            self._truth.add(int(right), group_of(answer))
        if answer.reference is not None:
            self._paired.add(answer)
        if self._monitor is not None:
            # seconds of this run, which its reports count from
            at_s = (frame.came_ns - self._began_ns) / 1e9
            if self._monitor.observe(given.probs.data, pixels, at_s) is not None:
                self._tell_alarms("drift", map(str, self._monitor.state.get("alarms") or ()))
            self._tell_unreadable(self._monitor)
        self.last = answer
        for sink in self._sinks:
            sink.take(answer)

    def _ask_reference(self, frame: Frame, given: Classification) -> str | None:
        shadow = self._shadow
        if self._reference is None or shadow is None or not shadow.wants():
            return None
        theirs = self._reference.classify(frame.shot.pixels, 1)
        shadow.add(given.probs.data, theirs.probs.data)
        self._tell_alarms("float", (PARTED,) if shadow.apart else ())
        return theirs.top.label

    def _tell_alarms(self, kind: str, alarms: Iterable[str]) -> None:
        """An event for every alarm of a kind that is new, for the end of one, and where its text changes.

        What stands before the colon says which alarm it is; a cause may be named later than the alarm.
        """
        now = {text.partition(":")[0]: text for text in alarms}
        before = self._alarms.get(kind, {})
        if now == before:
            return
        for name, text in now.items():
            if name not in before:
                self.events.add("drift", f"Alarm: {text}")
            elif text != before[name]:
                self.events.add("drift", f"Now: {text}")
        for name, text in before.items():
            if name not in now:
                self.events.add("drift", f"Over: {text}")
        self._alarms[kind], self.alarmed = now, self.alarmed or bool(now)

    def _tell_unreadable(self, monitor: DriftMonitor) -> None:
        """An event for the 1st, 2nd, 4th … frame that the monitor can say nothing about."""
        count = getattr(monitor, "bad_scores", 0) + getattr(monitor, "bad_frames", 0)
        if count > self._unreadable and count & (count - 1) == 0:
            self.events.add(
                "drift",
                f"The monitor cannot read a frame: its scores are not finite, or it is smaller than 8x8;"
                f" {count} so far.",
            )
        self._unreadable = count

    # --- what is known meanwhile, from any thread -------------------------------------------------

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        if not self._began_ns:
            return 0.0
        return ((self._ended_ns or time.monotonic_ns()) - self._began_ns) / 1e9

    def true_top1(self) -> Estimate | None:
        """Accuracy against the source's labels; None where it has none."""
        return self._truth.rate()

    def against_float(self) -> Mapping[str, Any] | None:
        """The int8 file against the float file; None where there is none."""
        return self._paired.to_json()

    def stats(self) -> dict[str, Any]:
        """Everything that a page shows; JSON-ready."""
        counts, info, last = self.counts, self._runtime.info, self.last
        rate_in, rate_out = self._rates.per_second(counts.came, counts.taken)
        truth, paired, drift = self.true_top1(), self.against_float(), drift_json(self._monitor)
        recent = self._truth.rate(RECENT_GROUPS)
        return {
            "seconds": round(self.seconds, 1),
            "source": {
                "uri": self._source.uri,
                "live": self._source.live,
                "state": self._capture.state,
                "detail": self._capture.detail,
                "losses": counts.losses,
            },
            "frames_in": counts.came,
            "frames_out": counts.taken,
            "frames_dropped": counts.dropped + counts.damaged,
            "frames_damaged": counts.damaged,
            "fps_in": round(rate_in, 2),
            "fps_out": round(rate_out, 2),
            "latency_ms": self._meters.latency_ms(RECENT),
            **self._machine(),
            "model": info.path.name if info.path else "digits (shipped with edgecv)",
            "backend": info.backend,
            "backend_version": info.backend_version,
            "threads": info.threads,
            "executed_precision": info.precision,
            "answer": None if last is None else answer_json(last),
            "accuracy": None if truth is None else truth.as_json(),
            "accuracy_recent": None if recent is None else recent.as_json(),
            "against_float": paired,
            "shadow": None
            if self._shadow is None
            else {**self._shadow.state, "alarms": list(self._alarms.get("float", {}).values())},
            "drift": drift,
            "headline": headline(truth, paired, drift),
        }

    def summary(self) -> dict[str, Any]:
        """The record of the run; JSON-ready."""
        return summarize(
            counts=self.counts,
            seconds=self.seconds,
            latency_ms=self._meters.latency_ms(),
            machine=self._machine(),
            info=self._runtime.info,
            truth=self.true_top1(),
            paired=self.against_float(),
            drift=drift_json(self._monitor),
            verdict=self._watch.validity(),
        )
