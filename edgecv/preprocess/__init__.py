"""From a picture to a model's input, equal to timm's evaluation transform within one grey level.

Pillow is imported with the first name that needs it: a runtime that only gets arrays never does.

>>> import numpy as np
>>> from edgecv.artifact import Preprocess
>>> from edgecv.preprocess import apply, load_rgb
>>> apply(load_rgb(np.full((9, 20, 3), 7, np.uint8)), Preprocess(size=(4, 4))).shape
(4, 4, 3)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgecv.preprocess.modes import DEVIATION, MODES, Deviation, check_mode

if TYPE_CHECKING:
    from edgecv.preprocess.geometry import Window, window
    from edgecv.preprocess.read import Picture, Pixels, load_rgb, open_picture
    from edgecv.preprocess.resize import apply, prepare
    from edgecv.preprocess.tensor import to_input

__all__ = [
    "DEVIATION",
    "MODES",
    "Deviation",
    "Picture",
    "Pixels",
    "Window",
    "apply",
    "check_mode",
    "load_rgb",
    "open_picture",
    "prepare",
    "to_input",
    "window",
]

_HOMES = {
    "Picture": "read",
    "Pixels": "read",
    "Window": "geometry",
    "apply": "resize",
    "load_rgb": "read",
    "open_picture": "read",
    "prepare": "resize",
    "to_input": "tensor",
    "window": "geometry",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'edgecv.preprocess' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgecv.preprocess.{home}"), name)
