"""What only moves integers leaves them on their grid, whether or not the source rounds them there again."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from edgecv_converters.ir import Graph, Node, Value
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["CarryQuantization"]

#: Operators whose results are elements of their (first) input …
_MOVING: Final = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Reshape", "Slice", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip


class CarryQuantization(Pass):
    """Give an unrounded result of moved integers their parameters, so that its readers run in integers."""

    name: ClassVar[str] = "carry-quantization"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """In topological order, through chains; outputs of the graph stay float."""
        values = dict(graph.values)
        for node in graph.nodes:
            source = _grid(graph, node, values)
            if source is None:
                continue
            for name in filter(None, node.outputs):
                value = values[name]
                if value.quant is None and value.dtype == "float32" and name not in graph.outputs:
                    values[name] = replace(value, quant=source.quant, quantizer=source.quantizer)
        return replace(graph, values=values)

    def postcondition(self, graph: Graph) -> str | None:
        """No quantizer came or went: every value's belongs to a value that was rounded."""
        for name, value in graph.values.items():
            if value.quant is not None and not value.quantizer:
                return f"{name!r} has parameters without an owner"
        return None


def _grid(graph: Graph, node: Node, values: dict[str, Value]) -> Value | None:
    """The value whose grid *node*'s results lie on, or None."""
    if node.domain or node.clamp:
        return None
    if node.op == "Concat":
        read = [values.get(name) for name in node.inputs]
        first = read[0]
        same = first is not None and all(v is not None and v.quant == first.quant for v in read)
        return first if same and first is not None and first.quant is not None else None
    padding = node.op == "Pad" and _pads_with_zeros(graph, node)
    if node.op not in _MOVING and not padding:
        return None
    source = values.get(node.inputs[0])
    return source if source is not None and source.quant is not None else None


def _pads_with_zeros(graph: Graph, node: Node) -> bool:
    """0 lies on every grid."""
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    known = not name or (name in graph.constants and not graph.constants[name].data.any())
    return known and node.attributes.get("mode", "constant") == "constant"
