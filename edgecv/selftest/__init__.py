"""``edgecv selftest``: a small model of the project's own on every engine that is installed.

Runs wherever the wheel does; the training side is not needed.
"""

from __future__ import annotations

from edgecv.selftest.bundle import Bundle, load_bundle
from edgecv.selftest.run import EngineReport, SelftestReport, run_selftest

__all__ = ["Bundle", "EngineReport", "SelftestReport", "load_bundle", "run_selftest"]
