"""ONNX tensors to NumPy, with every size checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from onnx import TensorProto

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters.ir import Array

__all__ = ["MAX_ELEMENTS", "MAX_RANK", "dtype_name", "item_bytes", "to_array"]

#: No tensor of a model for a board is larger; protobuf ends at 2 GiB anyway.
MAX_ELEMENTS: Final = 2**31 - 1

#: What NumPy 1 holds.
MAX_RANK: Final = 32

#: element type → (NumPy dtype, field that holds the elements when raw_data does not)
_TYPES: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        TensorProto.FLOAT: ("float32", "float_data"),
        TensorProto.DOUBLE: ("float64", "double_data"),
        TensorProto.FLOAT16: ("float16", "int32_data"),
        TensorProto.INT8: ("int8", "int32_data"),
        TensorProto.UINT8: ("uint8", "int32_data"),
        TensorProto.INT16: ("int16", "int32_data"),
        TensorProto.UINT16: ("uint16", "int32_data"),
        TensorProto.INT32: ("int32", "int32_data"),
        TensorProto.INT64: ("int64", "int64_data"),
        TensorProto.BOOL: ("bool", "int32_data"),
    }
)
_REEXPORT = "The file is damaged; export the model again."


def dtype_name(element_type: int) -> str:
    """NumPy name of an ONNX element type; ``"type<n>"`` for those that edgecv does not read."""
    return _TYPES[element_type][0] if element_type in _TYPES else f"type{element_type}"


def item_bytes(tensor: Any) -> int:
    """Bytes of one element of a TensorProto.

    Raises:
        UnsupportedError: An element type that no operator here uses.
    """
    if tensor.data_type not in _TYPES:
        known = tensor.data_type in TensorProto.DataType.values()
        said = TensorProto.DataType.Name(tensor.data_type) if known else tensor.data_type
        raise UnsupportedError(
            f"the constant {tensor.name!r} has element type {said}",
            cure=f"Types that are read: {', '.join(d for d, _ in _TYPES.values())}.",
        )
    return int(np.dtype(_TYPES[tensor.data_type][0]).itemsize)


def to_array(tensor: Any) -> Array:
    """Elements of a TensorProto, read-only.

    Args:
        tensor: ``onnx.TensorProto``.

    Raises:
        UnsupportedError: External data, or an element type that no operator here uses.
        ModelLoadError: The size of the data is not what the dimensions say, or a float is not finite.
    """
    name = tensor.name
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise UnsupportedError(
            f"the initializer {name!r} keeps its data in another file",
            cure="Convert from the path of the model, or save it as one file:"
            " onnx.save(onnx.load(path), out, save_as_external_data=False).",
        )
    item_bytes(tensor)
    dtype, field = _TYPES[tensor.data_type]
    if len(tensor.dims) > MAX_RANK:
        raise ModelLoadError(
            f"the constant {name!r} has {len(tensor.dims)} dimensions", cure=_REEXPORT
        )
    shape = tuple(tensor.dims)
    if any(d < 0 for d in shape) or prod(shape) > MAX_ELEMENTS:
        raise ModelLoadError(f"the constant {name!r} has dimensions {list(shape)}", cure=_REEXPORT)
    array = _elements(tensor, dtype, field)
    if array.size != prod(shape):
        raise ModelLoadError(
            f"the constant {name!r} has dimensions {list(shape)} and {array.size} elements",
            cure=_REEXPORT,
        )
    # single infinities are how some exporters write "no bound"
    if array.dtype.kind == "f" and array.size > 1 and not np.isfinite(array).all():
        raise ModelLoadError(
            f"the constant {name!r} holds a value that is not finite",
            cure="Check the training run for NaN.",
        )
    array = array.reshape(shape)
    array.flags.writeable = False
    return array


def _elements(tensor: Any, dtype: str, field: str) -> Array:
    raw = tensor.raw_data
    if raw:
        whole, rest = divmod(len(raw), np.dtype(dtype).itemsize)
        if rest:
            raise ModelLoadError(
                f"the constant {tensor.name!r} has {len(raw)} bytes, no multiple of {dtype}'s size",
                cure=_REEXPORT,
            )
        return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"), whole).astype(
            dtype, copy=False
        )
    listed = np.asarray(getattr(tensor, field))
    kept = np.uint16 if dtype == "float16" else np.dtype(dtype)
    stored = listed.astype(kept)
    # small types are listed in fields of larger ones
    wrong = np.flatnonzero(stored.astype(np.int64) != listed)
    if field == "int32_data" and wrong.size:
        raise ModelLoadError(
            f"element {wrong[0]} of the constant {tensor.name!r} is {listed[wrong[0]]}, outside {dtype}",
            cure=_REEXPORT,
        )
    return stored.view(np.float16) if dtype == "float16" else stored
