"""Open dimensions of the inputs get their sizes: the batch, and whatever the caller names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv_converters.options import ReadOptions
from edgecv_converters.tensors import MAX_RANK

__all__ = ["bind"]


def bind(model: Any, options: ReadOptions) -> bool:
    """Give every open dimension of the inputs of a ModelProto a size, in place.

    A size that is given for one dimension holds for every dimension that the file calls by the same
    name. Declared shapes of intermediate tensors are dropped (inference computes them anew); outputs
    keep those dimensions that are numbers or bear such a name.

    Args:
        model: ``onnx.ModelProto``.
        options: The sizes; without any, an open batch (the first dimension) is 1.

    Returns:
        Whether an input had an open dimension.

    Raises:
        UnsupportedError: An input is no tensor, has no shape, or leaves another dimension open.
        InputError: A size for an input or a dimension that the file has not, or has otherwise.
        ModelLoadError: Two inputs have the same name.
    """
    constants = {t.name for t in model.graph.initializer}
    inputs = {v.name: v for v in model.graph.input if v.name not in constants}
    if len(inputs) < sum(v.name not in constants for v in model.graph.input):
        raise ModelLoadError(
            "two inputs have the same name", cure="The file is damaged; export the model again."
        )
    unknown = [name for name in options.shapes if name not in inputs]
    if unknown:
        raise InputError(
            f"the model has no input {unknown[0]!r}",
            cure=f"Its inputs: {', '.join(map(repr, inputs))}.",
        )
    for name, value in inputs.items():
        _check_rank(name, value, options.shapes.get(name))
    symbols = _symbols(inputs, options)
    _check_batch(inputs, options)
    # every size is found before the first is set, so that an error leaves the model as it came
    sizes = {name: _sizes(name, value, options, symbols) for name, value in inputs.items()}
    bound = False
    for name, value in inputs.items():
        dims = value.type.tensor_type.shape.dim
        while len(dims) < len(sizes[name]):
            dims.add()
        for dim, size in zip(dims, sizes[name], strict=True):
            bound = bound or not _is_fixed(dim)
            dim.dim_value = size
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols and not dim.HasField("dim_value"):
                dim.dim_value = symbols[dim.dim_param]
    del model.graph.value_info[:]
    return bound


def _is_fixed(dim: Any) -> bool:
    """Some exporters write 0 or -1 for an open dimension."""
    return bool(dim.HasField("dim_value") and dim.dim_value > 0)


def _check_rank(name: str, value: Any, asked: tuple[int, ...] | None) -> None:
    if not value.type.HasField("tensor_type"):
        raise UnsupportedError(
            f"the input {name!r} is not a tensor", cure="Export with example inputs."
        )
    if not value.type.tensor_type.HasField("shape"):
        if asked is None:
            raise UnsupportedError(
                f"the input {name!r} has no shape",
                cure=f"Bind it with --shape {name}=1x3x224x224 (its own sizes), or export with example inputs.",
            )
        value.type.tensor_type.shape.SetInParent()
    elif len(value.type.tensor_type.shape.dim) > MAX_RANK:
        raise ModelLoadError(
            f"the input {name!r} has {len(value.type.tensor_type.shape.dim)} dimensions",
            cure="The file is damaged; export the model again.",
        )
    elif asked is not None and len(asked) != len(value.type.tensor_type.shape.dim):
        rank = len(value.type.tensor_type.shape.dim)
        raise InputError(
            f"the input {name!r} has {rank} dimensions, and {len(asked)} sizes were given: {_text(asked)}",
            cure="Give one size for each dimension.",
        )


def _symbols(inputs: Mapping[str, Any], options: ReadOptions) -> dict[str, int]:
    """Name of an open dimension → its size."""
    found: dict[str, int] = {}
    for name, asked in options.shapes.items():
        for axis, dim in enumerate(inputs[name].type.tensor_type.shape.dim):
            if _is_fixed(dim) or not dim.dim_param:
                continue
            before = found.setdefault(dim.dim_param, asked[axis])
            if before != asked[axis]:
                raise InputError(
                    f"the dimension {dim.dim_param!r} would have two sizes, {before} and {asked[axis]}"
                    f" (dimension {axis} of the input {name!r})",
                    cure="Give the same size for dimensions of the same name.",
                )
    for value in inputs.values():
        dims = value.type.tensor_type.shape.dim
        if dims and not _is_fixed(dims[0]) and dims[0].dim_param:
            found.setdefault(dims[0].dim_param, options.batch or 1)
    return found


def _check_batch(inputs: Mapping[str, Any], options: ReadOptions) -> None:
    """A batch that no input leaves open must be the one that the file fixes."""
    left = {n: v.type.tensor_type.shape.dim for n, v in inputs.items() if n not in options.shapes}
    if options.batch is None or any(dims and not _is_fixed(dims[0]) for dims in left.values()):
        return
    for name, dims in left.items():
        if dims and dims[0].dim_value != options.batch:
            raise InputError(
                f"dimension 0 of the input {name!r} is {dims[0].dim_value} in the file, and --batch"
                f" {options.batch} was asked for",
                cure="Export the model with an open batch (torch: dynamic_axes), or leave --batch out.",
            )


def _sizes(
    name: str, value: Any, options: ReadOptions, symbols: Mapping[str, int]
) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    asked = options.shapes.get(name)
    if asked is not None:
        for axis, dim in enumerate(dims):
            if _is_fixed(dim) and dim.dim_value != asked[axis]:
                raise InputError(
                    f"dimension {axis} of the input {name!r} is {dim.dim_value} in the file, and {asked[axis]}"
                    " was asked for",
                    cure="Export the model with that dimension open, or repeat the file's size.",
                )
        return asked
    found = []
    for axis, dim in enumerate(dims):
        if _is_fixed(dim):
            found.append(dim.dim_value)
        elif dim.dim_param in symbols:
            found.append(symbols[dim.dim_param])
        elif axis == 0:
            found.append(options.batch or 1)
        else:
            said = dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
            raise UnsupportedError(
                f"dimension {axis} of the input {name!r} is {said}, not a number of at least 1",
                cure=f"Give its shape: --shape {name}={_text(_known(dims, options))}, a number for each"
                f" question mark (in Python: shapes={{{name!r}: …}}).",
            )
    return tuple(found)


def _known(dims: Any, options: ReadOptions) -> tuple[int | str, ...]:
    return tuple(
        dim.dim_value if _is_fixed(dim) else "?" if axis else options.batch or 1
        for axis, dim in enumerate(dims)
    )


def _text(sizes: tuple[int | str, ...]) -> str:
    return "x".join(map(str, sizes))
