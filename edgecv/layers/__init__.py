"""Two models tensor by tensor: where along the graph their numbers part."""

from __future__ import annotations

from edgecv.layers.compare import LayerComparison, LayerDifference, compare_layers
from edgecv.layers.taps import Tap, Tapped, open_taps

__all__ = [
    "LayerComparison",
    "LayerDifference",
    "Tap",
    "Tapped",
    "compare_layers",
    "open_taps",
]
