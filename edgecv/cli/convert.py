"""``edgecv convert``: ONNX to the files that boards run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgecv.cli.options import (
    Progress,
    data_folder_option,
    file_argument,
    overwrite_option,
    parse_shapes,
    tensors_option,
)
from edgecv.errors import MissingExtraError

__all__ = ["command"]


def _list_ops(context: click.Context, _: click.Parameter, form: str | None) -> None:
    if form is None or context.resilient_parsing:
        return
    import edgecv_converters

    click.echo(edgecv_converters.list_operators(form), nl=form == "table")
    context.exit()


@click.command(name="convert")
@file_argument("model")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="tflite, openvino or onnx; may be repeated. All targets of a call succeed or none is written.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="the current folder",
    help="Folder for the artifacts, named <stem>.<int8|float|float16>.<suffix>.",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Quantize a float MODEL first, on at most 256 pictures of this folder; <stem>.qdq.onnx is written, too.",
)
@click.option(
    "--plan",
    "plan_format",
    is_flag=False,
    flag_value="table",
    type=click.Choice(["table", "json"]),
    help="Print what would be done, per node and why, and write nothing. --plan json for machines.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    metavar="N",
    help="Pictures at once, where the model leaves that open; 1 without this option.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="INPUT=AxBxC",
    help="Whole shape of an input that leaves dimensions open, e.g. input=1x3x160x160; may be repeated.",
)
@click.option(
    "--io",
    type=click.Choice(["int8", "uint8", "float32"]),
    help="What inputs and outputs are. Without this option int8 in TFLite where MODEL is quantized, in OpenVINO and"
    " ONNX what MODEL has (float32). uint8 takes raw pixels of edgecv's own models. The answers stay the same.",
)
@click.option(
    "--layout",
    type=click.Choice(["nhwc", "nchw"]),
    help="Order of the dimensions of pictures at the edge. Without this option nhwc in TFLite, nchw (as in MODEL)"
    " in OpenVINO and ONNX.",
)
@click.option(
    "--float16",
    is_flag=True,
    help="Store the constants of a float MODEL in half the bytes; engines compute in float32.",
)
@click.option(
    "--list-ops",
    is_flag=False,
    flag_value="table",
    type=click.Choice(["table", "markdown"]),
    is_eager=True,
    expose_value=False,
    callback=_list_ops,
    help="Print which operators each target takes, and which tests verify it; needs no MODEL.",
)
@click.option(
    "--no-verify",
    is_flag=True,
    help="Write without comparing with the source; the manifest then says: not verified.",
)
@data_folder_option("--verify-data")
@click.option(
    "--keep-failed",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep an artifact that fails its verification here, marked as not verified.",
)
@click.option(
    "--no-measure",
    is_flag=True,
    help="Do not measure int8 against its float twin (a few seconds per target).",
)
@tensors_option
@overwrite_option
def command(
    model: Path,
    targets: tuple[str, ...],
    out: Path,
    calibrate: Path | None,
    plan_format: str | None,
    batch: int | None,
    shapes: tuple[str, ...],
    io: str | None,
    layout: str | None,
    float16: bool,
    no_verify: bool,
    verify_data: Path | None,
    keep_failed: Path | None,
    no_measure: bool,
    tensors: bool,
    overwrite: bool,
) -> None:
    """Convert an ONNX MODEL (float or QDQ) to TFLite, OpenVINO and ONNX artifacts.

    Quantization parameters of a QDQ file are kept bit for bit. Before a file appears under its name it is
    compared with MODEL: every parameter, every tensor and the answers. Exit code 1 when it is something
    else; nothing is written then.

    \b
    edgecv convert run/model.qdq.onnx --target tflite --target openvino --out artifacts
    edgecv convert theirs.float.onnx --calibrate pictures --target tflite --out artifacts
    edgecv convert run/model.qdq.onnx --target tflite --plan
    """
    try:
        from edgecv import conversion
        from edgecv.verify.gates import VerificationFailedError
        from edgecv_converters import ReadOptions, WriteOptions
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "flatbuffers", "tflite"):
            raise
        raise MissingExtraError.of(error.name, "convert-verify") from error
    read, write = ReadOptions(batch, parse_shapes(shapes)), WriteOptions(io, layout, float16)
    if plan_format:
        for target in targets or ("tflite",):
            planned = conversion.plan(model, target, read=read, write=write)
            click.echo(
                json.dumps(planned.to_json(), indent=1)
                if plan_format == "json"
                else planned.to_text()
            )
        return
    if not targets:
        raise click.UsageError(
            "Missing option '--target': tflite, openvino or onnx (may be repeated)."
        )
    progress = Progress()
    options = conversion.VerifyOptions(data=verify_data, keep_failed=keep_failed)
    try:
        results = conversion.convert_all(
            model, targets, out=out, overwrite=overwrite, verify=not no_verify, read=read,
            write=write, calibrate=calibrate, verify_options=options,
            measure=not (no_measure or no_verify), progress=progress.step,
        )  # fmt: skip
    except VerificationFailedError as error:
        click.echo(error.report.to_text(tensors=tensors))
        raise
    for result in results:
        for warning in result.report["warnings"]:
            click.echo(f"warning: {result.target}: {warning}", err=True)
        left_out = f", {len(result.manifest.left_out)} left out" if result.manifest.left_out else ""
        present = f"{len(result.manifest.quantizers)} quantizers{left_out}"
        found = result.verification
        state = found.summary if found else "not verified"
        click.echo(f"{result.path}: {result.precision}, {present}, {state}")
        if found:
            click.echo(found.to_text(tensors=tensors))
        if "speed" in result.report:
            click.echo(f"  {_speed(result.report['speed'])}")


def _speed(found: dict[str, Any]) -> str:
    """Medians of int8 and of its float twin, in one line."""
    ratio = found["ratio"]
    text = (
        f"int8 {found['int8_p50_ms']:.3f} ms, float twin {found['float_p50_ms']:.3f} ms: ratio"
        f" {ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}], one thread"
    )
    return text if found["valid"] else f"{text}; not to be trusted: {' '.join(found['reasons'])}"
