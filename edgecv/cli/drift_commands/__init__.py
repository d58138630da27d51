"""Subcommands of ``edgecv drift``."""
