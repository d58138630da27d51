"""Names of tensors: after the module path that produces them, never by a counter over the graph.

``conv1`` for the output of a module, ``layer1.0.add`` for an operator that a module's ``forward``
calls itself, ``_1`` behind the second of its kind (a ReLU that is used twice). The model's input is
``input``, its output ``logits``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.fx import Graph, Node

from edgecv.errors import UnsupportedError

__all__ = [
    "Canonical",
    "assign_names",
    "canonical",
    "module_path",
    "quantizer_key",
    "tensor_of_key",
]

#: Key of ``Node.meta`` under which :class:`Canonical` is kept.
META = "edgecv"
#: Last part of a functional operator's name, where it differs from the kind.
_SHORT: dict[object, str] = {torch.ops.aten.flatten.using_ints: "flatten"}
_SILU = {"sigmoid", "mul"}


@dataclass(frozen=True)
class Canonical:
    """What a node of the captured graph is.

    Attributes:
        kind: Key of :data:`edgecv.spec.OP_TABLE`, or ``"dropout"``.
        path: Path of the innermost module that calls it; ``""`` for the model itself.
        name: Name of the tensor it produces.
    """

    kind: str
    path: str
    name: str = ""


def canonical(node: Node) -> Canonical | None:
    """What *node* is, or None for parameters, quantizers and the output."""
    found = node.meta.get(META)
    return found if isinstance(found, Canonical) else None


def module_path(node: Node) -> str:
    """Path of the innermost module whose ``forward`` calls *node*."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]) if stack else ""


def quantizer_key(name: str) -> str:
    """Name of the submodule that holds the quantizer *name*; reversed by :func:`tensor_of_key`.

    A submodule's name must not contain a dot.

    >>> quantizer_key("layer1.0.act1"), tensor_of_key("layer1/0/act1")
    ('layer1/0/act1', 'layer1.0.act1')
    """
    if "/" in name:
        raise UnsupportedError(
            f"the module path {name!r} contains a slash", cure="Rename that module."
        )
    return name.replace(".", "/")


def tensor_of_key(key: str) -> str:
    """Name of the tensor or weight whose quantizer is the submodule *key*."""
    return key.replace("/", ".")


def assign_names(graph: Graph, has_children: Mapping[str, bool]) -> None:
    """Give every canonical node of *graph* its name.

    Args:
        graph: Nodes carry :class:`Canonical` without names.
        has_children: Module path → whether that module has submodules.
    """
    nodes = [(node, found) for node in graph.nodes if (found := canonical(node)) is not None]
    kinds: dict[str, set[str]] = {}
    for _, found in nodes:
        kinds.setdefault(found.path, set()).add(found.kind)
    result = _producer(graph.output_node())
    taken = {"input", "logits"}
    for node, found in nodes:
        if found.kind == "input":
            name = "input"
        elif node is result:
            name = "logits"
        else:
            name = _unique(_base(node, found, kinds, has_children), taken)
        node.meta[META] = Canonical(found.kind, found.path, name)


def _producer(output: Node) -> Node:
    """The node behind the graph's single output, looking through dropout."""
    found = output.args[0]
    while isinstance(found, (tuple, list)):
        found = found[0]
    assert isinstance(found, Node)
    while (what := canonical(found)) is not None and what.kind == "dropout":
        found = found.all_input_nodes[0]
    return found


def _base(
    node: Node, found: Canonical, kinds: Mapping[str, set[str]], has_children: Mapping[str, bool]
) -> str:
    if found.kind in ("conv", "linear"):
        return str(node.all_input_nodes[1].target).rpartition(".")[0]
    if found.kind == "batch_norm":
        return found.path
    leaf = not has_children.get(found.path, True) and bool(found.path)
    # a SiLU module is two operators, and the product is its output
    whole_module = len(kinds[found.path]) == 1 or (
        found.kind == "mul" and kinds[found.path] == _SILU
    )
    if leaf and whole_module:
        return found.path
    short = _SHORT.get(node.target, found.kind)
    return f"{found.path}.{short}" if found.path else short


def _unique(base: str, taken: set[str]) -> str:
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name)
    return name
