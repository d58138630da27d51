"""Intervals, tests and decisions: their one home. NumPy only, so that a board can run them.

Pictures that were made from the same original (frames of one scene, drawings of one digit) are not
independent. Everything here takes such *groups* and resamples them, never single pictures.
"""

from __future__ import annotations

from edgecv.stats.decision import NonInferiority, non_inferiority, pairs_needed
from edgecv.stats.estimate import Estimate
from edgecv.stats.order import (
    early_stopping,
    least_samples,
    percentile,
    percentile_ranks,
    ratio_of_medians,
)
from edgecv.stats.paired import PairedRecord, compare_predictions, mcnemar, paired_difference, tango
from edgecv.stats.rates import class_rates, rate, wilson

__all__ = [
    "Estimate",
    "NonInferiority",
    "PairedRecord",
    "class_rates",
    "compare_predictions",
    "early_stopping",
    "least_samples",
    "mcnemar",
    "non_inferiority",
    "paired_difference",
    "pairs_needed",
    "percentile",
    "percentile_ranks",
    "rate",
    "ratio_of_medians",
    "tango",
    "wilson",
]
