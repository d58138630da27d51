"""From the source IR to a plan: every node through its rule, layout decided where a consumer needs one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgecv.errors import UnsupportedError
from edgecv_converters.ir import Constant, Graph, Node
from edgecv_converters.layout import Layout
from edgecv_converters.options import WriteOptions
from edgecv_converters.plan import Plan
from edgecv_converters.records import quantizer_records
from edgecv_converters.targets import TargetSpec
from edgecv_converters.tflite.builder import Origin, PlanBuilder
from edgecv_converters.tflite.edges import add_input, add_output
from edgecv_converters.tflite.rules import Registry
from edgecv_converters.tflite.views import View, ViewPlanner
from edgecv_converters.tflite.xnnpack import outside

__all__ = ["Lowering", "Site", "lower_graph", "runs_in_integers"]


def runs_in_integers(graph: Graph, node: Node) -> bool:
    """Whether all activations of *node* and its weight are quantized, so that an integer kernel can run it."""
    activations = [n for n in (*node.inputs, *node.outputs) if n and n not in graph.constants]
    weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    quantized = all(graph.values[n].quant is not None for n in activations if n in graph.values)
    return quantized and (
        weight is None or weight.quant is not None or weight.data.dtype.kind != "f"
    )


@dataclass
class Lowering:
    """State of one lowering; what rules work with.

    Attributes:
        graph: After the passes.
        builder: Collects the plan.
        views: Value name → where it is.
        warnings: What works, but not as well as it could.
        float_products: As in :class:`~edgecv_converters.plan.Plan`.
    """

    graph: Graph
    builder: PlanBuilder
    views: dict[str, View] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    float_products: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.planner = ViewPlanner(self.builder)

    def site(self, node: Node, *, integer: bool | None = None) -> Site:
        """The place where *node* is lowered.

        Args:
            node: The operator.
            integer: Whether its kernel computes in integers; None decides by what is quantized.
        """
        return Site(self, node, runs_in_integers(self.graph, node) if integer is None else integer)

    def bind(self, name: str, view: View) -> None:
        """Say where value *name* is, rounding it to the value's quantizer first when it is not yet."""
        quant = self.graph.values[name].quant
        if quant is not None and view.quant != quant:
            view = self.planner.quantized(view, quant, name)
        self.views[name] = view

    def constant(self, name: str) -> Constant | None:
        """Constant *name*, or None when it is an activation or omitted."""
        return self.graph.constants.get(name)


@dataclass
class Site:
    """One node being lowered, with its activations in the arithmetic that the node runs in.

    Attributes:
        low: The lowering.
        node: The node.
        integer: Whether the kernel reads and writes int8.
    """

    low: Lowering
    node: Node
    integer: bool

    @property
    def builder(self) -> PlanBuilder:
        """Where operators go."""
        return self.low.builder

    def view(self, position: int = 0) -> View:
        """Activation input *position*, dequantized when the node runs in float."""
        view = self.low.views[self.node.inputs[position]]
        return view if self.integer else self.low.planner.dequantized(view)

    def physical(self, position: int = 0, order: tuple[int, ...] | None = None) -> int:
        """Tensor that holds activation *position* row-major in *order*."""
        return self.low.planner.physical(self.view(position), order)

    def output(self, shape: tuple[int, ...]) -> int:
        """A new tensor for the node's first output."""
        value = self.low.graph.values[self.node.outputs[0]]
        if self.integer:
            return self.builder.activation(value.name, shape, value.quant)
        # rounded afterwards, under the value's own name
        name = value.name if value.quant is None else f"{value.name}:float"
        return self.builder.activation(name, shape, None)

    def done(self, tensor: int, layout: Layout) -> None:
        """Bind the node's first output to *tensor*, which holds it in *layout*."""
        name = self.node.outputs[0]
        quant = self.low.graph.values[name].quant if self.integer else None
        self.builder.locate(tensor, layout)
        self.low.bind(name, View(tensor, layout, quant))


def lower_graph(
    graph: Graph, spec: TargetSpec, rules: Registry, write: WriteOptions | None = None
) -> Plan:
    """Plan the whole graph.

    Args:
        graph: After :data:`edgecv_converters.passes.PIPELINE`.
        spec: The target.
        rules: Its rules; each node has one that applies.
        write: What stands at the edge.

    Raises:
        UnsupportedError: Something that only shows while lowering; the message names it.
    """
    low, write = Lowering(graph, PlanBuilder(spec)), write or WriteOptions()
    low.builder.origin = Origin("edges.add_input", ())
    inputs = tuple(add_input(low, name, write) for name in graph.inputs)
    given = [low.views[name] for name in graph.inputs]
    for node in graph.nodes:
        rule = rules.find(node)
        assert rule is not None, node.key
        low.builder.origin = Origin(rule.name, node.sources, node.clamp)
        rule.lower(low, node)
    low.builder.origin = Origin("edges.add_output", ())
    outputs: tuple[int, ...] = ()
    for name in graph.outputs:
        outputs += (add_output(low, name, outputs, write),)
    same = any(low.views[name] in given for name in graph.outputs)
    if not low.builder.ops or same or set(inputs) & set(outputs):
        raise UnsupportedError(
            f"the output {graph.outputs[0]!r} is the input itself",
            cure="Convert a model that computes something.",
        )
    plan = Plan(
        spec.target,
        tuple(low.builder.tensors),
        tuple(low.builder.ops),
        inputs,
        outputs,
        quantizer_records(graph),
        float_products=tuple(low.float_products),
    )
    return replace(plan, warnings=(*low.warnings, *outside(plan, spec.engines["litert"])))
