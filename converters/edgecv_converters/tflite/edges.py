"""Inputs and outputs of a plan: their order of dimensions, and what they are when that is not int8.

Between the edge and a quantized tensor stands one QUANTIZE or DEQUANTIZE; the tensor inside is called
``<name>:int8``. From uint8 and to it nothing is rounded: the same scale, and a zero point that is 128 apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgecv.spec.types import QuantParams
from edgecv_converters.grids import no_grid
from edgecv_converters.layout import Layout
from edgecv_converters.options import WriteOptions
from edgecv_converters.tflite.builder import per_tensor
from edgecv_converters.tflite.views import NHWC, View

if TYPE_CHECKING:
    from edgecv_converters.tflite.lowering import Lowering

__all__ = ["add_input", "add_output"]

#: Types of tensors that hold real numbers.
_REAL: Final = ("float32", "int8", "uint8")


def add_input(low: Lowering, name: str, write: WriteOptions) -> int:
    """Plan the graph input *name* and bind its view.

    Raises:
        UnsupportedError: It shall be integers, and the source does not quantize it.
    """
    value, build = low.graph.values[name], low.builder
    logical = low.graph.shape(name)
    order = _order(logical, write)
    physical = tuple(logical[axis] for axis in order)
    # pictures come as NHWC; the graph sees NCHW through the view
    layout = _seen(physical, order)
    inside, dtype = value.quant, _dtype(name, "input", value.quant, value.dtype, write)
    edge = inside.as_dtype(dtype) if inside is not None and dtype != "float32" else None
    index = build.tensor(
        name, physical, dtype, role="input", quantization=per_tensor(edge), layout=layout
    )
    low.views[name] = View(index, layout, edge)
    if inside is not None and edge != inside:
        result = build.tensor(
            f"{name}:int8", physical, "int8", quantization=per_tensor(inside), layout=layout
        )
        why = "float to the source's quantizer" if edge is None else "uint8 to int8: minus 128"
        build.emit("QUANTIZE", (index,), (result,), why)
        low.views[name] = View(result, layout, inside)
    return index


def add_output(low: Lowering, name: str, taken: tuple[int, ...], write: WriteOptions) -> int:
    """Plan the graph output *name*.

    Args:
        low: The lowering; the value is bound.
        name: Of the output.
        taken: Tensors that are outputs already.
        write: What it shall be.

    Raises:
        UnsupportedError: It shall be integers, and the source does not quantize it.
    """
    view, build = low.views[name], low.builder
    order = _order(view.shape, write)
    index = low.planner.physical(view, order)
    dtype = _dtype(name, "output", view.quant, build.tensors[index].dtype, write)
    if view.quant is not None and dtype != "int8":
        if index != view.tensor or build.tensors[index].name == name:
            build.rename(index, f"{name}:int8")
        return _beyond(low, name, index, view.quant, order, dtype)
    if index in taken:
        # two outputs with the same elements: each has a tensor of its own name
        shape = build.tensors[index].shape
        result = build.activation(name, shape, view.quant)
        inputs = (index, build.integers(shape))
        return build.emit("RESHAPE", inputs, (result,), f"also the output {name!r}")
    if index != view.tensor:
        build.rename(index, name)
    return index


def _beyond(
    low: Lowering, name: str, index: int, quant: QuantParams, order: tuple[int, ...], dtype: str
) -> int:
    """The output *name* behind the int8 tensor *index* that holds it."""
    build = low.builder
    edge = None if dtype == "float32" else quant.as_dtype(dtype)
    shape = build.tensors[index].shape
    result = build.tensor(
        name, shape, dtype, quantization=per_tensor(edge), layout=_seen(shape, order)
    )
    if edge is None:
        return build.emit("DEQUANTIZE", (index,), (result,), "the output is float")
    return build.emit("QUANTIZE", (index,), (result,), "int8 to uint8: plus 128")


def _order(logical: tuple[int, ...], write: WriteOptions) -> tuple[int, ...]:
    """Order of the dimensions of an edge in the file."""
    pictures = len(logical) == 4 and write.layout != "nchw"
    return NHWC if pictures else tuple(range(len(logical)))


def _seen(physical: tuple[int, ...], order: tuple[int, ...]) -> Layout:
    """A row-major tensor whose dimensions are in *order*, as the graph sees it."""
    return Layout.row_major(physical).permute(tuple(order.index(axis) for axis in sorted(order)))


def _dtype(name: str, edge: str, quant: QuantParams | None, dtype: str, write: WriteOptions) -> str:
    """What the tensor at the edge is."""
    if quant is not None:
        return write.io or "int8"
    if write.io in (None, "float32") or dtype not in _REAL:
        return "float32"
    raise no_grid(name, edge, str(write.io))
