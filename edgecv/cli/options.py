"""Options that several commands share, and small helpers of the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

import click
from click.core import ParameterSource

from edgecv.errors import InputError

__all__ = [
    "Decorator",
    "Progress",
    "backend_option",
    "data_folder_option",
    "file_argument",
    "labels_option",
    "overwrite_option",
    "page_options",
    "parse_shapes",
    "parse_size",
    "preprocess_option",
    "refuse_alone",
    "tensors_option",
    "threads_option",
]

F = TypeVar("F", bound=Callable[..., object])


class Decorator(Protocol):
    """What ``click.option`` returns."""

    def __call__(self, command: F, /) -> F:
        """Add the option to *command*."""
        ...


overwrite_option: Decorator = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace files that exist (never a folder holding files of others).",
)
backend_option: Decorator = click.option(
    "--backend",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Engine: litert, openvino, onnxruntime, or auto (by the kind of file).",
)
threads_option: Decorator = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Threads of the engine.",
)

labels_option: Decorator = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes, one per line (or a JSON list), for a model that does not name them.",
)
preprocess_option: Decorator = click.option(
    "--preprocess",
    metavar="raw|unit|signed|imagenet|FILE",
    help="How pixels become the input: as they are, / 255, / 127.5 - 1, by ImageNet's mean and standard"
    " deviation, or as a JSON file says; for a model that does not say.",
)


tensors_option: Decorator = click.option(
    "--tensors",
    is_flag=True,
    help="Print every tensor and layer that was compared.",
)


def data_folder_option(name: str) -> Decorator:
    """The folder of pictures that a verification runs on."""
    return click.option(
        name,
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Verify on at most 64 pictures of this folder instead of eight synthetic ones.",
    )


def file_argument(name: str, **attributes: object) -> Callable[[F], F]:
    """An argument that is a path; existence is checked where the better error message is."""
    kind = click.Path(path_type=Path)
    return click.argument(name, type=kind, **attributes)  # type: ignore[arg-type]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """``"224"`` or ``"40x48"`` (height x width) to (height, width).

    >>> parse_size("224"), parse_size("40x48"), parse_size(None)
    ((224, 224), (40, 48), None)
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.isdigit() and 8 <= int(p) <= 4096 for p in parts):
        raise InputError(
            f"size {text!r} is not a size",
            cure="Give pixels as 224, or HEIGHTxWIDTH as 40x48 (8 to 4096).",
        )
    return int(parts[0]), int(parts[-1])


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Inputs and their shapes.

    >>> parse_shapes(["input=1x3x160x160", "a=b=7"])
    {'input': (1, 3, 160, 160), 'a=b': (7,)}
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        parts = sizes.lower().split("x")
        if not name or not all(p.isascii() and p.isdigit() and 0 < len(p) < 10 for p in parts):
            raise InputError(
                f"--shape {text!r} is not an input and its shape",
                cure="Give the input's name and every size: --shape input=1x3x160x160.",
            )
        if name in found:
            raise InputError(f"--shape names {name!r} twice", cure="Name each input once.")
        found[name] = tuple(map(int, parts))
    return found


def refuse_alone(needed: str, *names: str) -> None:
    """Refuse options of the command that runs which would do nothing without another one.

    Only what stands in the command line counts, not what comes from the environment.

    Args:
        needed: Parameter without which *names* do nothing.
        names: Parameters.

    Raises:
        click.UsageError: One of *names* was given, and *needed* was not.
    """
    context = click.get_current_context()
    if context.params[needed]:
        return
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{options[name]} does nothing without {options[needed]}. Add {options[needed]}, or leave"
                f" {options[name]} out.",
                context,
            )


class Progress:
    """Short lines about what is going on, on standard error; at most a few a second for counters."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._last = 0.0
        self._live = sys.stderr.isatty()
        self._open = False

    def step(self, text: str) -> None:
        """Begin a step of the work."""
        self._end_line()
        click.echo(f"[{time.monotonic() - self._started:6.1f} s] {text}", err=True)

    def update(self, text: str) -> None:
        """Say how far the step is; rewrites one line on a terminal, is sparse elsewhere."""
        now = time.monotonic()
        if now - self._last < (0.1 if self._live else 10.0):
            return
        self._last = now
        if self._live:
            click.echo(f"\r\033[K           {text}", nl=False, err=True)
            self._open = True
        else:
            click.echo(f"           {text}", err=True)

    def note(self, text: str) -> None:
        """Say something that is worth a line of its own."""
        self._end_line()
        click.echo(f"           {text}", err=True)

    def _end_line(self) -> None:
        if self._open:
            click.echo("\r\033[K", nl=False, err=True)
            self._open = False

    def done(self) -> None:
        """Finish the last line."""
        self._end_line()


def page_options(port: int) -> Decorator:
    """Where a page of ours listens, and the word that it asks for: ``--host``, ``--port``, ``--token``.

    Args:
        port: By default.
    """
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="Address of the page."),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="Port of the page.",
        ),
        click.option(
            "--token",
            metavar="TEXT",
            envvar="EDGECV_CAMERA_TOKEN",
            show_envvar=True,
            help="Word that viewers need. Beyond this machine one is demanded, and made up unless given.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add
