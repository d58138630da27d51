"""Classifiers by name: timm's, and small ones of our own."""

from __future__ import annotations

from edgecv.errors import require

require("torch", "timm", extra="train")

from edgecv.models.factory import CreatedModel, create, list_models  # noqa: E402
from edgecv.models.labels import imagenet_labels  # noqa: E402
from edgecv.models.normalization import FoldReport, fold_agreement  # noqa: E402
from edgecv.models.weights import load_into, read_state_dict  # noqa: E402

__all__ = [
    "CreatedModel",
    "FoldReport",
    "create",
    "fold_agreement",
    "imagenet_labels",
    "list_models",
    "load_into",
    "read_state_dict",
]
