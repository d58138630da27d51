"""``edgecv board``: one page on this machine."""

from __future__ import annotations

import json

import click

__all__ = ["command"]


@click.command(name="board")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(as_json: bool) -> None:
    """Say what this machine is, what it can run, and what would spoil a measurement.

    What the machine does not tell is shown with the reason, never guessed. Lines that begin with an
    exclamation mark say what to change.

    \b
    edgecv board
    """
    from edgecv.board.report import report

    found = report()
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else found.to_text())
