"""One base error and a handful of kinds; each message has what was wrong, the value, and the cure.

The command line maps each kind to an exit code: 1 a gate failed, 2 user error, 3 undecided or
invalid measurement.
"""

from __future__ import annotations

from importlib.util import find_spec

__all__ = [
    "EdgecvError",
    "Error",
    "GateError",
    "InputError",
    "InvalidMeasurementError",
    "MissingExtraError",
    "ModelLoadError",
    "UnsupportedError",
    "require",
]


class EdgecvError(Exception):
    """Base of every error that edgecv raises on purpose.

    Args:
        what: What was wrong, with the offending value in it; no trailing period.
        cure: What the reader can do, as a sentence or a command.

    Attributes:
        exit_code: Exit code of the command line for this kind.

    >>> str(InputError("no pictures in folder 'x'", cure="Name a folder with class subfolders."))
    "no pictures in folder 'x'. Name a folder with class subfolders."
    """

    exit_code = 2

    def __init__(self, what: str, *, cure: str) -> None:
        super().__init__(what, cure)
        self.what = what
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.what}. {self.cure}"


#: The root of the tree under its short name: ``except edgecv.Error``.
Error = EdgecvError


class InputError(EdgecvError):
    """An argument, a picture, a folder or an array that cannot be used."""


class ModelLoadError(EdgecvError):
    """A model file that is missing, damaged, of another kind, or changed since it was sealed."""


class UnsupportedError(EdgecvError):
    """A model, operator, target or option that edgecv does not know."""


class MissingExtraError(EdgecvError):
    """An optional dependency is not installed; the cure is the install command.

    >>> print(MissingExtraError.of("openvino", "openvino"))
    the package 'openvino' is not installed. Install it with: pip install 'edgecv[openvino]'
    """

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """Build the error for an absent *package* that the extra *extra* brings."""
        return cls(
            f"the package {package!r} is not installed",
            cure=f"Install it with: pip install 'edgecv[{extra}]'",
        )


class GateError(EdgecvError):
    """A verification or accuracy gate failed."""

    exit_code = 1


class InvalidMeasurementError(EdgecvError):
    """A measurement that cannot be trusted or does not decide the question."""

    exit_code = 3


def require(*packages: str, extra: str) -> None:
    """Raise unless every one of *packages* is installed; a broken one keeps its own traceback.

    Raises:
        MissingExtraError: A package is absent; the message has the install command.

    >>> require("json", extra="train")
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError.of(package, extra)
