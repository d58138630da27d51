"""Result types of the public API. Fields are added, never renamed (pinned by a test).

Each is loaded when it is first used: making a dataclass takes a desktop processor a millisecond, and a device
app needs few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecv.results.classification import Classification, Prediction, Probabilities, Timings
    from edgecv.results.conversion import ConversionResult
    from edgecv.results.model_info import ModelInfo
    from edgecv.results.profile import LayerTime, Profile
    from edgecv.results.stream_answer import StreamAnswer

_HOMES = {
    "Classification": "classification",
    "ConversionResult": "conversion",
    "LayerTime": "profile",
    "ModelInfo": "model_info",
    "Prediction": "classification",
    "Probabilities": "classification",
    "Profile": "profile",
    "StreamAnswer": "stream_answer",
    "Timings": "classification",
}

__all__ = [
    "Classification",
    "ConversionResult",
    "LayerTime",
    "ModelInfo",
    "Prediction",
    "Probabilities",
    "Profile",
    "StreamAnswer",
    "Timings",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgecv.results' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgecv.results.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
