"""A module as an fx graph that still trains: real BatchNorm and Dropout, unchanged state-dict keys."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from edgecv.errors import InputError, UnsupportedError
from edgecv.quantize.batch_norm import FreezableBatchNorm2d
from edgecv.quantize.canonical import HANDLERS, IN_PLACE, PASS_THROUGH, Refusal
from edgecv.quantize.naming import META, Canonical, assign_names, canonical, module_path
from edgecv.quantize.spelling import aten

__all__ = ["capture"]


def capture(module: nn.Module, *, input_size: tuple[int, int]) -> GraphModule:
    """Trace *module* into a graph of the operators that the spec knows.

    The result computes the same, has the same state-dict keys and its own copy of the weights;
    ``train()``, ``eval()``, deep copies, DDP and autocast work as on any module. *module* stays as
    it was.

    Args:
        module: Takes [N, 3, H, W] float32, gives logits [N, C].
        input_size: (H, W) in pixels to trace with; the batch size stays free.

    Raises:
        UnsupportedError: Operators that the spec does not know, all of them in one message, or a
            module that cannot be traced.
    """
    own = copy.deepcopy(module).train()
    exported = _export(own, input_size)
    graph = _plain_graph(exported)
    _functionalize(graph)
    refusals = _restore_modules(graph, own)
    refusals += _canonicalize(graph)
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    refusals += _lone_batch_norms(graph)
    refusals += _leftovers(graph)
    if refusals:
        raise UnsupportedError(
            f"{len(refusals)} operators are not supported: {'; '.join(refusals)}",
            cure="Choose a model made of convolutions with BatchNorm, ReLU, SiLU or hard-swish, additions,"
            " pools, squeeze-and-excitation, attention with LayerNorm, and a linear head.",
        )
    assign_names(graph, {name: any(m.children()) for name, m in module.named_modules()})
    captured = GraphModule(own, graph, "CapturedModel")
    captured.train(module.training)
    return captured


def _export(module: nn.Module, input_size: tuple[int, int]) -> GraphModule:
    height, width = input_size
    if min(height, width) < 1:
        raise InputError(
            f"the input size {input_size} is not positive", cure="Use (height, width)."
        )
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    example = torch.zeros(2, 3, height, width, device=device)
    batch = torch.export.Dim("batch", min=1, max=2**16)
    try:
        program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
    except RuntimeError as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UnsupportedError(
            f"torch.export cannot trace {type(module).__name__} at {height}x{width} ({first_line})",
            cure="See the traceback above this one; a larger input size may help.",
        ) from error
    traced = program.module()
    assert isinstance(traced, GraphModule)
    return traced


def _plain_graph(exported: GraphModule) -> Graph:
    """Copy of the graph with a plain signature: one tensor in, one tensor out, no guards."""
    graph = Graph()
    copied: dict[Node, Node] = {}
    result: Any = None
    inputs = 0
    for node in exported.graph.nodes:
        if node.op == "output":
            result = node.args[0]
        elif not (node.op == "call_module" and node.target == "_guards_fn"):
            copied[node] = graph.node_copy(node, lambda n: copied[n])
        inputs += node.op == "placeholder"
    while isinstance(result, (tuple, list)) and len(result) == 1:
        result = result[0]
    value = result.meta.get("val") if isinstance(result, Node) else None
    if inputs != 1 or not isinstance(value, Tensor) or value.dim() != 2:
        raise UnsupportedError(
            f"the model takes {inputs} inputs and gives {_describe(result)}",
            cure="A classifier takes one picture tensor and gives logits [N, C].",
        )
    graph.output(copied[result])
    return graph


def _describe(result: Any) -> str:
    value = result.meta.get("val") if isinstance(result, Node) else result
    if isinstance(value, Tensor):
        return f"a tensor of {value.dim()} dimensions"
    return f"{len(result)} outputs" if isinstance(result, (tuple, list)) else type(result).__name__


def _functionalize(graph: Graph) -> None:
    """Replace in-place operators; whoever reads the overwritten tensor later reads the result."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in IN_PLACE:
            continue
        overwritten = node.args[0]
        if overwritten.op == "get_attr":
            # BatchNorm counts its batches; the real module put back does that itself
            if not node.users:
                graph.erase_node(node)
            continue
        node.target = IN_PLACE[node.target]
        for user in list(overwritten.users):
            if order[user] > order[node]:
                user.replace_input_with(overwritten, node)


