"""``edgecv drift label``: kept frames get their labels, in the terminal or on a page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecv.cli.options import page_options, refuse_alone
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.drift.labeling import Audited

__all__ = ["command"]

_HELP = "Number or beginning of a class; n: none of them; s: skip; ?: list; q: end."


@click.command(name="label")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Correct the estimate in this model's drift profile by the labels (30 or more).",
)
@click.option(
    "--show-answer", is_flag=True, help="Show what the model said. It makes people agree with it."
)
@click.option("--no-picture", is_flag=True, help="Print names only, no preview.")
@click.option(
    "--page", is_flag=True, help="Label on a page in the browser, until its Done or Ctrl-C."
)
@page_options(8081)
def command(
    folder: Path,
    model: Path | None,
    show_answer: bool,
    no_picture: bool,
    page: bool,
    host: str,
    port: int,
    token: str | None,
) -> None:
    """Label the frames that an audit kept in FOLDER, one after the other; each label is kept at once.

    They come in an order by chance, so that whoever stops early has labeled a fair part. Ends with the
    accuracy in the field: frames count by the inverse of their chance of having been kept.

    \b
    edgecv drift label audit
    edgecv drift label audit --page --model model.int8.tflite
    """
    from edgecv.drift.labeling import accuracy, read_audit, unlabeled_share

    refuse_alone("page", "host", "port", "token")
    audited = read_audit(folder)
    if page:
        _serve(folder, host, port, token, show_answer=show_answer)
        # a camera may have gone on with it meanwhile
        audited = read_audit(folder)
    else:
        audited = _loop(audited, show_answer=show_answer, preview=not no_picture)
    if not audited.given:
        raise InputError(f"no frame of '{folder}' has a label", cure="Label some.")
    found = accuracy(audited)
    click.echo(
        f"accuracy in the field: {100 * found.value:.2f} % [{100 * found.low:.2f},"
        f" {100 * found.high:.2f}] from {found.n} of {len(audited.frames)} frames, weighted"
    )
    if (share := unlabeled_share(audited)) > 0:
        click.echo(
            f"no label stands for {100 * share:.1f} % of the stream (the interval leaves room for it): label more"
        )
    if model is not None:
        _recalibrate(model, audited)


def _serve(folder: Path, host: str, port: int, token: str | None, *, show_answer: bool) -> None:
    """The page, until somebody says that it is enough."""
    from edgecv.camera.labelpage import serve_labels

    try:
        with serve_labels(folder, host, port, token, show_answer=show_answer) as served:
            click.echo(f"{served.url} (Done on the page or Ctrl-C here ends it)", err=True)
            while not served.session.done.wait(1.0):
                pass
    except KeyboardInterrupt:
        # an end like the others: what was labeled is on disk
        click.echo(err=True)


def _loop(audited: Audited, *, show_answer: bool, preview: bool) -> Audited:
    waiting = audited.waiting
    if waiting:
        click.echo(f"{len(waiting)} frames to label. {_HELP}")
        _list(audited.labels)
    for number, frame in enumerate(waiting, start=1):
        path = audited.folder / frame.file
        click.echo(f"[{number}/{len(waiting)}] {path}")
        if not path.is_file():
            click.echo("  its picture is gone: a camera has put another one in its place")
            continue
        if preview:
            _preview(path)
        if show_answer:
            said = audited.labels[frame.answer]
            click.echo(f"  model: {said} ({100 * frame.probabilities[frame.answer]:.0f} %)")
        name = _ask(audited.labels)
        if name is None:
            break
        if name:
            audited = audited.label(frame.file, name)
    return audited


def _list(labels: tuple[str, ...]) -> None:
    if len(labels) <= 40:
        click.echo("  " + "  ".join(f"{i}:{name}" for i, name in enumerate(labels)))


def _ask(labels: tuple[str, ...]) -> str | None:
    """A class, ``"(none)"``, ``""`` to skip, or None to end."""
    from edgecv.drift.labeling import NONE

    while True:
        try:
            text = click.prompt("  class", prompt_suffix="> ").strip()
        except click.Abort:
            # the end of input is an end like q; what was labeled is kept
            click.echo()
            return None
        if text == "q":
            return None
        if text in ("s", "n"):
            return "" if text == "s" else NONE
        if text == "?":
            click.echo(f"  {_HELP}")
            _list(labels)
            continue
        found = matching(text, labels)
        if len(found) == 1:
            return found[0]
        click.echo(
            f"  {len(found)} classes fit {text!r}" + (f": {', '.join(found[:8])}" if found else "")
        )


def matching(text: str, labels: tuple[str, ...]) -> list[str]:
    """Classes that a number, a name or its beginning means.

    >>> matching("1", ("ant", "bee")), matching("b", ("ant", "bee")), matching("x", ("ant",))
    (['bee'], ['bee'], [])
    """
    if text in labels:
        return [text]
    if text.isascii() and text.isdigit():
        return [labels[int(text)]] if int(text) < len(labels) else []
    return [name for name in labels if name.lower().startswith(text.lower())]


def _preview(path: Path) -> None:
    """The picture in half blocks, where the terminal is one."""
    import sys

    from edgecv.preprocess import load_rgb

    if not sys.stdout.isatty():
        return
    pixels = load_rgb(path)
    step = max(1, -(-pixels.shape[1] // 64))
    small = pixels[::step, ::step]
    for y in range(0, len(small) - 1, 2):
        cells = (
            "\033[38;2;{};{};{}m\033[48;2;{};{};{}m▀".format(*small[y, x], *small[y + 1, x])
            for x in range(small.shape[1])
        )
        click.echo("".join(cells) + "\033[0m")


def _recalibrate(model: Path, audited: Audited) -> None:
    from edgecv import artifact
    from edgecv.drift.labeling import recalibrated
    from edgecv.drift.making import store_profile
    from edgecv.drift.profile import DriftProfile

    manifest = artifact.read(model).manifest
    if manifest is None or manifest.drift_profile is None:
        raise InputError(
            f"'{model}' has no drift profile", cure="edgecv drift profile MODEL --data PICTURES"
        )
    profile = recalibrated(DriftProfile.from_json(manifest.drift_profile), audited)
    store_profile(model, profile, overwrite=True)
    assert profile.audit is not None
    click.echo(
        f"the estimate said {100 * profile.audit.estimated:.2f} % of these frames; later estimates are"
        f" moved by {100 * profile.audit.shift:+.2f} points ({model})"
    )
