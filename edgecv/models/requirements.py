"""One check for the packages that the training side needs; an absent one names its extra."""

from __future__ import annotations

from importlib.util import find_spec

from edgecv.errors import MissingExtraError

__all__ = ["require"]


def require(*packages: str, extra: str = "train") -> None:
    """Raise unless every one of *packages* is installed; a broken one keeps its own traceback.

    Raises:
        MissingExtraError: A package is absent; the message has the install command.

    >>> require("json")
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError.of(package, extra)
