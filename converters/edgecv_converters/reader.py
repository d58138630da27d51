"""ONNX bytes to the source IR, with one clear error for everything that is wrong with a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, ModelProto, defs

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters.ir import Array, Constant, Graph, Node
from edgecv_converters.shapes import bind_batch, infer_values
from edgecv_converters.tensors import to_array

__all__ = ["OPSETS", "parse", "read"]

#: Operator sets whose definitions were read and tested, first and last.
OPSETS: Final = (11, 21)
_MAX_BYTES = 2**31 - 1
_REEXPORT = "The file is damaged or not ONNX; export the model again."


def parse(data: bytes) -> Any:
    """Parse bytes as an ``onnx.ModelProto`` with a graph and a known operator set, batch bound to 1.

    Raises:
        ModelLoadError: The bytes are no ONNX model.
        UnsupportedError: An operator set or a feature that is not read.
    """
    if len(data) > _MAX_BYTES:
        raise ModelLoadError(f"the model has {len(data)} bytes", cure="ONNX files end at 2 GiB.")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelLoadError(
            f"the {len(data)} bytes are not an ONNX model ({error})", cure=_REEXPORT
        ) from error
    if not model.HasField("graph") or not model.graph.node or not model.graph.output:
        raise ModelLoadError("the model has no graph, no operators or no outputs", cure=_REEXPORT)
    if model.functions:
        raise UnsupportedError(
            f"the model calls {len(model.functions)} functions of its own",
            cure="Inline them with onnx.inliner.inline_local_functions(model).",
        )
    if model.graph.sparse_initializer:
        raise UnsupportedError("the model has sparse constants", cure="Export it with dense ones.")
    try:
        _opsets(model)
        bind_batch(model)
    except UnicodeDecodeError as error:
        raise ModelLoadError(f"a name in the file is not text ({error})", cure=_REEXPORT) from error
    return model


def read(data: bytes) -> Graph:
    """Read a model into the source IR.

    The batch dimension is bound to 1 where it is dynamic. Nothing larger than the file's own constants
    is allocated.

    Args:
        data: A whole ONNX file, without external data.

    Raises:
        ModelLoadError: Not an ONNX model; a constant that does not fit its dimensions; a tensor that
            nothing produces or two operators produce; a cycle; shapes that contradict each other.
        UnsupportedError: Operator sets outside :data:`OPSETS`, external data, dynamic dimensions other
            than the batch, functions, sparse tensors.
    """
    model = parse(data)
    try:
        return _read(model)
    except UnicodeDecodeError as error:
        raise ModelLoadError(f"a name in the file is not text ({error})", cure=_REEXPORT) from error


def _read(model: Any) -> Graph:
    opsets = _opsets(model)
    constants = _constants(model.graph)
    inputs = tuple(i.name for i in model.graph.input if i.name not in constants)
    outputs = tuple(o.name for o in model.graph.output)
    nodes = [_node(proto, opsets) for proto in model.graph.node if not _is_constant(proto)]
    nodes = _sorted(nodes, known={*constants, *inputs})
    produced = {*constants, *inputs, *(name for node in nodes for name in node.outputs)}
    for name in outputs:
        if name not in produced:
            raise ModelLoadError(f"nothing produces the output {name!r}", cure=_REEXPORT)
    if len(set(outputs)) != len(outputs) or len(set(inputs)) != len(inputs):
        raise ModelLoadError("two inputs or outputs have the same name", cure=_REEXPORT)
    values = infer_values(model, constants, inputs, nodes)
    return Graph(tuple(nodes), values, constants, inputs, outputs, opsets[""])


def _opsets(model: Any) -> dict[str, int]:
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
    version = opsets.get("")
    if version is None:
        raise ModelLoadError("the model does not say which operator set it uses", cure=_REEXPORT)
    if not OPSETS[0] <= version <= OPSETS[1]:
        raise UnsupportedError(
            f"the model uses operator set {version}",
            cure=f"Export it with opset {OPSETS[0]} to {OPSETS[1]}; 17 is best.",
        )
    return opsets


def _is_constant(proto: Any) -> bool:
    return proto.op_type == "Constant" and proto.domain in ("", "ai.onnx")


def _constants(graph: Any) -> dict[str, Constant]:
    found: dict[str, Constant] = {}

    def add(name: str, data: Array) -> None:
        if not name or name in found:
            raise ModelLoadError(f"two constants are named {name!r}", cure=_REEXPORT)
        found[name] = Constant(name, data)

    for tensor in graph.initializer:
        add(tensor.name, to_array(tensor))
    for proto in graph.node:
        if _is_constant(proto):
            if len(proto.output) != 1:
                raise ModelLoadError(f"a Constant has {len(proto.output)} outputs", cure=_REEXPORT)
            add(proto.output[0], _constant_value(proto))
    return found


def _constant_value(proto: Any) -> Array:
    import numpy as np

    for attribute in proto.attribute:
        if attribute.name == "value" and attribute.type == AttributeProto.TENSOR:
            return to_array(attribute.t)
        if attribute.name in ("value_float", "value_floats"):
            return np.asarray(_attribute(attribute), np.float32)
        if attribute.name in ("value_int", "value_ints"):
            return np.asarray(_attribute(attribute), np.int64)
    raise UnsupportedError(
        f"the Constant {proto.output[0]!r} holds no tensor of numbers",
        cure="Export the model without it.",
    )


def _node(proto: Any, opsets: Mapping[str, int]) -> Node:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    outputs = tuple(proto.output)
    name = proto.name or f"{proto.op_type}:{outputs[0] if outputs else ''}"
    return Node(
        name=name,
        op=proto.op_type,
        domain=domain,
        version=_since_version(proto.op_type, domain, opsets.get(domain, 1)),
        inputs=tuple(proto.input),
        outputs=outputs,
        attributes={a.name: _attribute(a) for a in proto.attribute},
        sources=(name,),
    )


def _since_version(op: str, domain: str, opset: int) -> int:
    """Version of the definition that *opset* selects; the operator set's own for operators unknown to onnx."""
    try:
        return int(defs.get_schema(op, opset, domain).since_version)
    except defs.SchemaError:
        return opset


