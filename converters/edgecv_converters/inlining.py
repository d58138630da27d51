"""Branches whose condition is a constant: an If becomes the operators of the graph that it takes.

Exporters write them around what depends on a size (squeeze of a dimension that may be 1); with static
inputs the condition is computed at conversion, and only one branch is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters.nodes import is_constant
from edgecv_converters.reader import check_texts

__all__ = ["captured", "inline"]

_REEXPORT = "The file is damaged; export the model again."


def captured(graph: Any) -> set[str]:
    """Names that graphs inside the operators of *graph* read, of whatever graph around them."""
    found: set[str] = set()
    stack = [nested for node in graph.node for nested in _nested(node)]
    while stack:
        inner = stack.pop()
        found.update(value.name for value in inner.output)
        for node in inner.node:
            found.update(node.input)
            stack.extend(_nested(node))
    return found


def inline(model: Any) -> bool:
    """Replace every If with a constant condition by the branch that it takes, in place.

    Names inside a branch stay, unless the model has them already.

    Args:
        model: ``onnx.ModelProto``, operators in order.

    Returns:
        Whether there was one.

    Raises:
        ModelLoadError: A branch that gives another number of results than its If, or takes inputs.
        UnsupportedError: A branch with sparse constants.
    """
    graph = model.graph
    conditions = _conditions(graph)
    left: deque[Any] = deque(graph.node)
    if not any(_is_if(node) and node.input[0] in conditions for node in left):
        return False
    used = {v.name for v in (*graph.input, *graph.output)} | {t.name for t in graph.initializer}
    used.update(name for node in graph.node for name in (*node.input, *node.output))
    kept: list[Any] = []
    while left:
        node = left.popleft()
        if is_constant(node):
            conditions |= _conditions_of([node])
        if not _is_if(node) or node.input[0] not in conditions:
            kept.append(node)
            continue
        branch = _branch(node, "then_branch" if conditions[node.input[0]] else "else_branch")
        constants, nodes = _moved(node, branch, used)
        graph.initializer.extend(constants)
        conditions |= _conditions_of(constants)
        left.extendleft(reversed(nodes))
    copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(copies)
    _drop(graph, conditions)
    # the names of branches are read only now
    check_texts(model)
    return True


def _is_if(node: Any) -> bool:
    whole = len(node.input) == 1 and len(node.output) > 0
    return whole and node.op_type == "If" and node.domain in ("", "ai.onnx")


def _nested(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _conditions(graph: Any) -> dict[str, bool]:
    """Constants of one bool."""
    return _conditions_of([*graph.initializer, *filter(is_constant, graph.node)])


def _conditions_of(found: list[Any]) -> dict[str, bool]:
    values: dict[str, bool] = {}
    for item in found:
        tensor, name = item, getattr(item, "name", "")
        if isinstance(item, NodeProto):
            tensors = [a.t for a in item.attribute if a.name == "value" and a.HasField("t")]
            if not tensors or len(item.output) != 1:
                continue
            tensor, name = tensors[0], item.output[0]
        one = tensor.data_type == TensorProto.BOOL and not tensor.external_data
        if one and all(size == 1 for size in tensor.dims) and len(tensor.dims) < 2:
            # of one byte, or of nothing where the file is cut
            value = bytes(tensor.raw_data) if tensor.raw_data else bytes(tensor.int32_data[:1])
            if len(value) == 1:
                values[name] = bool(numpy_helper.to_array(tensor).reshape(-1)[0])
    return values


def _branch(node: Any, which: str) -> Any:
    where = f"If {node.name or node.output[0]!r}"
    graph = next(
        (a.g for a in node.attribute if a.name == which and a.type == AttributeProto.GRAPH), None
    )
    if graph is None:
        raise ModelLoadError(f"{where} has no {which}", cure=_REEXPORT)
    if len(graph.output) != len(node.output) or graph.input:
        raise ModelLoadError(
            f"the {which} of {where} takes {len(graph.input)} inputs and gives {len(graph.output)} results;"
            f" it must take none and give {len(node.output)}",
            cure=_REEXPORT,
        )
    if graph.sparse_initializer:
        raise UnsupportedError(
            f"the {which} of {where} has sparse constants", cure="Export it with dense ones."
        )
    return graph


def _moved(node: Any, branch: Any, used: set[str]) -> tuple[list[Any], list[Any]]:
    """Constants and operators of *branch* under names of their own; those of the results are the If's."""
    computed = [name for inner in branch.node for name in inner.output if name]
    stored = [tensor.name for tensor in branch.initializer]
    results = [value.name for value in branch.output]
    renamed: dict[str, str] = {}
    for inside, outside in zip(results, node.output, strict=True):
        if inside in computed and outside:
            renamed.setdefault(inside, outside)
    for name in (*computed, *stored):
        if name not in renamed:
            renamed[name] = _free(name, node.name or node.output[0], used)
    constants = []
    for tensor in branch.initializer:
        constants.append(TensorProto.FromString(tensor.SerializeToString()))
        constants[-1].name = renamed[tensor.name]
    nodes = [_renamed(inner, renamed) for inner in branch.node]
    for inside, outside in zip(results, node.output, strict=True):
        source = renamed.get(inside, inside)
        if outside and source != outside:
            # a value from around the branch, a constant, or one result twice
            nodes.append(helper.make_node("Identity", [source], [outside], name=f"{outside}:taken"))
    return constants, nodes


def _free(name: str, owner: str, used: set[str]) -> str:
    found, number = name, 1
    while found in used:
        found = f"{owner}/{name}" if number == 1 else f"{owner}/{name}:{number}"
        number += 1
    used.add(found)
    return found


def _renamed(node: Any, renamed: dict[str, str]) -> Any:
    copy = NodeProto.FromString(node.SerializeToString())
    for names in (copy.input, copy.output):
        for position, name in enumerate(names):
            names[position] = renamed.get(name, name)
    # graphs further inside read what is around them
    stack = list(_nested(copy))
    while stack:
        graph = stack.pop()
        for value in (*graph.output, *graph.initializer):
            value.name = renamed.get(value.name, value.name)
        for inner in graph.node:
            for names in (inner.input, inner.output):
                for position, name in enumerate(names):
                    names[position] = renamed.get(name, name)
            stack.extend(_nested(inner))
    return copy


def _drop(graph: Any, conditions: dict[str, bool]) -> None:
    """Remove conditions that nothing reads any longer."""
    read = captured(graph) | {v.name for v in (*graph.input, *graph.output)}
    read.update(name for node in graph.node for name in node.input)
    for index in reversed(range(len(graph.initializer))):
        name = graph.initializer[index].name
        if name in conditions and name not in read:
            del graph.initializer[index]
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if is_constant(node) and set(node.output) & set(conditions) and node.output[0] not in read:
            del graph.node[index]
