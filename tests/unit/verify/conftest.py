"""Artifacts of small networks; each is converted once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from verified_nets import NETS, TARGETS, Verified


@pytest.fixture(scope="session")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Verified]:
    """Name of a network in ``verified_nets.NETS`` → its artifacts."""

    @cache
    def made(name: str) -> Verified:
        return Verified(tmp_path_factory.mktemp(name), NETS[name]())

    return made


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """Every target."""
    name: str = request.param
    return name
