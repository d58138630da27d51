"""DepthToSpace: channels become pixels, by a view."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from edgecv_converters.ir import Graph, Node
from edgecv_converters.tflite.lowering import Lowering
from edgecv_converters.tflite.moves import move_complaint, reshaped
from edgecv_converters.tflite.rules import Rule
from edgecv_converters.tflite.views import View

__all__ = ["RULES", "DepthToSpace"]

#: Mode → what brings batch, the pieces of the channels (in the mode's order), height and width to
#: batch, channel, height, row of the block, width, column of the block.
_PERMUTATIONS: Final = {"DCR": (0, 3, 4, 1, 5, 2), "CRD": (0, 1, 4, 2, 5, 3)}
#: XNN_MAX_TENSOR_DIMS. A picture whose dimensions lie in one piece each never has more.
_MAX_PARTS: Final = 6


class DepthToSpace(Rule):
    """Nothing, or together with other moves one TRANSPOSE at the consumer; never DEPTH_TO_SPACE."""

    op: ClassVar[str] = "DepthToSpace"
    versions: ClassVar[tuple[int, ...]] = (11, 13)
    nearest: ClassVar[str] = "DepthToSpace(mode=DCR or CRD) of a computed tensor"
    verified: ClassVar[dict[str, str]] = {
        "int8": "tests/ops/test_depth_to_space.py",
        "float32": "tests/ops/test_depth_to_space.py",
    }
    kernel: ClassVar[str] = (
        "LiteRT tflite/kernels/transpose.cc; xnnpack_delegate.cc VisitTransposeNode"
        " (DEPTH_TO_SPACE has mode DCR alone)"
    )

    def why_not(self, graph: Graph, node: Node) -> str | None:
        """The input is computed, the mode one of two; sizes that do not fit never come here."""
        mode = node.attributes.get("mode", "DCR")
        if mode not in _PERMUTATIONS:
            return f"mode must be {' or '.join(_PERMUTATIONS)}, got {mode!r}"
        return move_complaint(graph, node)

    def lower(self, low: Lowering, node: Node) -> None:
        """A view that is too scattered for one TRANSPOSE is laid out first."""
        view = low.views[node.inputs[0]]
        moved = _moved(low, node, view)
        if sum(map(len, moved.layout.dims)) > _MAX_PARTS:
            moved = _moved(low, node, low.planner.laid_out(view))
        low.bind(node.outputs[0], moved)


def _moved(low: Lowering, node: Node, view: View) -> View:
    """Split the channels, permute, join rows with rows and columns with columns, as ONNX defines it."""
    mode, block = node.attributes.get("mode", "DCR"), int(node.attributes["blocksize"])
    batch, channels, height, width = view.shape
    rest = channels // block**2
    pieces = (block, block, rest) if mode == "DCR" else (rest, block, block)
    split = reshaped(low, view, (batch, *pieces, height, width))
    turned = replace(split, layout=split.layout.permute(_PERMUTATIONS[mode]))
    return reshaped(low, turned, low.graph.shape(node.outputs[0]))


RULES = (DepthToSpace(),)
