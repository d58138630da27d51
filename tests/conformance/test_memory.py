"""Memory of a process that opens and closes models for a long time."""

from __future__ import annotations

import gc

import pytest
from cases import CASES, Case

from edgecv.measure import rss_bytes


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forty_models_one_after_the_other_leave_nothing(case: Case) -> None:
    def cycle(count: int) -> int:
        for _ in range(count):
            with case.open() as runtime:
                feed = case.feed(runtime)
                for _ in range(3):
                    runtime.infer(feed)
        gc.collect()
        return rss_bytes()

    cycle(10)  # caches and pools fill
    before = cycle(10)
    # a quarter MiB each: less than the smallest engine holds for one model. torch.export keeps what it learned
    # of each traced graph in caches of the process (FakeTensor's dispatch, source lines), 0.1 MiB for the tiny one
    allowed = 20 if case.backend == "torch" else 10
    assert cycle(40) - before < allowed * 2**20
