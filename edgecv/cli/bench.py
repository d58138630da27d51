"""``edgecv bench``: measure, compare, collate."""

from __future__ import annotations

from edgecv.cli.group import LazyGroup

__all__ = ["command"]

command: LazyGroup = LazyGroup(
    name="bench",
    commands={
        "run": "Measure latency and memory of models on this machine.",
        "compare": "Say whether one measurement is faster than another, and by how much.",
        "collate": "Put the measurements of a folder into one table.",
    },
    package="edgecv.cli.bench_commands",
    help="Measure latency and memory, and compare measurements.",
    no_args_is_help=True,
)
