"""Subcommands of ``edgecv bench``."""
