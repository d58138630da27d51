"""``edgecv convert``: ONNX to the files that boards run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgecv.cli.options import Progress, file_argument, overwrite_option
from edgecv.errors import MissingExtraError

__all__ = ["command"]


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
    help="Folder for the artifacts, named <stem>.<int8|float>.<suffix>.",
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
    "--no-verify",
    is_flag=True,
    help="Do not read the parameters back before the files are renamed.",
)
@overwrite_option
def command(
    model: Path,
    targets: tuple[str, ...],
    out: Path,
    plan_format: str | None,
    no_verify: bool,
    overwrite: bool,
) -> None:
    """Convert an ONNX MODEL (float or QDQ) to TFLite, OpenVINO and ONNX artifacts.

    Quantization parameters of a QDQ file are kept bit for bit and read back before anything is written.

    \b
    edgecv convert run/model.qdq.onnx --target tflite --target openvino --out artifacts
    edgecv convert run/model.qdq.onnx --target tflite --plan
    """
    try:
        from edgecv import conversion
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "flatbuffers", "tflite"):
            raise
        raise MissingExtraError.of(error.name, "convert-verify") from error
    if plan_format:
        for target in targets or ("tflite",):
            planned = conversion.plan(model, target)
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
    results = conversion.convert_all(
        model, targets, out=out, overwrite=overwrite, verify=not no_verify, progress=progress.step
    )
    for result in results:
        for warning in result.report["warnings"]:
            click.echo(f"warning: {result.target}: {warning}", err=True)
        state = (
            "every parameter equal to the source" if result.report["verified"] else "not verified"
        )
        left_out = f", {len(result.manifest.left_out)} left out" if result.manifest.left_out else ""
        present = f"{len(result.manifest.quantizers)} quantizers{left_out}"
        click.echo(f"{result.path}: {result.precision}, {present}, {state}")
