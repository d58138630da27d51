"""A reference of three classes, two signatures, and windows that differ from it by a known shift."""

from __future__ import annotations

import numpy as np

from edgecv.drift.profile import Reference
from edgecv.drift.window import Window

SIGNATURES = {
    "dark": np.eye(11)[:1] * -3,
    "blur": np.eye(11)[3:4] * -2,
}


def reference() -> Reference:
    columns = np.full(10, 0.5)
    columns[-1] = 0.01
    return Reference(
        pictures=1000,
        independent=1000,
        top1=0.8,
        low=0.78,
        high=0.82,
        column_means=columns,
        column_spreads=np.ones(10),
        quality_means=np.full(11, 2.0),
        quality_spreads=np.full(11, 0.5),
        quantiles={},
        levels=(0.5,),
        counts=np.array([400.0, 300.0, 300.0]),
        information=1.0,
        variety=1.0,
    )


def window(shift: np.ndarray, counts: list[float], strange: float = 0.01) -> Window:
    made = Window(3)
    made.weight, made.frames = 200.0, 200
    made.rows = np.full(10, 0.5) * 200
    made.rows[-1] = strange * 200
    made.quality = (2.0 + 0.5 * shift) * 200
    made.quality_squares = ((2.0 + 0.5 * shift) ** 2 + 0.25) * 200
    made.counts = np.array(counts)
    return made
