"""``edgecv export``: the two ONNX files of a run, or of somebody's checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from edgecv.cli.options import Progress, file_argument, overwrite_option, parse_size
from edgecv.errors import InputError

__all__ = ["command"]


@click.command(name="export")
@file_argument("run", required=False)
@click.option("--model", help="timm name of a checkpoint (instead of RUN).")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Its state dict: .safetensors, .pth."
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    help="Folder of pictures that set the ranges (post-training quantization).",
)
@click.option(
    "--calibration-pictures",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Use at most this many of them, evenly spread.",
)
@click.option("--labels", type=click.Path(path_type=Path), help="Class names, one per line.")
@click.option("--size", help="Model input: 224, or HEIGHTxWIDTH. Default: the published one.")
@click.option(
    "--normalize",
    type=click.Choice(["fold", "op"]),
    default="fold",
    show_default=True,
    help="Mean and std: folded into the first convolution, or a layer of their own (exact border).",
)
@click.option(
    "--method",
    type=click.Choice(["qat", "ptq"]),
    help="For RUN: learned ranges, or post-training quantization. Default: qat if it was trained.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the files. Default: RUN itself."
)
@overwrite_option
def command(
    run: Path | None,
    model: str | None,
    weights: Path | None,
    calibrate: Path | None,
    calibration_pictures: int,
    labels: Path | None,
    size: str | None,
    normalize: str,
    method: str | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Write model.float.onnx and model.qdq.onnx of RUN, or of a timm checkpoint without training.

    \b
    edgecv export run
    edgecv export --model resnet18 --weights resnet18.safetensors --calibrate pictures --out run
    """
    if (run is None) == (model is None):
        raise click.UsageError("Name either RUN or --model with --weights, --calibrate and --out.")
    if run is not None:
        _export_run(run, method, out, overwrite)
        return
    needed = {"--weights": weights, "--calibrate": calibrate, "--out": out}
    if missing := [name for name, value in needed.items() if value is None]:
        raise click.UsageError(f"--model also needs {', '.join(missing)}.")
    assert model is not None
    assert weights is not None
    assert calibrate is not None
    assert out is not None
    from edgecv.train.checkpoint import CheckpointOptions, export_checkpoint

    options = CheckpointOptions(
        model=model,
        weights=weights,
        calibrate=calibrate,
        pictures=calibration_pictures,
        size=parse_size(size),
        normalize=normalize,
        labels=_read_labels(labels) if labels else None,
    )
    progress = Progress()
    exported, folded = export_checkpoint(options, out, overwrite=overwrite, progress=progress.step)
    if folded is not None:
        click.echo(
            "normalization folded into the first convolution: agrees with the original on"
            f" {100 * folded.agreement:.2f} % of {folded.pictures} pictures, largest logit difference"
            f" {folded.max_logit_difference:.4g} of {folded.logit_range:.4g}"
            " (--normalize op keeps the border exact)"
        )
    click.echo(f"{exported.float_onnx}\n{exported.qdq_onnx}: {exported.quantizers} quantizers, ptq")


def _export_run(run: Path, method: str | None, out: Path | None, overwrite: bool) -> None:
    from edgecv.train import export_run

    exported = export_run(run, method=method, out=out, overwrite=overwrite)
    click.echo(
        f"{exported.float_onnx}\n{exported.qdq_onnx}: {exported.quantizers} quantizers,"
        f" {exported.method}"
    )


def _read_labels(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"'{path}' cannot be read: {error}", cure="Give a UTF-8 file, one name per line."
        ) from error
    return [line.strip() for line in lines if line.strip()]
