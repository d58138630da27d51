"""Frames of a camera for people to label: which are offered to an audit, and what becomes of errors."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from edgecv.camera.frame import Answer
from edgecv.drift.audit import AuditOptions, AuditSampler
from edgecv.errors import InputError
from edgecv.preprocess import Pixels

if TYPE_CHECKING:
    from edgecv.camera.monitor import DriftMonitor
    from edgecv.camera.pipeline import Pipeline
    from edgecv.runtime import Runtime

__all__ = ["Auditor", "identity_of"]

#: Seconds between offered frames where nobody knows how long frames stay alike.
_APART_S: Final = 5.0


class _Offer(NamedTuple):
    scores: npt.NDArray[np.float32]
    pixels: Pixels
    at_s: float


class Auditor:
    """Offers frames to an :class:`~edgecv.drift.AuditSampler`. A sink, and a context manager.

    Frames that are alike would only look like more evidence, so not every one is offered: one per scene where
    the source knows its scenes, else one per the distance at which a drift monitor samples, else one in five
    seconds. A folder that cannot be written is an event, and the camera goes on.

    Pictures are written in a thread of its own: a large one takes a second on a small board. A live camera does not
    wait for it, and offers its next frame when the last one is written; files and folders wait.

    Args:
        folder: Made when missing; an earlier run's audit of the same model is gone on with.
        pipeline: Whose model and events they are.
        monitor: The pipeline's, where it has one; its ``stride_s`` and ``learning`` are asked for, if it has them.
        options: How many frames are kept.
        every_s: One frame per so many seconds instead; 0 offers every frame.

    Raises:
        InputError: The model does not say what its scores are or has no names of classes, or the folder cannot be
            used.
    """

    def __init__(
        self,
        folder: Path,
        pipeline: Pipeline,
        *,
        monitor: DriftMonitor | None = None,
        options: AuditOptions | None = None,
        every_s: float | None = None,
    ) -> None:
        info = pipeline.runtime.info
        if info.score_kind not in ("logit", "probability"):
            raise InputError(
                "the model does not say whether its scores are logits or probabilities",
                cure="Seal it into the file: edgecv adopt MODEL --score-kind logit --out NEW",
            )
        self._sampler = AuditSampler(folder, info.labels, identity_of(pipeline.runtime), options)
        self._folder, self._events = folder, pipeline.events
        self._monitor, self._every_s = monitor, every_s
        self._scene: int | None = None
        self._last_ns: int | None = None
        self._problem = ""
        self._drops = pipeline.drops
        self._offers: queue.Queue[_Offer | None] = queue.Queue(1)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="edgecv-audit", daemon=True)
        if self._sampler.offered:
            self._events.add("record", f"The audit in '{folder}' goes on: {self.text}.")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._offers.put(None)
        self._thread.join()
        try:
            self._sampler.__exit__(kind, error, trace)
        except OSError as failed:
            self._tell(failed.strerror or type(failed).__name__)

    @property
    def offered(self) -> int:
        """Frames that were offered so far, those of earlier runs included."""
        return self._sampler.offered

    @property
    def text(self) -> str:
        """What is kept, in words."""
        return f"{self._sampler.kept} frames kept of {self._sampler.offered} offered"

    def take(self, answer: Answer) -> None:
        """Offer the frame, when it is time for one."""
        if self._error is not None:
            raise self._error
        if (self._drops and self._offers.full()) or not self._is_due(answer):
            return
        # a wall clock: the time is for people, and for runs that follow
        scores, pixels = answer.classification.probs.data, answer.frame.shot.pixels
        self._offers.put(_Offer(scores, pixels, time.time()))

    def _write(self) -> None:
        """In the thread: one offer after the other."""
        while (one := self._offers.get()) is not None:
            try:
                self._sampler.offer(one.scores, one.pixels, one.at_s)
            except OSError as error:
                self._tell(error.strerror or type(error).__name__)
            except BaseException as error:  # noqa: BLE001 - raised again in the pipeline's thread
                self._error = error
            else:
                self._tell("not even one fits into its bytes" if self._sampler.full else "")
            finally:
                self._offers.task_done()

    def _is_due(self, answer: Answer) -> bool:
        scene, now = answer.frame.shot.scene, answer.frame.came_ns
        if scene is not None and self._every_s is None:
            if scene == self._scene:
                return False
            self._scene = scene
            return True
        if self._last_ns is not None and now - self._last_ns < self._gap_s() * 1e9:
            return False
        self._last_ns = now
        return True

    def _gap_s(self) -> float:
        """Seconds after which a frame counts as new."""
        if self._every_s is not None:
            return self._every_s
        stride_s = getattr(self._monitor, "stride_s", None)
        if stride_s is None:
            return _APART_S
        learning = getattr(self._monitor, "learning", False)
        # until the monitor knows how long frames stay alike it looks at all of them
        return max(float(stride_s), _APART_S) if learning else float(stride_s)

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            text = f"Frames of the audit in '{self._folder}' are"
            self._events.add(
                "record", f"{text} not kept: {problem}." if problem else f"{text} kept again."
            )


def identity_of(runtime: Runtime) -> str:
    """Digest of the model that runs, whether or not it has a manifest.

    Raises:
        ModelLoadError: Its file is gone or damaged meanwhile.
    """
    info = runtime.info
    if info.manifest is not None:
        return info.manifest.identity
    if info.path is None:
        raise InputError(
            "a model of bytes without a manifest has no identity", cure="Load it from its file."
        )
    from edgecv import artifact

    return artifact.read(info.path, check="off").identity
