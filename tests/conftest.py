"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

_VARIABLE = "EDGECV_TEST_DATA"
#: Reasons of skips that real data does not forbid: a program that no package index has.
_PROGRAM_MISSING = "program missing: "
_skipped_for_data: list[str] = []


def _forbidden(skipped: list[Any]) -> list[Any]:
    """Skips that hide something although the data is there."""
    return [report for report in skipped if _PROGRAM_MISSING not in str(report.longrepr)]


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
    skipped = _forbidden(reporter.stats.get("skipped", [])) if reporter else []
    if os.environ.get(_VARIABLE) and skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run for want of data, or that skipping failed the run."""
    if _skipped_for_data:
        terminalreporter.write_line(
            f"{len(_skipped_for_data)} tests skipped: {_VARIABLE} is not set", yellow=True
        )
    skipped = terminalreporter.stats.get("skipped", [])
    missing = len(skipped) - len(_forbidden(skipped))
    if missing:
        terminalreporter.write_line(
            f"{missing} TESTS DID NOT RUN for want of a program (-rs names it)", red=True
        )
    if os.environ.get(_VARIABLE) and _forbidden(skipped):
        terminalreporter.write_line(f"{_VARIABLE} is set, so a skipped test is a failure", red=True)
