"""edgecv: from a folder of pictures to a verified int8 vision model on a Raspberry Pi-class board.

Importing this package loads only the standard library; each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

#: Type checkers know the name; importing typing would take ten times as long as the rest of this file.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import edgecv.models as models
    import edgecv.quantize as quantize
    from edgecv.artifact.manifest import Manifest, Preprocess
    from edgecv.conversion import convert
    from edgecv.errors import EdgecvError, Error
    from edgecv.results import (
        Classification,
        ConversionResult,
        ModelInfo,
        Prediction,
        Profile,
        StreamAnswer,
    )
    from edgecv.runtime import Runtime
    from edgecv.spec.types import TensorSpec

_HOMES = {
    "Classification": "edgecv.results",
    "ConversionResult": "edgecv.results",
    "EdgecvError": "edgecv.errors",
    "Error": "edgecv.errors",
    "Manifest": "edgecv.artifact.manifest",
    "ModelInfo": "edgecv.results",
    "Prediction": "edgecv.results",
    "Preprocess": "edgecv.artifact.manifest",
    "Profile": "edgecv.results",
    "Runtime": "edgecv.runtime",
    "StreamAnswer": "edgecv.results",
    "TensorSpec": "edgecv.spec.types",
    "convert": "edgecv.conversion",
    "models": "edgecv.models",
    "quantize": "edgecv.quantize",
}

__all__ = [
    "Classification",
    "ConversionResult",
    "EdgecvError",
    "Error",
    "Manifest",
    "ModelInfo",
    "Prediction",
    "Preprocess",
    "Profile",
    "Runtime",
    "StreamAnswer",
    "TensorSpec",
    "__version__",
    "convert",
    "models",
    "quantize",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'edgecv' has no attribute {name!r}")
    module = importlib.import_module(home)
    return module if home == f"edgecv.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
