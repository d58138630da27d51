"""Frames of a camera for people to label: which are offered to an audit, and what becomes of errors."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from edgecv.camera.frame import Answer
from edgecv.drift.audit import AuditOptions, AuditSampler
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.camera.monitor import DriftMonitor
    from edgecv.camera.pipeline import Pipeline
    from edgecv.runtime import Runtime

__all__ = ["Auditor", "identity_of"]

#: Seconds between offered frames where nobody knows how long frames stay alike.
_APART_S: Final = 5.0


class Auditor:
    """Offers frames to an :class:`~edgecv.drift.AuditSampler`. A sink, and a context manager.

    Frames that are alike would only look like more evidence, so not every one is offered: one per scene where
    the source knows its scenes, else one per the distance at which a drift monitor samples, else one in five
    seconds. A folder that cannot be written is an event, and the camera goes on.

    Args:
        folder: Made when missing; an earlier run's audit of the same model is gone on with.
        pipeline: Whose model and events they are.
        monitor: The pipeline's, where it has one; its ``stride_s`` and ``learning`` are asked for, if it has them.
        options: How many frames are kept.
        every_s: One frame per so many seconds instead; 0 offers every frame.

    Raises:
        InputError: The model does not say what its scores are, or the folder cannot be used.
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
        if self._sampler.offered:
            self._events.add("record", f"The audit in '{folder}' goes on: {self.text}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._sampler.__exit__(kind, error, trace)
        except OSError as failed:
            self._tell(failed.strerror or type(failed).__name__)

    @property
    def text(self) -> str:
        """What is kept, in words."""
        return f"{self._sampler.kept} frames kept of {self._sampler.offered} offered"

    def take(self, answer: Answer) -> None:
        """Offer the frame, when it is time for one."""
        if not self._is_due(answer):
            return
        try:
            # a wall clock: the time is for people, and for runs that follow
            self._sampler.offer(
                answer.classification.probs.data, answer.frame.shot.pixels, time.time()
            )
        except OSError as error:
            self._tell(error.strerror or type(error).__name__)
        else:
            self._tell("not even one fits into its bytes" if self._sampler.full else "")

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
