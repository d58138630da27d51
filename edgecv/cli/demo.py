"""``edgecv demo``: the main job on bundled data."""

from __future__ import annotations

from pathlib import Path

import click

from edgecv.cli.options import Progress, overwrite_option
from edgecv.errors import GateError, require

__all__ = ["command"]


@click.command(name="demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("edgecv-demo"),
    show_default=True,
    help="Folder for everything.",
)
@click.option(
    "--model",
    default="resnet10_micro",
    show_default=True,
    metavar="NAME",
    help="resnet10_micro (about four minutes), or mobilevit_xxs (up to ten).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@overwrite_option
def command(out: Path, model: str, seed: int, overwrite: bool) -> None:
    """Train, quantize, convert, run and compare on bundled data, in minutes.

    Leaves pictures, run files, artifacts, report.json and report.html in one folder. Exit code 1
    when a promise was not kept: int8 within 1 point of float on every engine, 99 % agreement with
    the quantization-aware model (less the quantizers that a file leaves out), every disagreement a
    near-tie, logits within 4 output steps; for MobileViT, which no engine computes wholly in
    integers, logits as near as roundings of close calls allow. One model a run: both together take
    longer than eight minutes.
    """
    require("torch", "timm", "sklearn", "onnx", extra="all")
    from edgecv.demo.folder import output_folder
    from edgecv.demo.gates import failed
    from edgecv.demo.pipeline import DemoOptions, run_demo
    from edgecv.report import print_table

    progress = Progress()
    options = DemoOptions.of(model, seed=seed)
    with output_folder(out, overwrite=overwrite) as folder:
        result = run_demo(folder, options, step=progress.step, note=progress.note)
    progress.done()
    print_table(result.report)
    for gate in result.gates:
        click.echo(f"{'ok    ' if gate.passed else 'FAILED'}  {gate.name}: {gate.detail}")
    click.echo(f"\n{result.json_path}\n{result.html_path}  <- open this in a browser")
    if broken := failed(result.gates):
        raise GateError(
            f"{len(broken)} of {len(result.gates)} promises were not kept: {broken[0].name}",
            cure="Look at the report.",
        )
