"""ONNX bytes to the source IR, with one clear error for everything that is wrong with a file."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters.binding import bind
from edgecv_converters.consistency import check_sizes
from edgecv_converters.ir import Array, Constant, Graph, Node
from edgecv_converters.nodes import constant_value, is_constant, read_node, texts
from edgecv_converters.options import ReadOptions
from edgecv_converters.shapes import infer_values
from edgecv_converters.tensors import to_array

__all__ = ["MAX_BYTES", "OPSETS", "check_texts", "parse", "parse_open", "read", "sort", "to_graph"]

#: Operator sets whose definitions were read and tested, first and last.
OPSETS: Final = (11, 21)
#: Where protobuf messages end.
MAX_BYTES: Final = 2**31 - 1
#: Characters; errors repeat names.
_MAX_NAME: Final = 1000
_REEXPORT = "The file is damaged or not ONNX; export the model again."


def parse(data: bytes) -> Any:
    """Parse bytes as an ``onnx.ModelProto`` with a graph, a known operator set and static inputs.

    An open batch becomes 1; other sizes are given before, by :func:`edgecv_converters.prepare_source`.

    Raises:
        ModelLoadError: The bytes are no ONNX model.
        UnsupportedError: An operator set or a feature that is not read, or an open dimension.
    """
    model = parse_open(data)
    bind(model, ReadOptions())
    return model


def parse_open(data: bytes) -> Any:
    """As :func:`parse`, with the inputs as the file has them."""
    if len(data) > MAX_BYTES:
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
    check_texts(model)
    _opsets(model)
    return model


def check_texts(model: Any) -> None:
    """Refuse names that are no text.

    Args:
        model: ``onnx.ModelProto``.

    Raises:
        ModelLoadError: One is damaged or absurdly long; those of graphs inside operators are not read.
    """
    try:
        damaged = next((text for text in texts(model) if not _is_text(text)), None)
    except UnicodeDecodeError as error:
        raise ModelLoadError(f"a name in the file is not text ({error})", cure=_REEXPORT) from error
    if damaged is not None:
        raise ModelLoadError(f"a name in the file is not text ({damaged[:80]!r})", cure=_REEXPORT)


def read(data: bytes) -> Graph:
    """Read a model into the source IR.

    The batch dimension is bound to 1 where it is dynamic. Nothing larger than the file's own constants
    is allocated.

    Args:
        data: A whole ONNX file, without external data.

    Raises:
        ModelLoadError: Not an ONNX model; a constant that does not fit its dimensions; a tensor that
            nothing produces or two operators produce; a cycle; shapes that contradict each other; a
            computed tensor without elements.
        UnsupportedError: Operator sets outside :data:`OPSETS`, external data, dynamic dimensions other
            than the batch, functions, sparse tensors.
    """
    graph = to_graph(parse(data))
    for name in graph.outputs:
        if name in graph.constants:
            raise UnsupportedError(
                f"the output {name!r} is a constant",
                cure="Export the model without it; every output must depend on an input.",
            )
    for value in graph.values.values():
        if value.shape is not None and 0 in value.shape:
            raise ModelLoadError(
                f"the tensor {value.name!r} has dimensions {list(value.shape)}", cure=_REEXPORT
            )
    check_sizes(graph)
    return graph


def to_graph(model: Any, *, strict: bool = True) -> Graph:
    """The graph of an ``onnx.ModelProto`` with static inputs; see :func:`read` for the errors.

    Args:
        model: The model.
        strict: Whether shapes that contradict each other are an error, or unknown.
    """
    opsets = _opsets(model)
    constants = _constants(model.graph)
    inputs = tuple(i.name for i in model.graph.input if i.name not in constants)
    outputs = tuple(o.name for o in model.graph.output)
    nodes = [read_node(proto, opsets) for proto in model.graph.node if not is_constant(proto)]
    nodes = _sorted(nodes, known={*constants, *inputs})
    produced = {*constants, *inputs, *(name for node in nodes for name in node.outputs)}
    for name in outputs:
        if name not in produced:
            raise ModelLoadError(f"nothing produces the output {name!r}", cure=_REEXPORT)
    if len(set(outputs)) != len(outputs) or len(set(inputs)) != len(inputs):
        raise ModelLoadError("two inputs or outputs have the same name", cure=_REEXPORT)
    values = infer_values(model, constants, inputs, nodes, strict=strict)
    return Graph(tuple(nodes), values, constants, inputs, outputs, opsets[""])


def _is_text(name: Any) -> bool:
    """Protobuf gives bytes for what is no UTF-8; control characters break the files that names go into."""
    return isinstance(name, str) and len(name) <= _MAX_NAME and not any(c < " " for c in name)


def sort(model: Any) -> bool:
    """Put the operators of an ``onnx.ModelProto`` in the order in which they can run, in place.

    Returns:
        Whether they were in another one, which ONNX forbids and some tools write.

    Raises:
        ModelLoadError: There is none.
    """
    graph = model.graph
    constants = [proto for proto in graph.node if is_constant(proto)]
    known = {t.name for t in graph.initializer} | {v.name for v in graph.input}
    known.update(name for proto in constants for name in proto.output)
    seen = {"", *known}
    for proto in graph.node:
        if not seen.issuperset(proto.input):
            break
        seen.update(proto.output)
    else:
        return False
    opsets = _opsets(model)
    computing = [proto for proto in graph.node if not is_constant(proto)]
    nodes = [read_node(proto, opsets) for proto in computing]
    position = {id(node): i for i, node in enumerate(nodes)}
    order = [computing[position[id(node)]] for node in _sorted(nodes, known)]
    copies = [type(p).FromString(p.SerializeToString()) for p in (*constants, *order)]
    del graph.node[:]
    graph.node.extend(copies)
    return True


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


def _constants(graph: Any) -> dict[str, Constant]:
    found: dict[str, Constant] = {}

    def add(name: str, data: Array) -> None:
        if not name or name in found:
            raise ModelLoadError(f"two constants are named {name!r}", cure=_REEXPORT)
        found[name] = Constant(name, data)

    for tensor in graph.initializer:
        add(tensor.name, to_array(tensor))
    for proto in graph.node:
        if is_constant(proto):
            if len(proto.output) != 1:
                raise ModelLoadError(f"a Constant has {len(proto.output)} outputs", cure=_REEXPORT)
            add(proto.output[0], constant_value(proto))
    return found


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