def _attribute(attribute: Any) -> Any:
    """Value of an attribute; None for graphs, references and other kinds that no rule reads."""
    kind = attribute.type
    if kind == AttributeProto.INT:
        return int(attribute.i)
    if kind == AttributeProto.FLOAT:
        return float(attribute.f)
    if kind == AttributeProto.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == AttributeProto.INTS:
        return tuple(attribute.ints)
    if kind == AttributeProto.FLOATS:
        return tuple(attribute.floats)
    if kind == AttributeProto.TENSOR:
        return to_array(attribute.t)
    return None


def _sorted(nodes: list[Node], known: set[str]) -> list[Node]:
    """Topological order, the file's own where it already is one."""
    owners: dict[str, Node] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in owners or name in known:
                raise ModelLoadError(f"two operators or constants produce {name!r}", cure=_REEXPORT)
            owners[name] = node
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in owners and name not in known:
                raise ModelLoadError(
                    f"the operator {node.name!r} reads {name!r}, which nothing produces (a missing initializer?)",
                    cure=_REEXPORT,
                )
    index = {id(node): i for i, node in enumerate(nodes)}
    missing = {i: {n for n in node.inputs if n in owners} for i, node in enumerate(nodes)}
    readers: dict[str, list[int]] = {}
    for i, names in missing.items():
        for name in names:
            readers.setdefault(name, []).append(i)
    ready = deque(i for i, names in missing.items() if not names)
    order: list[Node] = []
    while ready:
        node = nodes[ready.popleft()]
        order.append(node)
        for name in filter(None, node.outputs):
            for i in readers.get(name, ()):
                missing[i].discard(name)
                if not missing[i]:
                    ready.append(i)
    if len(order) < len(nodes):
        done = {index[id(node)] for node in order}
        stuck = [node.name for i, node in enumerate(nodes) if i not in done]
        raise ModelLoadError(
            f"{len(stuck)} operators depend on each other in a cycle ({', '.join(map(repr, stuck[:3]))}, …)",
            cure=_REEXPORT,
        )
    return order
