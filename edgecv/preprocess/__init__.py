"""From a picture to a model's input, equal to timm's evaluation transform within one grey level.

>>> import numpy as np
>>> from edgecv.artifact import Preprocess
>>> apply(load_rgb(np.full((9, 20, 3), 7, np.uint8)), Preprocess(size=(4, 4))).shape
(4, 4, 3)
"""

from __future__ import annotations

from edgecv.preprocess.read import Picture, Pixels, load_rgb, open_picture
from edgecv.preprocess.resize import Window, apply, prepare, window
from edgecv.preprocess.tensor import to_input

__all__ = [
    "Picture",
    "Pixels",
    "Window",
    "apply",
    "load_rgb",
    "open_picture",
    "prepare",
    "to_input",
    "window",
]
