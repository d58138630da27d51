"""Fisher's exact test beside scipy's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from edgecv.stats.fisher import fisher_upper


@given(st.integers(1, 300), st.integers(1, 3000), st.randoms(use_true_random=False))
def test_fishers_test_is_scipys(n: int, others: int, draw: Any) -> None:
    a, b = draw.randint(0, n), draw.randint(0, others)
    wanted = fisher_exact([[a, n - a], [b, others - b]], alternative="greater").pvalue
    assert fisher_upper(a, n, b, others) == pytest.approx(wanted, abs=1e-9)


def test_by_hand() -> None:
    # one of one against none of one: half of the ways to place one hit
    assert fisher_upper(1, 1, 0, 1) == pytest.approx(0.5)
    assert fisher_upper(0, 10, 5, 100) == pytest.approx(1.0)
