"""A click group that imports a subcommand's module when it is called or when its own help is asked for."""

from __future__ import annotations

import difflib
import importlib

import click

__all__ = ["COMMANDS", "LazyGroup"]

#: Subcommand → its one-line help. The module is ``edgecv.cli.<name>``, the command object ``command``.
COMMANDS = {
    "demo": "Train, quantize, convert, run and compare on bundled data.",
    "train": "Train a classifier on a folder of pictures, with quantization-aware training.",
    "export": "Write the float and the QDQ ONNX file of a run or of a checkpoint.",
    "convert": "Convert an ONNX model to TFLite, OpenVINO and ONNX artifacts.",
    "verify": "Compare an artifact with the ONNX file it was made from.",
    "evaluate": "Measure the accuracy of models on labeled pictures.",
    "compare": "Say what changes when one model replaces another.",
    "predict": "Classify pictures.",
    "adopt": "Seal labels and preprocessing into a copy of somebody else's model.",
    "info": "Say what a model file is and how it would run.",
    "drift": "Make a model's drift profile; label frames from the field.",
    "camera": "Classify what a camera sees, and show how well and how fast.",
    "service-unit": "Print a systemd unit that runs a camera.",
    "bench": "Measure latency and memory, and compare measurements.",
    "selftest": "Run a small model on every engine that is installed.",
    "board": "Say what this machine is, and what would spoil a measurement.",
}


class LazyGroup(click.Group):
    """Group whose subcommands are modules of this package.

    Args:
        commands: Name → one-line help.
        package: Where the modules are; each has the object ``command``.
        **attributes: Passed to :class:`click.Group`.
    """

    def __init__(
        self, *, commands: dict[str, str], package: str = "edgecv.cli", **attributes: object
    ) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._help = commands
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the work."""
        return list(self._help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of *cmd_name*."""
        if cmd_name not in self._help:
            return None
        command = importlib.import_module(f"{self._package}.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown name gets the nearest known one."""
        if args and not args[0].startswith("-") and args[0] not in self._help:
            near = difflib.get_close_matches(args[0], self._help, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Commands: {', '.join(self._help)}."
            raise click.UsageError(f"no command '{args[0]}'. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help.items()))
