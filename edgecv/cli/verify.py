"""``edgecv verify``: is an artifact what its source says?"""

from __future__ import annotations

from pathlib import Path

import click

from edgecv.cli.options import data_folder_option, file_argument, tensors_option
from edgecv.errors import MissingExtraError

__all__ = ["command"]

_SHOWN = 20


@click.command(name="verify")
@file_argument("artifact_path", metavar="ARTIFACT")
@click.option(
    "--against",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    help="The ONNX file that ARTIFACT was made from.",
)
@data_folder_option("--data")
@tensors_option
def command(artifact_path: Path, source: Path, data: Path | None, tensors: bool) -> None:
    """Compare ARTIFACT with its source: every parameter, and what both compute.

    Exit code 1 when anything differs; tensor, channel and both values are named.

    \b
    edgecv verify artifacts/model.int8.tflite --against run/model.qdq.onnx --data pictures
    """
    try:
        from edgecv import artifact
        from edgecv.verify.gates import VerificationFailedError
        from edgecv.verify.options import VerifyOptions
        from edgecv.verify.verifier import verify_artifact
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "flatbuffers", "tflite"):
            raise
        raise MissingExtraError.of(error.name, "convert-verify") from error
    report = verify_artifact(artifact_path, source, VerifyOptions(data=data))
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    for mismatch in report.mismatches[: None if tensors else _SHOWN]:
        click.echo(mismatch)
    state = artifact.read(artifact_path).state
    click.echo(f"{artifact_path}: {state}, {report.summary}\n{report.to_text(tensors=tensors)}")
    if not report.verified:
        count = len(report.mismatches)
        raise VerificationFailedError(
            f"{count} of the parameters of '{artifact_path}' differ from '{source}'"
            if count
            else f"'{artifact_path}' does not compute what '{source}' does",
            cure="Convert again from that source.",
            report=report,
        )
