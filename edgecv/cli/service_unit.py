"""``edgecv service-unit``: a camera as a service of systemd's."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click

__all__ = ["command"]


@click.command(
    name="service-unit",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.option("--user", metavar="NAME", help="Who runs it. Default: whoever calls this command.")
@click.option(
    "--watchdog",
    type=click.IntRange(5, 3600),
    default=30,
    show_default=True,
    help="Seconds without a sign of life after which it is started anew.",
)
@click.pass_context
def command(context: click.Context, user: str | None, watchdog: int) -> None:
    """Print a systemd unit that runs ``edgecv camera`` with the arguments that follow.

    It is started at boot and again after a failure; a watchdog is fed by the loop that answers
    frames. Paths should be whole: the service runs in /var/lib/edgecv-camera.

    \b
    edgecv service-unit --user pi /home/pi/model.tflite --source picam:0 --log camera.jsonl
    """
    from edgecv.camera.systemd import unit

    program = Path(sys.argv[0])
    here = program if program.name == "edgecv" else Path(sys.executable).with_name("edgecv")
    words = [str(here.absolute()), "camera", *context.args]
    click.echo(unit(words, user=user or getpass.getuser(), watchdog_s=watchdog), nl=False)
