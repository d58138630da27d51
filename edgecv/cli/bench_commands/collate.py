"""``edgecv bench collate``: the measurements of a folder."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command(name="collate")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="File to write: .md, .csv or .html; Markdown on standard output without it.")  # fmt: skip
def command(folder: Path, out: Path | None) -> None:
    """Put all records below FOLDER into one table.

    A file that is no record is named below the table; a measurement that is not valid is struck out.

    \b
    edgecv bench collate bench
    edgecv bench collate bench --out bench.html
    """
    from edgecv.bench.collate import collate, to_csv, to_html, to_markdown
    from edgecv.errors import InputError
    from edgecv.report.json_form import write_text

    writers = {".md": to_markdown, ".csv": to_csv, ".html": to_html}
    if out is not None and out.suffix not in writers:
        raise InputError(
            f"'{out}' ends in {out.suffix!r}", cure="Use a name with .md, .csv or .html."
        )
    found = collate(folder)
    if out is None:
        click.echo(to_markdown(found), nl=False)
    else:
        write_text(writers[out.suffix](found), out)
        click.echo(f"wrote {out}: {len(found.rows)} records, {len(found.refused)} files left out")
