"""edgecv: from a folder of pictures to a verified int8 vision model on a Raspberry Pi-class board.

Importing this package loads only the standard library; each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    import edgecv.models as models
    import edgecv.quantize as quantize
    from edgecv.artifact.manifest import Manifest, Preprocess
    from edgecv.conversion import convert
    from edgecv.errors import EdgecvError
    from edgecv.results import Classification, ConversionResult, ModelInfo, Prediction
    from edgecv.runtime import Runtime
    from edgecv.spec.types import TensorSpec

_HOMES = {
    "Classification": "edgecv.results",
    "ConversionResult": "edgecv.results",
    "EdgecvError": "edgecv.errors",
    "Manifest": "edgecv.artifact.manifest",
    "ModelInfo": "edgecv.results",
    "Prediction": "edgecv.results",
    "Preprocess": "edgecv.artifact.manifest",
    "Runtime": "edgecv.runtime",
    "TensorSpec": "edgecv.spec.types",
    "convert": "edgecv.conversion",
    "models": "edgecv.models",
    "quantize": "edgecv.quantize",
}

__all__ = [
    "Classification",
    "ConversionResult",
    "EdgecvError",
    "Manifest",
    "ModelInfo",
    "Prediction",
    "Preprocess",
    "Runtime",
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
