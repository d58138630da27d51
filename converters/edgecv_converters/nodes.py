"""NodeProtos to nodes of the source IR, checked against ONNX's own definitions of the operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from onnx import AttributeProto, defs

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters.ir import Array, Node
from edgecv_converters.tensors import to_array

__all__ = ["constant_value", "is_constant", "read_node", "schema_of", "texts"]

_REEXPORT = "The file is damaged or not ONNX; export the model again."


def texts(model: Any) -> Iterator[Any]:
    """Every name that is read, wherever it stands."""
    graph = model.graph
    yield from (o.domain for o in model.opset_import)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    tensors = list(graph.initializer)
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        tensors += (attribute.t for attribute in node.attribute if attribute.HasField("t"))
    for tensor in tensors:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


def is_constant(proto: Any) -> bool:
    """Whether a NodeProto is ONNX's own Constant."""
    return proto.op_type == "Constant" and proto.domain in ("", "ai.onnx")


def constant_value(proto: Any) -> Array:
    """Elements of a Constant."""
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


def read_node(proto: Any, opsets: Mapping[str, int]) -> Node:
    """A NodeProto as a node.

    Args:
        proto: ``onnx.NodeProto``.
        opsets: Domain → version of its operator set.

    Raises:
        ModelLoadError: Names or attributes that the definition of the operator excludes.
    """
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    outputs = tuple(proto.output)
    name = proto.name or f"{proto.op_type}:{outputs[0] if outputs else ''}"
    opset = opsets.get(domain, 1)
    schema = schema_of(proto.op_type, domain, opset)
    if schema is not None:
        _check_names(name, proto, schema)
        _check_attributes(name, proto, schema.attributes)
    return Node(
        name=name,
        op=proto.op_type,
        domain=domain,
        # of an operator that onnx does not know, the operator set's own
        version=opset if schema is None else int(schema.since_version),
        inputs=tuple(proto.input),
        outputs=outputs,
        attributes={a.name: _attribute(a) for a in proto.attribute},
        sources=(name,),
    )


def schema_of(op: str, domain: str, opset: int) -> Any | None:
    """The definition that *opset* selects, or None."""
    if not 0 < opset < 2**31:
        return None
    try:
        return defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        return None


def _check_names(name: str, proto: Any, schema: Any) -> None:
    """As many inputs and outputs as the definition says, and none left out that it needs."""
    for what, names, least, most in (
        ("inputs", proto.input, schema.min_input, schema.max_input),
        ("outputs", proto.output, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            raise ModelLoadError(
                f"{proto.op_type} {name!r} has {len(names)} {what}; it takes {least} to {most}",
                cure=_REEXPORT,
            )
    for said, parameter in zip(proto.input, schema.inputs, strict=False):
        if not said and parameter.option == defs.OpSchema.FormalParameterOption.Single:
            raise ModelLoadError(
                f"{proto.op_type} {name!r} lacks its input {parameter.name!r}", cure=_REEXPORT
            )


def _check_attributes(name: str, proto: Any, known: Mapping[str, Any]) -> None:
    """Attributes have the kinds that the definition says: inference and rules read them by kind."""
    for attribute in proto.attribute:
        expected = known.get(attribute.name)
        if expected is None:
            continue
        where = f"the attribute {attribute.name!r} of {proto.op_type} {name!r}"
        if attribute.type != expected.type.value:
            raise ModelLoadError(
                f"{where} is of kind {attribute.type}, not {expected.type.value} ({expected.type.name})",
                cure=_REEXPORT,
            )
        absurd = [v for v in (attribute.i, *attribute.ints) if not -(2**31) <= v < 2**31]
        # Shape may say "to the end" so; everywhere else it would be a size
        if absurd and proto.op_type != "Shape":
            raise ModelLoadError(f"{where} is {absurd[0]}", cure=_REEXPORT)


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
