"""``edgecv bench compare``: two measurements."""

from __future__ import annotations

from pathlib import Path

import click

from edgecv.cli.options import file_argument

__all__ = ["command"]


@click.command(name="compare")
@file_argument("a", metavar="A")
@file_argument("b", metavar="B")
@click.option("--across-boards", is_flag=True, help="Compare although the boards differ.")
@click.option(
    "--invalid", is_flag=True, help="Compare although a record says it cannot be trusted."
)
def command(a: Path, b: Path, across_boards: bool, invalid: bool) -> None:
    """Say whether record B is faster than record A, with an interval of the ratio of their medians.

    \b
    edgecv bench compare bench/float.json bench/int8.json
    """
    from edgecv.bench.compare import compare
    from edgecv.bench.record import load

    click.echo(compare(load(a), load(b), across_boards=across_boards, invalid=invalid))
