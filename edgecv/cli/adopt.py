"""``edgecv adopt``: somebody's model with labels and preprocessing inside."""

from __future__ import annotations

import secrets
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edgecv.cli.options import (
    backend_option,
    file_argument,
    labels_option,
    overwrite_option,
    preprocess_option,
)
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.artifact import Manifest, ModelFile
    from edgecv.foreign import Reading

__all__ = ["command"]

_SUFFIX: Final = {"tflite": ".tflite", "onnx": ".onnx", "openvino": ".xml"}


@click.command(name="adopt")
@file_argument("model")
@labels_option
@preprocess_option
@click.option(
    "--score-kind",
    type=click.Choice(["logit", "probability"]),
    help="What the model's scores are. Default: as its graph ends.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="The copy; an OpenVINO model gets its .bin beside it.",
)
@overwrite_option
@backend_option
def command(
    model: Path,
    labels: Path | None,
    preprocess: str | None,
    score_kind: str | None,
    out: Path,
    overwrite: bool,
    backend: str,
) -> None:
    """Seal labels and preprocessing into a copy of MODEL, which then runs like one of edgecv's own.

    MODEL (.tflite, .onnx, .xml) is not touched, and its arithmetic stays as it is. What is not given is
    taken from metadata in the file, where it has some.

    \b
    edgecv adopt theirs.tflite --labels labels.txt --preprocess signed --out adopted.tflite
    """
    from edgecv import artifact
    from edgecv.foreign import resolve
    from edgecv.foreign.adopt import adopted_manifest, sealed
    from edgecv.runtime import Runtime

    file = artifact.read(model)
    _check_out(out, file.kind, overwrite)
    with Runtime(model, backend=backend) as runtime:
        info = runtime.info
    reading = resolve(file, info.inputs, info.outputs, labels, preprocess)
    manifest = adopted_manifest(
        file,
        info.inputs,
        info.outputs,
        reading,
        score_kind=score_kind,
        version=version("edgecv"),
    )
    main = sealed(file, manifest, own_labels=reading.labels_from == "argument")
    # the copy is loaded before it appears under its name
    Runtime((main, file.weights) if file.weights is not None else main, backend=backend).close()
    _write(out, main, file)
    click.echo(_summary(out, manifest, reading))


def _check_out(out: Path, kind: str, overwrite: bool) -> None:
    if kind not in _SUFFIX:
        raise InputError(
            f"a {kind} file is edgecv's own", cure=f"Adopt one of {', '.join(_SUFFIX.values())}."
        )
    if out.suffix != _SUFFIX[kind]:
        raise InputError(
            f"'{out}' does not end in {_SUFFIX[kind]}", cure=f"A copy of {kind} is {kind} again."
        )
    if not out.parent.is_dir():
        raise InputError(f"the folder '{out.parent}' does not exist", cure="Make it first.")
    files = [out, out.with_suffix(".bin")] if kind == "openvino" else [out]
    for file in files:
        if file.is_dir() or (file.exists() and not overwrite):
            raise InputError(f"'{file}' exists", cure="Use --overwrite, or another name.")


def _write(out: Path, main: bytes, file: ModelFile) -> None:
    from edgecv.artifact import replace_all, write_atomically

    try:
        if file.weights is None:
            write_atomically(out, main)
            return
        tag = secrets.token_hex(4)
        moves = {
            final.with_name(f".{final.name}.{tag}.tmp"): final
            for final in (out, out.with_suffix(".bin"))
        }
        try:
            for temporary, content in zip(moves, (main, file.weights), strict=True):
                temporary.write_bytes(content)
            replace_all(moves)
        finally:
            for temporary in moves:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"'{out}' cannot be written: {error.strerror}", cure="Check the folder."
        ) from error


def _summary(out: Path, manifest: Manifest, reading: Reading) -> str:
    from edgecv.cli.info import describe_preprocess

    assert manifest.preprocess is not None
    shown = "; ".join(manifest.labels[:4]) + ("; …" if len(manifest.labels) > 4 else "")
    return "\n".join(
        [
            str(out),
            f"  labels    {len(manifest.labels)}: {shown} (from: {reading.labels_from})",
            f"  pictures  {describe_preprocess(manifest.preprocess)} (from: {reading.preprocess_from})",
            f"  scores    {manifest.score_kind}",
        ]
    )
