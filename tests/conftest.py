"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_VARIABLE = "EDGECV_TEST_DATA"
_skipped_for_data: list[str] = []


@pytest.fixture
def outside_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real pictures, weights and models made by others.

    Unset: the test is skipped and counted. Set: the folder has to be there; nothing is skipped.
    """
    value = os.environ.get(_VARIABLE)
    if not value:
        _skipped_for_data.append(request.node.nodeid)
        pytest.skip(f"{_VARIABLE} is not set")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{_VARIABLE} is set to '{value}', which is no folder")
    return folder


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With real data at hand, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get(_VARIABLE) and skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run for want of data, or that skipping failed the run."""
    if _skipped_for_data:
        terminalreporter.write_line(
            f"{len(_skipped_for_data)} tests skipped: {_VARIABLE} is not set", yellow=True
        )
    elif os.environ.get(_VARIABLE) and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line(f"{_VARIABLE} is set, so a skipped test is a failure", red=True)
