"""``edgecv camera``: a model on a camera, and the truth about both."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli.evaluating import refuse_existing
from edgecv.cli.options import (
    backend_option,
    labels_option,
    page_options,
    preprocess_option,
    refuse_alone,
    threads_option,
)
from edgecv.cli.surroundings import Wanted, surround
from edgecv.errors import GateError, InputError, InvalidMeasurementError

if TYPE_CHECKING:
    from edgecv.camera.pipeline import Pipeline
    from edgecv.runtime import Runtime

__all__ = ["command"]

_VIEWS = ("web", "terminal", "window", "none")
#: Engine → kind of the shipped file that it runs; every other one gets the TFLite file.
_SHIPPED = {"openvino": "openvino", "onnxruntime": "onnx"}


@click.command(name="camera")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "--source",
    metavar="URI",
    help="usb:0, v4l2:/dev/video0, picam:0, rtsp://…, http://….mjpg, file:video.mp4, dir:pictures/ or"
    " synth: (digits with known labels and faults on request: synth:?dark=200-400&seed=3).",
)
@click.option(
    "--view",
    type=click.Choice(_VIEWS),
    default="web",
    show_default=True,
    help="A page for browsers, the terminal (for SSH), a window of the desktop, or nothing.",
)
@page_options(8080)
@click.option(
    "--duration", type=click.FloatRange(0, min_open=True), help="Stop after so many seconds."
)
@click.option("--frames", type=click.IntRange(1), help="Stop after so many answers.")
@click.option("--loop", is_flag=True, help="Begin again where a video or a folder ends.")
@click.option(
    "--float",
    "float_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Float file of the same model, to be asked now and then: what did quantization change?",
)
@click.option(
    "--float-every",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="The float file answers one frame in so many.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append a line of JSON per second and per event; rotated.",
)
@click.option(
    "--log-mb",
    type=click.FloatRange(0.1),
    default=50.0,
    show_default=True,
    help="Most that all rotated files of --log hold, in MB.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="LOG",
    help="Print the measurements of a log as CSV, and do nothing else.",
)
@click.option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one JSON record at the end.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep pictures of uncertain answers and of the moments around a drift alarm. Off by default:"
    " no picture is stored unless you ask.",
)
@click.option(
    "--keep-mb",
    type=click.FloatRange(0.1),
    default=200.0,
    show_default=True,
    help="Most that DIR may hold, in MB; the oldest pictures go first.",
)
@click.option(
    "--keep-below",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="An answer with a lower score is uncertain.",
)
@click.option(
    "--audit",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep frames drawn by chance for people to label (edgecv drift label DIR --page): the accuracy in"
    " the field. A DIR of an earlier run with the same model is gone on with. Off by default.",
)
@click.option(
    "--audit-frames",
    type=click.IntRange(2, 10_000),
    default=200,
    show_default=True,
    help="Frames kept by chance; half as many further ones of which the model was unsure.",
)
@click.option(
    "--audit-mb",
    type=click.FloatRange(0.1),
    default=200.0,
    show_default=True,
    help="Most that the pictures of --audit hold, in MB; beyond it fewer are kept.",
)
@click.option(
    "--audit-every",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Draw from one frame in so many seconds (0: from every frame). Default: one per scene where the"
    " source knows its scenes, else as the drift monitor samples, else 5.",
)
@click.option("--fail-on-drift", is_flag=True, help="Exit code 1 when a drift alarm was raised.")
@labels_option
@preprocess_option
@backend_option
@threads_option
@click.option("--overwrite", is_flag=True, help="Replace the summary if it exists.")
def command(
    model: Path | None,
    source: str | None,
    duration: float | None,
    frames: int | None,
    loop: bool,
    float_path: Path | None,
    float_every: int,
    summary: Path | None,
    csv_path: Path | None,
    fail_on_drift: bool,
    labels: Path | None,
    preprocess: str | None,
    backend: str,
    threads: int,
    overwrite: bool,
    **around: Any,
) -> None:
    """Classify what a camera sees with MODEL, and show how well and how fast.

    Without MODEL the digits model that comes with edgecv runs. The page leads with the figure that is
    true: accuracy against known labels where the source has them, then int8 against the float file
    beside it, then the estimate without labels. Exit codes: 0 ended as asked (also by SIGTERM), 1 a
    drift alarm with --fail-on-drift, 2 user error or a source that does not open, 3 no frame was
    answered, 130 interrupted.

    \b
    edgecv camera --source synth:
    edgecv camera model.int8.tflite --source usb:0 --float model.float.tflite
    edgecv camera --source 'synth:?rate=0' --view none --frames 500 --summary run.json
    """
    refuse_alone("audit", "audit_every", "audit_frames", "audit_mb")
    refuse_alone("float_path", "float_every")
    refuse_alone("keep", "keep_mb", "keep_below")
    refuse_alone("log", "log_mb")
    if csv_path is not None:
        from edgecv.camera.records import to_csv

        for line in to_csv(csv_path):
            click.echo(line, nl=False)
        return
    if source is None:
        from edgecv.camera.sources.found import cameras_found

        raise InputError(
            "no source is named",
            cure=f"Add --source URI. {cameras_found()} Without one: --source synth:",
        )
    refuse_existing(summary, overwrite=overwrite)
    wanted = Wanted(**around)
    from edgecv.camera import Pipeline, PipelineOptions, open_source
    from edgecv.camera.monitor import monitor_of, shipped_monitor
    from edgecv.camera.systemd import Watchdog

    with ExitStack() as stack:
        runtime = stack.enter_context(_open(model, backend, threads, labels, preprocess))
        reference = None
        if float_path is not None:
            reference = stack.enter_context(_open(float_path, "auto", threads, labels, preprocess))
        monitor = shipped_monitor() if model is None else monitor_of(runtime.info.manifest)
        pipeline = Pipeline(
            open_source(source, runtime.info.labels),
            runtime,
            reference=reference,
            monitor=monitor,
            options=PipelineOptions(loop=loop, reference_every=float_every),
            on_tick=Watchdog(),
        )
        surround(pipeline, wanted, monitor, stack)
        interrupted = stack.enter_context(_stopped_by_signals(pipeline))
        record = pipeline.run(frames=frames, seconds=duration)
    if summary is not None:
        from edgecv.artifact import write_atomically

        write_atomically(summary, (json.dumps(record, indent=1) + "\n").encode())
    click.echo(_to_text(record))
    if interrupted:
        raise click.Abort
    _judge(record, fail_on_drift=fail_on_drift and pipeline.alarmed)


def _judge(record: dict[str, Any], *, fail_on_drift: bool) -> None:
    if not record["frames_out"]:
        raise InvalidMeasurementError("no frame was answered", cure="Look at the source.")
    if fail_on_drift:
        raise GateError(
            "a drift alarm was raised", cure="See the events of --log, and docs/camera.md."
        )


def _open(
    path: Path | None, backend: str, threads: int, labels: Path | None, preprocess: str | None
) -> Runtime:
    """The model, or the shipped one on the first engine that is there."""
    from edgecv.runtime import Runtime

    if path is not None:
        return Runtime(path, backend=backend, threads=threads, labels=labels, preprocess=preprocess)
    from edgecv.selftest.bundle import MODELS, load_bundle

    name = _first_engine() if backend == "auto" else backend
    files, file = load_bundle().files, MODELS[_SHIPPED.get(name, "tflite")]
    source = (
        (files[file], files[file.replace(".xml", ".bin")]) if file.endswith(".xml") else files[file]
    )
    return Runtime(source, backend=name, threads=threads)


def _first_engine() -> str:
    from importlib.util import find_spec

    packages = {
        "litert": ("ai_edge_litert", "tflite_runtime"),
        "openvino": ("openvino",),
        "onnxruntime": ("onnxruntime",),
    }
    for name, modules in packages.items():
        if any(find_spec(module) for module in modules):
            return name
    return "litert"  # whose absence is said with the command that adds it


@contextlib.contextmanager
def _stopped_by_signals(pipeline: Pipeline) -> Iterator[list[int]]:
    """Ctrl-C and systemd's stop end the loop, so that the summary is written; yields Ctrl-Cs."""
    interrupts: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            interrupts.append(number)
            if len(interrupts) > 1:
                raise KeyboardInterrupt
        pipeline.stop()

    before = {}
    if threading.current_thread() is threading.main_thread():  # nobody else may
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _to_text(record: dict[str, Any]) -> str:
    """A few lines for whoever sits at the terminal."""
    lines = [
        f"{record['frames_out']} answers to {record['frames_in']} frames"
        f" ({record['frames_dropped']} dropped), {record['fps_out']:.1f} per second,"
        f" {record['backend']}, executes {record['executed_precision']}"
    ]
    if record["frames_out"]:
        parts = [
            f"{stage} {values['p50']:.2f}/{values['p99']:.2f}"
            for stage, values in record["latency_ms"].items()
        ]
        lines.append(
            f"p50/p99 in ms: {', '.join(parts)}; peak {(record['peak_rss_bytes'] or 0) / 2**20:.0f} MiB"
        )
    truth, paired, drift = record["accuracy"], record["against_float"], record["drift"]
    if truth is not None:
        low, high = (100 * bound for bound in truth["interval"])
        lines.append(
            f"accuracy against labels {100 * truth['true_top1']:.1f} % ({low:.1f} to {high:.1f},"
            f" {truth['n']} frames)"
        )
    if paired is not None:
        lines.append(f"agrees with float {100 * paired['agreement']:.1f} % ({paired['n']} frames)")
    if drift is not None and drift["estimated_top1"] is not None:
        low, high = (100 * bound for bound in drift["interval"])
        known = f"{100 * drift['estimated_top1']:.1f} % ({low:.1f} to {high:.1f})"
        lines.append(
            f"estimated accuracy {known if drift['inside_calibrated_range'] else 'cannot be told'}"
            f" ({drift['effective_samples']:.0f} independent frames of late)"
        )
    if drift is not None and drift["alarms"]:
        lines += [f"drift alarm: {alarm}" for alarm in drift["alarms"]]
    if not record["valid"]:
        lines.append(f"Times are not to be trusted: {' '.join(record['invalid_reasons'])}")
    return "\n".join(lines)