def _restore_modules(graph: Graph, own: nn.Module) -> list[str]:
    """Put BatchNorm and Dropout modules back where the export left their arithmetic."""
    refusals = []
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is aten.batch_norm.default:
            refusals += _restore_batch_norm(node, own)
        elif node.target is aten.dropout.default:
            _restore_dropout(node, own)
    return refusals


def _restore_batch_norm(node: Node, own: nn.Module) -> list[str]:
    statistics = node.args[3]
    path = str(statistics.target).rpartition(".")[0] if isinstance(statistics, Node) else ""
    source = dict(own.named_modules()).get(path)
    if not isinstance(source, nn.BatchNorm2d):
        return [f"{module_path(node) or '(model)'}: batch_norm (no BatchNorm2d with statistics)"]
    if not isinstance(source, FreezableBatchNorm2d):
        own.set_submodule(path, FreezableBatchNorm2d.sharing(source))
    _call_module(node, path, Canonical("batch_norm", path))
    return []


def _restore_dropout(node: Node, own: nn.Module) -> None:
    probability = float(node.args[1])  # type: ignore[arg-type]
    if probability == 0.0:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        node.graph.erase_node(node)
        return
    path = module_path(node)
    if type(dict(own.named_modules()).get(path)) is not nn.Dropout:
        path = f"{path}.dropout" if path else "dropout"
        while path in dict(own.named_modules()):
            path += "_"
        parent, _, name = path.rpartition(".")
        own.get_submodule(parent).add_module(name, nn.Dropout(probability))
    _call_module(node, path, Canonical("dropout", path))


def _call_module(node: Node, path: str, what: Canonical) -> None:
    with node.graph.inserting_before(node):
        call = node.graph.call_module(path, (node.args[0],))
    call.meta = {**node.meta, META: what}
    node.replace_all_uses_with(call)
    node.graph.erase_node(node)


def _canonicalize(graph: Graph) -> list[str]:
    """Rewrite every operator into its one spelling and note what it is."""
    refusals: list[str] = []
    for node in graph.nodes:  # not a copy: a handler may add a node behind its own
        if node.op == "placeholder":
            node.meta[META] = Canonical("input", "")
        if node.op != "call_function" or canonical(node) is not None:
            continue
        if node.target in PASS_THROUGH:
            node.replace_all_uses_with(node.args[0])
        elif node.target in HANDLERS:
            _handle(node, refusals)
    return refusals


def _handle(node: Node, refusals: list[str]) -> None:
    spelled = str(node.target)
    path = module_path(node)
    outcome = HANDLERS[node.target](node)
    if isinstance(outcome, Refusal):
        refusals.append(f"{path or '(model)'}: {spelled} ({outcome.reason})")
        outcome = "refused"
    node.meta[META] = Canonical(outcome, path)


def _lone_batch_norms(graph: Graph) -> list[str]:
    """BatchNorm that no convolution absorbs; it has no integer form."""
    found = []
    for node in graph.nodes:
        what = canonical(node)
        if what is None or what.kind != "batch_norm":
            continue
        before = canonical(node.all_input_nodes[0])
        if before is None or before.kind != "conv" or len(node.all_input_nodes[0].users) != 1:
            found.append(f"{what.path}: batch_norm (not behind a convolution of its own)")
    return found


def _leftovers(graph: Graph) -> list[str]:
    """Operators without a handler, and weights used twice."""
    found, seen = [], set()
    for node in graph.nodes:
        if node.op == "call_function" and canonical(node) is None and _makes_a_tensor(node):
            name = node.target.__name__ if node.target is operator.getitem else str(node.target)
            found.append(f"{module_path(node) or '(model)'}: {name}")
        what = canonical(node)
        if what is not None and what.kind in ("conv", "linear"):
            weight = str(node.args[1])
            if weight in seen:
                found.append(f"{what.path}: {what.kind} (its weight is used twice)")
            seen.add(weight)
    return found


def _makes_a_tensor(node: Node) -> bool:
    """False for arithmetic on the batch size, which reshapes carry along."""
    return not isinstance(node.meta.get("val"), (int, torch.SymInt))
