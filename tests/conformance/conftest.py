"""Tests of what a machine may not have are not collected, rather than skipped.

With real data at hand a skipped test is a failure. What is left out is said at the end of the report.
"""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec

import pytest


def _strace_works() -> bool:
    """Whether strace is installed, and this process may be traced (containers may forbid it)."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode == 0


_REASONS = {
    "test_tensorflow.py": find_spec("tensorflow") or "the extra 'tensorflow' is not installed",
    "test_system_calls.py": _strace_works() or "strace is not installed or not permitted here",
}
_MISSING = {name: reason for name, reason in _REASONS.items() if isinstance(reason, str)}
collect_ignore = list(_MISSING)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not run, and why."""
    for name, reason in _MISSING.items():
        terminalreporter.write_line(f"not collected: {name} ({reason})", yellow=True)
