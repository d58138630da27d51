"""``edgecv drift``: what a monitor in the field needs, and what it found."""

from __future__ import annotations

from edgecv.cli.group import LazyGroup

__all__ = ["command"]

command: LazyGroup = LazyGroup(
    name="drift",
    commands={
        "profile": "Make the drift profile of a model, on labeled reference pictures.",
        "label": "Label frames that an audit kept: accuracy in the field with its interval.",
    },
    package="edgecv.cli.drift_commands",
    help="Make a model's drift profile; label frames from the field.",
    no_args_is_help=True,
)
