"""Run a model over pictures and say how good it is; compare two models on the same pictures."""

from __future__ import annotations

from edgecv.evaluate.compare import NearTies, PairedComparison, compare, near_tie_check
from edgecv.evaluate.evaluation import Evaluation, from_scores
from edgecv.evaluate.metrics import ClassMetrics, Metrics, measure
from edgecv.evaluate.pixels import PixelCache
from edgecv.evaluate.predictions import PredictionStore
from edgecv.evaluate.run import Model, evaluate

__all__ = [
    "ClassMetrics",
    "Evaluation",
    "Metrics",
    "Model",
    "NearTies",
    "PairedComparison",
    "PixelCache",
    "PredictionStore",
    "compare",
    "evaluate",
    "from_scores",
    "measure",
    "near_tie_check",
]
