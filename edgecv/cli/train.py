"""``edgecv train``: from a folder of pictures to a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from edgecv.cli.options import Progress, overwrite_option, parse_size

__all__ = ["command"]


@click.command(name="train")
@click.option(
    "--data",
    "data",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with one subfolder per class, or with train, val and test above them.",
)
@click.option(
    "--model", default="resnet18", show_default=True, help="timm name, or resnet10_micro."
)
@click.option("--qat", is_flag=True, help="Go on with quantization-aware training after float.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option("--size", help="Model input: 224, or HEIGHTxWIDTH. Default: the published one.")
@click.option("--epochs", type=int, default=12, show_default=True, help="Float epochs.")
@click.option("--qat-epochs", type=int, default=3, show_default=True, help="Epochs with --qat.")
@click.option("--batch-size", type=int, default=64, show_default=True, help="Pictures per step.")
@click.option(
    "--lr", type=float, default=4e-3, show_default=True, help="Peak rate of the float phase."
)
@click.option("--qat-lr", type=float, default=2e-4, show_default=True, help="Peak rate with --qat.")
@click.option("--weights", type=click.Path(path_type=Path), help="State dict to start from.")
@click.option(
    "--augment",
    type=click.Choice(["none", "light"]),
    default="light",
    show_default=True,
    help="light: random crop and horizontal flip.",
)
@click.option(
    "--normalize",
    type=click.Choice(["fold", "op"]),
    default="fold",
    show_default=True,
    help="Mean and std: folded into the first convolution, or a layer of their own.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--threads", type=int, default=0, help="Threads of torch. Default: torch's choice.")
@overwrite_option
def command(
    data: Path,
    out: Path,
    qat: bool,
    overwrite: bool,
    size: str | None,
    weights: Path | None,
    qat_epochs: int,
    **recipe: object,
) -> None:
    """Train a classifier on your own pictures.

    Pictures without splits are divided 70/15/15, stratified; data.json says which went where.

    \b
    edgecv train --data pictures --model resnet18 --qat --out run
    edgecv export run
    """
    from edgecv.data import scan, verify
    from edgecv.train import Recipe, train_run

    progress = Progress()
    options = Recipe(
        size=parse_size(size),
        weights=str(weights) if weights else None,
        qat_epochs=qat_epochs if qat else 0,
        **recipe,  # type: ignore[arg-type]
    )
    progress.step(f"looking at the pictures in {data}")
    dataset = scan(data)
    for warning in dataset.warnings:
        click.echo(f"warning: {warning}", err=True)
    verify(dataset, lambda done, total: progress.update(f"checked {done} of {total} pictures"))
    run = train_run(
        dataset, options, out, overwrite=overwrite, progress=progress.step, update=progress.note
    )
    progress.done()
    last = run.epochs[-1] if run.epochs else None
    top1 = f", validation top-1 {100 * last.val_top1:.2f} %" if last else ""
    click.echo(f"{run.path}: {len(dataset.classes)} classes{top1}; next: edgecv export {run.path}")
