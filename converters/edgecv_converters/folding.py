"""Operators that compute constants are computed now, by onnxscript's folder.

Exporters write the shapes of their tensors as operators (Shape, Gather, Concat, …); with static inputs
the results are constants. Only those operators are handed to the folder, as a model of their own, so
that nothing else of the source changes: no QuantizeLinear, no DequantizeLinear, no name. Branches whose
condition is then a constant are taken or dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, Final

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgecv.errors import ModelLoadError, require
from edgecv_converters.inlining import captured, inline
from edgecv_converters.ir import Graph, Node
from edgecv_converters.nodes import is_constant
from edgecv_converters.reader import to_graph

__all__ = ["FOLDABLE", "fold"]

#: Operators that shapes, masks and scales are computed with. Their cost is linear in what they read and
#: write: a hostile file cannot make the folder work longer than the file is large.
FOLDABLE: Final = frozenset(
    {
        "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Equal", "Exp",
        "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity",
        "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow", "Range",
        "Reciprocal", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "Shape", "Sign",
        "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
    }
)  # fmt: skip
_OF_SHAPES: Final = ("Shape", "Size")
#: Elements of a result: this many, or as many as the largest tensor that it is made of.
_MAX_RESULT: Final = 2**20
#: Elements of all results, beyond those of the file's own constants.
_MAX_TOTAL: Final = 2**23
#: Results can make more shapes known, one Range or data-dependent size after the other.
_ROUNDS: Final = 32


def fold(model: Any) -> bool:
    """Replace the operators of *model* that compute constants by their results, and If by a branch, in place.

    The package onnxscript is imported only when there are any. Results that the folder does not give,
    or gives in another type or shape than ONNX's inference says, stay operators.

    Args:
        model: ``onnx.ModelProto`` with static inputs.

    Returns:
        Whether anything was replaced.

    Raises:
        ModelLoadError: The model contradicts itself.
        MissingExtraError: onnxscript is not installed, and something needs it.
    """
    changed, counted, left = False, False, _MAX_TOTAL
    for _ in range(_ROUNDS):
        changed |= inline(model)
        if not _may_fold(model.graph):
            break
        # a branch that is not taken may not fit the sizes
        graph = to_graph(model, strict=not any(node.op_type == "If" for node in model.graph.node))
        if not counted:
            left += sum(c.data.size for c in graph.constants.values())
            counted = True
        nodes, left = _computable(graph, left)
        inside = captured(model.graph)
        wanted = _wanted(graph, nodes, inside)
        results = _computed(_submodel(model, graph, nodes, wanted), graph) if wanted else {}
        if not results or not _replace(model.graph, nodes, results, inside):
            break
        changed = True
    return changed


def _may_fold(graph: Any) -> bool:
    """Whether an operator reads nothing but constants: a look at the names, without any shape."""
    known = {t.name for t in graph.initializer}
    known.update(name for node in graph.node if is_constant(node) for name in node.output)
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDABLE:
            continue
        if node.op_type in _OF_SHAPES:
            return True
        if node.input and all(not name or name in known for name in node.input):
            if node.op_type != "Identity":
                return True
            known.update(node.output)
    return False


def _computable(graph: Graph, left: int) -> tuple[list[Node], int]:
    """Operators whose results are constants of moderate size, in order; what remains of *left* elements."""
    known = set(graph.constants)
    found = []
    for node in graph.nodes:
        outputs = [name for name in node.outputs if name]
        if node.domain or node.op not in FOLDABLE or not node.inputs or not outputs:
            continue
        if len(node.outputs) > 1 and (node.op != "Split" or "" in node.outputs):
            continue
        shapes = [graph.values[name].shape for name in outputs]
        if None in shapes or not _is_known(graph, node, known):
            continue
        elements = sum(prod(shape or ()) for shape in shapes)
        largest = max((prod(_shape(graph, n) or ()) for n in node.inputs if n in known), default=0)
        if elements > min(left, max(_MAX_RESULT, largest)):
            continue
        left -= elements
        known.update(outputs)
        found.append(node)
    return found, left


def _is_known(graph: Graph, node: Node, known: set[str]) -> bool:
    if node.op in _OF_SHAPES:
        return _shape(graph, node.inputs[0]) is not None
    return all(not name or name in known for name in node.inputs)


def _shape(graph: Graph, name: str) -> tuple[int, ...] | None:
    constant = graph.constants.get(name)
    return graph.values[name].shape if constant is None else tuple(constant.data.shape)


def _wanted(graph: Graph, nodes: list[Node], captured: set[str]) -> tuple[str, ...]:
    """Results that something else reads; copies (Identity) are left to the passes."""
    inside = {id(node) for node in nodes}

    def is_read(name: str) -> bool:
        readers = graph.consumers.get(name, ())
        outside = any(id(reader) not in inside or reader.op == "Identity" for reader in readers)
        return outside or name in graph.outputs or name in captured

    return tuple(
        name
        for node in nodes
        if node.op != "Identity"
        for name in node.outputs
        if name and is_read(name)
    )


def _submodel(model: Any, graph: Graph, nodes: list[Node], wanted: tuple[str, ...]) -> Any:
    """What *wanted* is computed from, as a model whose inputs have shapes and no values."""
    needed, order = set(wanted), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            order.append(node)
            needed.update(() if node.op in _OF_SHAPES else node.inputs)
    order.reverse()
    needed.discard("")
    made = {name for node in order for name in node.outputs}
    of_shapes = {node.inputs[0] for node in order if node.op in _OF_SHAPES} - made
    protos = {name: proto for proto in model.graph.node for name in proto.output}
    sub = ModelProto()
    sub.ir_version = model.ir_version
    sub.opset_import.extend(model.opset_import)
    sub.graph.name = "constants"
    constants = needed & set(graph.constants)
    sub.graph.initializer.extend(t for t in model.graph.initializer if t.name in constants)
    sub.graph.node.extend(
        protos[name] for name in graph.constants if name in constants & set(protos)
    )
    for node in order:
        if node.op == "Split":
            _add_slices(sub.graph, graph, node)
        else:
            sub.graph.node.append(protos[node.outputs[0]])
    for name in sorted(of_shapes - constants):
        shape = _shape(graph, name)
        sub.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    sub.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    return sub


def _add_slices(sub: Any, graph: Graph, node: Node) -> None:
    """A Split as a Slice per result: the folder computes operators of one result only."""
    axis, start = int(node.attributes.get("axis", 0)), 0
    for name in node.outputs:
        shape = _shape(graph, name) or ()
        inputs = [node.inputs[0]]
        for label, value in (("from", start), ("to", start + shape[axis]), ("axis", axis)):
            # no name of a file has a line break: reader.check_texts
            inputs.append(f"\n{label}:{name}")
            sub.initializer.append(numpy_helper.from_array(np.array([value]), inputs[-1]))
        sub.node.append(helper.make_node("Slice", inputs, [name]))
        start += shape[axis]


def _computed(sub: Any, graph: Graph) -> dict[str, Any]:
    """Name of a result → TensorProto, for all that the folder computes as inference says."""
    require("onnxscript", extra="fold")
    import onnx_ir
    from onnxscript.optimizer import fold_constants

    names = [value.name for value in sub.graph.output]
    with _quiet(), np.errstate(all="ignore"):
        try:
            folded = onnx_ir.serde.deserialize_model(sub)
            limit = 2**31
            fold_constants(
                folded,
                input_size_limit=limit,
                output_size_limit=limit,
                should_fold=lambda node: True,
            )
        except (RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelLoadError(
                f"the operators that compute constants cannot be run ({reason})",
                cure="The file is damaged; export the model again.",
            ) from error
    results = {}
    for name, value in zip(names, folded.graph.outputs, strict=True):
        if value.const_value is None:
            continue
        array = value.const_value.numpy()
        said = graph.values[name]
        if (tuple(array.shape), str(array.dtype)) == (said.shape, said.dtype):
            results[name] = numpy_helper.from_array(array, name)
    return results


@contextmanager
def _quiet() -> Iterator[None]:
    """What the folder cannot compute stays an operator, and is judged by the passes."""
    logger = logging.getLogger("onnxscript")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _replace(graph: Any, nodes: list[Node], results: dict[str, Any], captured: set[str]) -> bool:
    """Results become initializers; what only they were computed from goes. Whether there were any."""
    computing = {name for node in nodes for name in node.outputs if name}
    gone = set(results)
    read = {value.name for value in graph.output} | captured
    for proto in graph.node:
        if computing.isdisjoint(proto.output):
            read.update(proto.input)
    for node in reversed(nodes):
        outputs = [name for name in node.outputs if name]
        if all(name in gone or name not in read for name in outputs):
            gone.update(outputs)
        else:
            # where one result of several is missing, the operator stays and gives all of them
            gone.difference_update(outputs)
            read.update(node.inputs)
    unread = {name for node in nodes if gone & {*node.outputs} for name in node.inputs} - read
    unread -= {value.name for value in graph.input}
    for index in reversed(range(len(graph.node))):
        outputs = graph.node[index].output
        constant = is_constant(graph.node[index]) and outputs[0] in unread
        if constant or not gone.isdisjoint(outputs):
            del graph.node[index]
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name in unread:
            del graph.initializer[index]
    made = [tensor for name, tensor in results.items() if name in gone and name in read]
    graph.initializer.extend(made)
    return bool(made)
