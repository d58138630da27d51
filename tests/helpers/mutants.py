"""Damaged ONNX files: bytes that were changed, and models that were changed field by field."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import onnx

#: What a field of the kind may become; near what it was, or at the end of its type.
_INTEGERS = (0, 1, -1, 2, 3, 7, 127, 255, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**31), -(2**63))
_FLOATS = (0.0, -1.0, 1e-38, 1e38, float("inf"), float("-inf"), float("nan"))


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, inserted or removed, or the end cut off."""
    mutant = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        # what comes first holds names and structure, what comes last weights
        at = rng.randrange(min(len(mutant), rng.choice((64, 2000, len(mutant)))))
        kind = rng.random()
        if kind < 0.7:
            mutant[at] = rng.randrange(256)
        elif kind < 0.85:
            del mutant[at : at + rng.randint(1, 4)]
        else:
            mutant[at:at] = rng.randbytes(rng.randint(1, 4))
    if rng.random() < 0.2:
        del mutant[rng.randrange(len(mutant)) :]
    return bytes(mutant)


def mutate_model(data: bytes, rng: random.Random) -> bytes:
    """One to three fields of the model changed to something that protobuf can hold."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.randint(1, 3)):
        rng.choice(_CHANGES)(model, rng)
    return model.SerializeToString()


def _any_node(model: Any, rng: random.Random) -> Any:
    return rng.choice(model.graph.node)


def _names(model: Any) -> list[str]:
    graph = model.graph
    found = [t.name for t in graph.initializer] + [v.name for v in graph.input]
    return [*found, *(n for node in graph.node for n in node.output), ""]


def _rename_input(model: Any, rng: random.Random) -> None:
    node = _any_node(model, rng)
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*_names(model), "nowhere"])


def _rename_output(model: Any, rng: random.Random) -> None:
    node = _any_node(model, rng)
    if node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice([*_names(model), "elsewhere"])


def _count_of_names(model: Any, rng: random.Random) -> None:
    node = _any_node(model, rng)
    names = rng.choice((node.input, node.output))
    if names and rng.random() < 0.6:
        del names[rng.randrange(len(names))]
    else:
        names.append(rng.choice(_names(model)))


_OTHERS = (
    "Identity", "Shape", "Reshape", "If", "Loop", "Constant", "ConstantOfShape", "Range", "Cast", "Split", "Einsum",
    "DequantizeLinear", "QuantizeLinear", "LayerNormalization", "BatchNormalization", "NoSuchOperator",
)  # fmt: skip


def _operator(model: Any, rng: random.Random) -> None:
    _any_node(model, rng).op_type = rng.choice([*_OTHERS, _any_node(model, rng).op_type])


def _domain(model: Any, rng: random.Random) -> None:
    _any_node(model, rng).domain = rng.choice(("com.microsoft", "ai.onnx", "x"))


def _opset(model: Any, rng: random.Random) -> None:
    rng.choice(model.opset_import).version = rng.choice((0, 1, 10, 11, 13, 18, 21, 22, -5, 2**62))


def _attribute(model: Any, rng: random.Random) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    attribute = rng.choice(rng.choice(nodes).attribute)
    if attribute.ints:
        at = rng.randrange(len(attribute.ints))
        if rng.random() < 0.3:
            del attribute.ints[at]
        else:
            attribute.ints[at] = rng.choice(_INTEGERS)
    attribute.i = rng.choice(_INTEGERS)
    attribute.f = rng.choice(_FLOATS)
    if rng.random() < 0.2:
        attribute.type = rng.randrange(0, 15)
    if rng.random() < 0.1:
        attribute.name = rng.choice(("axis", "axes", "pads", "x", ""))


def _dims(model: Any, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    if tensor.dims and rng.random() < 0.7:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_INTEGERS)
    else:
        tensor.dims.append(rng.choice((1, 1, 0, 2)))


def _element_type(model: Any, rng: random.Random) -> None:
    rng.choice(model.graph.initializer).data_type = rng.randrange(0, 26)


def _elements(model: Any, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    raw = bytearray(tensor.raw_data)
    for _ in range(rng.randint(1, 4)):
        if raw:
            raw[rng.randrange(len(raw))] = rng.choice((0, 127, 128, 255))
    tensor.raw_data = bytes(raw[: rng.choice((len(raw), len(raw), len(raw) // 2))])


def _input_shape(model: Any, rng: random.Random) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output])
    dims = value.type.tensor_type.shape.dim
    if dims and rng.random() < 0.7:
        rng.choice(dims).dim_value = rng.choice(_INTEGERS)
    elif dims and rng.random() < 0.5:
        rng.choice(dims).dim_param = "open"
    else:
        dims.add().dim_value = rng.choice((1, 2))
    if rng.random() < 0.2:
        value.type.tensor_type.elem_type = rng.randrange(0, 20)


def _remove(model: Any, rng: random.Random) -> None:
    graph = model.graph
    items = rng.choice(
        [graph.node, graph.initializer, graph.input, graph.output, model.opset_import]
    )
    if items:
        del items[rng.randrange(len(items))]


def _repeat(model: Any, rng: random.Random) -> None:
    graph = model.graph
    items = rng.choice([graph.node, graph.initializer, graph.input, graph.output])
    if items:
        items.append(rng.choice(items))


def _shuffle(model: Any, rng: random.Random) -> None:
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


_CHANGES: tuple[Callable[[Any, random.Random], None], ...] = (
    _rename_input, _rename_output, _count_of_names, _operator, _domain, _opset, _attribute, _attribute, _dims,
    _element_type, _elements, _elements, _input_shape, _remove, _repeat, _shuffle,
)  # fmt: skip


def mutants(bases: list[bytes], seeds: range) -> Iterator[tuple[str, bytes]]:
    """Two files per seed, one changed by bytes and one by fields."""
    for seed in seeds:
        rng = random.Random(seed)
        base = rng.choice(bases)
        yield f"bytes {seed}", mutate_bytes(base, rng)
        yield f"fields {seed}", mutate_model(base, rng)
