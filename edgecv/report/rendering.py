"""Templates of the pages: one style, every name escaped."""

from __future__ import annotations

from importlib import resources
from typing import Any

from edgecv.errors import MissingExtraError

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """A page as text.

    Args:
        template: File in the folder of templates.
        **values: What it names.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise MissingExtraError.of("jinja2", "report") from error
    folder = resources.files("edgecv.report").joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values).rstrip() + "\n"
