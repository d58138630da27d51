"""Shapes and types of every activation: batch bound to 1, then ONNX's own shape inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

from onnx import ModelProto, TensorProto, checker, helper, shape_inference

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters.ir import Constant, Node, Value
from edgecv_converters.tensors import MAX_ELEMENTS, dtype_name

__all__ = ["bind_batch", "infer_values"]

#: Constants up to this many elements may be shapes, axes or pads, which inference needs to see.
_SMALL: Final = 64
_REEXPORT = "The file is damaged; export the model again."


def bind_batch(model: Any) -> None:
    """Set every dynamic batch dimension (the first of each input) of a ModelProto to 1, in place.

    Declared shapes of intermediate tensors are dropped (inference computes them anew); outputs keep
    those dimensions that are numbers, and the batch where it has the input's name.

    Raises:
        UnsupportedError: An input is no tensor, has no shape, or another dimension is dynamic.
    """
    constants = {t.name for t in model.graph.initializer}
    bound: set[str] = set()
    for value in model.graph.input:
        if value.name in constants:
            continue
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            raise UnsupportedError(
                f"the input {value.name!r} is not a tensor of known rank",
                cure="Export with example inputs.",
            )
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value > 0:
                continue
            if dim.HasField("dim_value") or axis != 0:
                said = dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
                raise UnsupportedError(
                    f"dimension {axis} of the input {value.name!r} is {said}, not a number of at least 1",
                    cure="Export with static shapes; only the batch may be dynamic.",
                )
            bound.add(dim.dim_param)
            dim.dim_value = 1
    for value in model.graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and axis == 0 and dim.dim_param in bound:
                dim.dim_value = 1
    del model.graph.value_info[:]


def infer_values(
    model: Any, constants: Mapping[str, Constant], inputs: Sequence[str], nodes: Sequence[Node]
) -> dict[str, Value]:
    """Infer every activation of *model* (batch already bound).

    Large constants are replaced by their shapes first, so that nothing is copied.

    Raises:
        ModelLoadError: The shapes contradict each other, or one is absurd.
    """
    skeleton = ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    skeleton.graph.name = model.graph.name or "graph"
    skeleton.graph.node.extend(model.graph.node)
    skeleton.graph.output.extend(model.graph.output)
    for value in model.graph.input:
        if value.name not in constants:
            skeleton.graph.input.append(value)
    for tensor in model.graph.initializer:
        shape = tuple(tensor.dims)
        if prod(shape) <= _SMALL:
            skeleton.graph.initializer.append(tensor)
        else:
            skeleton.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, shape)
            )
    try:
        inferred = shape_inference.infer_shapes(
            skeleton, check_type=True, strict_mode=True, data_prop=True
        )
    except (
        shape_inference.InferenceError,
        checker.ValidationError,
        ValueError,
        RuntimeError,
    ) as error:
        if all(_is_known(node) for node in nodes):
            reason = " ".join(str(error).split())[:300]
            raise ModelLoadError(
                f"the shapes of the model contradict each other ({reason})", cure=_REEXPORT
            ) from error
        # strict inference stops at operators that onnx does not know; those are listed by name later
        inferred = skeleton
    return _collect(inferred.graph, inputs, nodes)


def _is_known(node: Node) -> bool:
    from onnx import defs

    return bool(defs.has(node.op, node.domain))


def _collect(graph: Any, inputs: Sequence[str], nodes: Sequence[Node]) -> dict[str, Value]:
    infos = {v.name: v for v in (*graph.value_info, *graph.output, *graph.input)}
    names = [*inputs, *(name for node in nodes for name in node.outputs if name)]
    values = {}
    for name in names:
        info = infos.get(name)
        values[name] = Value(name, None) if info is None else _value(info)
    return values


def _value(info: Any) -> Value:
    tensor = info.type.tensor_type
    dtype = dtype_name(tensor.elem_type) if tensor.elem_type != TensorProto.UNDEFINED else "unknown"
    if not tensor.HasField("shape"):
        return Value(info.name, None, dtype)
    dims = tensor.shape.dim
    if not all(d.HasField("dim_value") for d in dims):
        return Value(info.name, None, dtype)
    shape = tuple(d.dim_value for d in dims)
    if any(d < 1 for d in shape) or prod(shape) > MAX_ELEMENTS:
        raise ModelLoadError(
            f"the tensor {info.name!r} has dimensions {list(shape)}", cure=_REEXPORT
        )
    return Value(info.name, shape, dtype)
