"""What ``edgecv camera`` puts around a pipeline: records, pictures that are kept, and a view."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.camera.monitor import DriftMonitor
    from edgecv.camera.pipeline import Pipeline

__all__ = ["Wanted", "surround"]


@dataclass(frozen=True)
class Wanted:
    """The options that belong to what surrounds the pipeline, as ``edgecv camera --help`` has them."""

    view: str
    host: str
    port: int
    token: str | None
    log: Path | None
    log_mb: float
    keep: Path | None
    keep_mb: float
    keep_below: float
    audit: Path | None
    audit_frames: int
    audit_mb: float
    audit_every: float | None

    def __post_init__(self) -> None:
        if self.keep and self.audit and self.keep.resolve() == self.audit.resolve():
            raise InputError(
                f"--keep and --audit both name '{self.audit}': each needs a folder of its own",
                cure=f"Name another one, e.g. --keep {self.audit}-kept.",
            )


def surround(
    pipeline: Pipeline, wanted: Wanted, monitor: DriftMonitor | None, stack: ExitStack
) -> None:
    """Records and a view around the pipeline; they end with *stack*.

    Raises:
        EdgecvError: A file, folder or address cannot be used, or an extra is not installed.
    """
    if wanted.log is not None:
        from edgecv.camera.records import Recorder

        recorder = Recorder(wanted.log, pipeline, most_bytes=round(wanted.log_mb * 1e6))
        pipeline.add(stack.enter_context(recorder))
    if wanted.keep is not None:
        from edgecv.camera.keep import Keeper

        pipeline.add(
            Keeper(
                wanted.keep,
                pipeline,
                below=wanted.keep_below,
                most_bytes=round(wanted.keep_mb * 1e6),
            )
        )
    if wanted.audit is not None:
        _audit(wanted.audit, pipeline, wanted, monitor, stack)
    _view(pipeline, wanted, stack)


def _audit(
    folder: Path,
    pipeline: Pipeline,
    wanted: Wanted,
    monitor: DriftMonitor | None,
    stack: ExitStack,
) -> None:
    from edgecv.camera.auditing import Auditor
    from edgecv.drift.audit import AuditOptions

    options = AuditOptions(
        by_chance=wanted.audit_frames,
        unsure=wanted.audit_frames // 2,
        most_bytes=round(wanted.audit_mb * 1e6),
    )
    auditor = Auditor(
        folder, pipeline, monitor=monitor, options=options, every_s=wanted.audit_every
    )

    def say() -> None:
        if auditor.offered:
            click.echo(f"audit: {auditor.text}; label them: edgecv drift label {folder} --page")

    stack.callback(say)
    pipeline.add(stack.enter_context(auditor))


def _view(pipeline: Pipeline, wanted: Wanted, stack: ExitStack) -> None:
    if wanted.view == "web":
        from edgecv.camera.web import serve

        page = stack.enter_context(serve(pipeline, wanted.host, wanted.port, wanted.token))
        pipeline.add(page)
        click.echo(f"{page.url}", err=True)
    elif wanted.view == "terminal":
        from edgecv.camera.terminal import TerminalView

        pipeline.add(stack.enter_context(TerminalView(pipeline)))
    elif wanted.view == "window":
        from edgecv.camera.window import WindowView

        pipeline.add(stack.enter_context(WindowView(pipeline)))
