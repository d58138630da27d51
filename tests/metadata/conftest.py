"""These tests run in an environment with the extra ``others``; elsewhere they are not collected."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

NEEDED = ("mediapipe", "ultralytics", "model_api")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, rather than skip: with real data at hand a skipped test is a failure."""
    if all(find_spec(name) for name in NEEDED):
        return
    gone = [item for item in items if item.get_closest_marker("others")]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]
