"""``edgecv verify``: is an artifact what its source says?"""

from __future__ import annotations

from pathlib import Path

import click

from edgecv.cli.options import file_argument
from edgecv.errors import GateError, MissingExtraError

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
def command(artifact_path: Path, source: Path) -> None:
    """Read every scale, zero point, weight and bias integer of ARTIFACT back and compare it with the source.

    Exit code 1 when anything differs; tensor, channel and both values are named.

    \b
    edgecv verify artifacts/model.int8.tflite --against run/model.qdq.onnx
    """
    try:
        from edgecv import artifact
        from edgecv.verify.parameters import compare_parameters
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "flatbuffers", "tflite"):
            raise
        raise MissingExtraError.of(error.name, "convert-verify") from error
    file = artifact.read(artifact_path)
    mismatches = compare_parameters(artifact_path, artifact.read(source).body)
    for mismatch in mismatches[:_SHOWN]:
        click.echo(str(mismatch))
    if mismatches:
        raise GateError(
            f"{len(mismatches)} of the parameters of '{artifact_path}' differ from '{source}'",
            cure="Convert again from that source.",
        )
    click.echo(f"{artifact_path}: {file.state}; every parameter equals '{source}'")
