"""Shapes and types of every activation, by ONNX's own inference from static inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

from onnx import ModelProto, TensorProto, checker, helper, shape_inference

from edgecv.errors import ModelLoadError
from edgecv_converters.ir import Constant, Node, Value
from edgecv_converters.nodes import schema_of
from edgecv_converters.tensors import MAX_ELEMENTS, MAX_RANK, dtype_name

__all__ = ["infer_values"]

#: Constants up to this many elements may be shapes, axes or pads, which inference needs to see.
_SMALL: Final = 64
#: Elements; a bias of 65,536 channels is a vector, too.
_LONGEST_SHAPE: Final = 2**16
_REFUSALS: Final = (
    shape_inference.InferenceError,
    checker.ValidationError,
    ValueError,
    RuntimeError,
)
_REEXPORT = "The file is damaged; export the model again."
#: Operators of other domains that have rules, and ONNX's own one with the same shapes and types.
_STAND_INS: Final = {("com.microsoft", "Gelu"): "Identity"}


def infer_values(
    model: Any,
    constants: Mapping[str, Constant],
    inputs: Sequence[str],
    nodes: Sequence[Node],
    *,
    strict: bool = True,
) -> dict[str, Value]:
    """Infer every activation of *model*, whose inputs are static.

    Large constants are replaced by their shapes first, so that nothing is copied.

    Args:
        model: ``onnx.ModelProto``.
        constants: By name.
        inputs: Names of those that are no constants.
        nodes: What the model computes.
        strict: Whether contradictions are errors; else what follows them has no shape.

    Raises:
        ModelLoadError: The shapes contradict each other, or one is absurd.
    """
    skeleton = ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    skeleton.graph.name = model.graph.name or "graph"
    skeleton.graph.node.extend(model.graph.node)
    for proto in skeleton.graph.node:
        known = _STAND_INS.get((proto.domain, proto.op_type))
        if known is not None:
            proto.domain, proto.op_type = "", known
            del proto.attribute[:]
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
        inferred = _infer(skeleton)
        infos = _infos(inferred.graph)
        found = [infos.get(name) for node in nodes for name in node.outputs if name]
        if not all(map(_is_static, found)) and all(map(_is_harmless, found)):
            inferred = _infer(skeleton, data_prop=True)
    except _REFUSALS as error:
        if strict and all(
            (node.domain, node.op) in _STAND_INS or schema_of(node.op, node.domain, node.version)
            for node in nodes
        ):
            reason = " ".join(str(error).split())[:300]
            raise ModelLoadError(
                f"the shapes of the model contradict each other ({reason})",
                cure="The file is damaged, or its operators fix sizes for other inputs; export the model again.",
            ) from error
        inferred = _infer_what_is_known(skeleton)
    return _collect(inferred.graph, inputs, nodes)


def _infer(skeleton: Any, *, strict: bool = True, data_prop: bool = False) -> Any:
    return shape_inference.infer_shapes(
        skeleton, check_type=strict, strict_mode=strict, data_prop=data_prop
    )


def _infer_what_is_known(skeleton: Any) -> Any:
    """Around operators that onnx does not know; those are listed by name later."""
    try:
        return _infer(skeleton, strict=False)
    except _REFUSALS:
        return skeleton


def _is_harmless(info: Any) -> bool:
    """Whether data propagation that meets this tensor stays small.

    It follows the numbers in shapes through Cast, Add, Concat, …, and allocates one record for each element
    of any vector that meets such an operator: gigabytes for a Range of a few bytes (onnx 1.23). Vectors
    that are shapes are short, and their length is known without their elements.
    """
    if info is None or not info.type.tensor_type.HasField("shape"):
        return False
    dims = info.type.tensor_type.shape.dim
    return len(dims) != 1 or 0 <= _size(dims[0]) <= _LONGEST_SHAPE


def _is_static(info: Any) -> bool:
    if info is None or not info.type.tensor_type.HasField("shape"):
        return False
    return all(_size(dim) >= 0 for dim in info.type.tensor_type.shape.dim)


def _size(dim: Any) -> int:
    return int(dim.dim_value) if dim.HasField("dim_value") else -1


def _infos(graph: Any) -> dict[str, Any]:
    return {v.name: v for v in (*graph.value_info, *graph.output, *graph.input)}


def _collect(graph: Any, inputs: Sequence[str], nodes: Sequence[Node]) -> dict[str, Value]:
    infos = _infos(graph)
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
    if len(dims) > MAX_RANK:
        raise ModelLoadError(f"the tensor {info.name!r} has {len(dims)} dimensions", cure=_REEXPORT)
    shape = tuple(d.dim_value for d in dims)
    if any(d < 0 for d in shape) or prod(shape) > MAX_ELEMENTS:
        raise ModelLoadError(
            f"the tensor {info.name!r} has dimensions {list(shape)}", cure=_REEXPORT
        )
    return Value(info.name, shape, dtype)
