"""One error that lists everything a model needs and the target has not."""

from __future__ import annotations

from typing import ClassVar

from edgecv.errors import UnsupportedError
from edgecv_converters.ir import Graph, Node
from edgecv_converters.passes.base import Pass, PassContext

__all__ = ["CheckSupported"]


class CheckSupported(Pass):
    """Refuse a graph with operators that have no rule, or whose rule does not apply; say all of them at once."""

    name: ClassVar[str] = "check-supported"

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* as it is.

        Raises:
            UnsupportedError: With node, shapes, reason and nearest supported form of every refused operator.
        """
        found = [refusal for node in graph.nodes if (refusal := _refusal(graph, node, context))]
        # behind an unknown operator every shape is unknown; what to change is that operator
        roots = [line for line, of_shape in found if not of_shape]
        refused = (roots or [line for line, _ in found]) + _refused_edges(graph)
        if refused:
            count = (
                f"{len(refused)} operators or tensors are"
                if len(refused) > 1
                else "1 operator or tensor is"
            )
            raise UnsupportedError(
                f"{count} not supported:\n  " + "\n  ".join(refused),
                cure="Change the model to the nearest form named above, or add a rule: docs/new-operator.md."
                " All rules: edgecv convert --list-ops.",
            )
        return graph

    def postcondition(self, graph: Graph) -> str | None:
        """Every shape is known."""
        unknown = [n for n, v in graph.values.items() if v.shape is None]
        return f"the shapes of {unknown[:3]} are unknown" if unknown else None


def _refusal(graph: Graph, node: Node, context: PassContext) -> tuple[str, bool] | None:
    """What is wrong with *node*, or None; and whether it is only that a shape is unknown."""
    shapes = ", ".join(_shape(graph, name) for name in node.inputs if name)
    where = f"{node.op} {node.name!r} ({shapes})"
    rule = context.rules.find(node)
    if rule is None:
        return f"{where}: {context.rules.explain_missing(node)}", False
    unknown = [
        n
        for n in (*node.inputs, *node.outputs)
        if n in graph.values and graph.values[n].shape is None
    ]
    if unknown:
        said = f"the shape of {unknown[0]!r} depends on the data or on an unknown operator"
        return f"{where}: {said}", True
    reason = rule.why_not(graph, node)
    return (f"{where}: {reason}; nearest: {rule.nearest}", False) if reason else None


def _shape(graph: Graph, name: str) -> str:
    if name not in graph.constants and graph.values[name].shape is None:
        return "?"
    return "x".join(map(str, graph.shape(name))) or "scalar"


def _refused_edges(graph: Graph) -> list[str]:
    refused = []
    for name in (*graph.inputs, *graph.outputs):
        if name in graph.constants:
            refused.append(
                f"the output {name!r} is a constant; nearest: an output that depends on the input"
            )
        elif graph.values[name].dtype != "float32":
            refused.append(
                f"{name!r} has type {graph.values[name].dtype}; nearest: float32, quantized or not"
            )
    return refused
