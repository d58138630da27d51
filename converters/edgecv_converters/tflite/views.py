"""Logical tensors as views of planned ones; copies are planned only where a consumer needs an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from edgecv.errors import UnsupportedError
from edgecv.spec.types import QuantParams
from edgecv_converters.layout import CopyPlan, Layout
from edgecv_converters.tflite.builder import PlanBuilder, per_tensor

__all__ = ["NHWC", "View", "ViewPlanner"]

#: Order in which a logical NCHW tensor is asked for by image operators.
NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class View:
    """One logical tensor.

    Attributes:
        tensor: Index of the planned tensor that holds the elements.
        layout: Where they are in it.
        quant: int8 parameters, or None for float32.
    """

    tensor: int
    layout: Layout
    quant: QuantParams | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical shape."""
        return self.layout.shape


@dataclass
class ViewPlanner:
    """Plans the copies that bring views into an order; each copy once, however many consumers ask.

    Attributes:
        builder: Receives the operators.
    """

    builder: PlanBuilder
    _copies: dict[tuple[int, Layout, tuple[int, ...]], int] = field(default_factory=dict)

    def physical(
        self, view: View, order: Sequence[int] | None = None, shape: tuple[int, ...] | None = None
    ) -> int:
        """A planned tensor that holds *view*'s elements row-major, after permuting its dimensions.

        Args:
            view: The logical tensor.
            order: Permutation of the logical dimensions; None keeps them.
            shape: Shape to give the result instead of the permuted logical one; as many elements.

        Raises:
            UnsupportedError: The view is no pattern that one slice and one transpose can gather.
        """
        layout = view.layout if order is None else view.layout.permute(order)
        wanted = layout.shape if shape is None else shape
        total = prod(self.builder.tensors[view.tensor].shape)
        if layout.size == total and layout.is_row_major():
            return self.reshape(view.tensor, wanted, view.quant)
        key = (view.tensor, layout, wanted)
        if key not in self._copies:
            plan = layout.copy_plan(total)
            if plan is None:
                name = self.builder.tensors[view.tensor].name
                raise UnsupportedError(
                    f"the view {layout} of {name!r} is more than a slice and a transpose",
                    cure="Please report this with the ONNX file; as a cure, avoid slices of reshaped tensors.",
                )
            self._copies[key] = self.reshape(self._copy(view, plan), wanted, view.quant)
        return self._copies[key]

    def compact(self, view: View) -> View:
        """*view* itself when it holds its whole tensor in whatever order, else a copy in logical order."""
        if view.layout.fills(prod(self.builder.tensors[view.tensor].shape)):
            return view
        return View(self.physical(view), Layout.row_major(view.shape), view.quant)

    def aligned(self, first: View, second: View) -> tuple[View, View]:
        """Two views of the same logical shape in the same physical order and shape.

        The operand that is in logical order is brought into the other's order: image tensors keep
        NHWC, and a residual branch is not transposed twice.
        """
        first, second = self.compact(first), self.compact(second)
        swap = first.layout.is_row_major() and not second.layout.is_row_major()
        base, other = (second, first) if swap else (first, second)
        sizes, order = base.layout.physical_order()
        split = other.layout.reshape(sizes)
        if split is None:
            both = [
                View(self.physical(v), Layout.row_major(v.shape), v.quant) for v in (first, second)
            ]
            return both[0], both[1]
        shape = self.builder.tensors[base.tensor].shape
        moved = View(
            self.physical(replace(other, layout=split), order, shape), base.layout, other.quant
        )
        return (moved, base) if swap else (base, moved)

    def reshape(self, tensor: int, shape: tuple[int, ...], quant: QuantParams | None) -> int:
        """Tensor *tensor* with another shape; itself when it has that shape."""
        known = self.builder.tensors[tensor]
        if known.shape == tuple(shape):
            return tensor
        key = (tensor, Layout.row_major(known.shape), tuple(shape))
        if key not in self._copies:
            result = self.builder.activation(f"{_root(known.name)}:reshape", tuple(shape), quant)
            inputs = (tensor, self.builder.integers(shape))
            self._copies[key] = self.builder.emit(
                "RESHAPE", inputs, (result,), "a shape that the consumer needs"
            )
        return self._copies[key]

    def _copy(self, view: View, plan: CopyPlan) -> int:
        build, quant = self.builder, view.quant
        tensor, root = view.tensor, _root(build.tensors[view.tensor].name)
        if plan.slice_shape is not None and plan.begin is not None and plan.slice_size is not None:
            tensor = self.reshape(tensor, plan.slice_shape, quant)
            result = build.activation(f"{root}:slice", plan.slice_size, quant)
            inputs = (tensor, build.integers(plan.begin), build.integers(plan.slice_size))
            tensor = build.emit("SLICE", inputs, (result,), "the consumer reads a part")
        if plan.perm is not None and plan.transpose_shape is not None:
            tensor = self.reshape(tensor, plan.transpose_shape, quant)
            shape = tuple(plan.transpose_shape[axis] for axis in plan.perm)
            result = build.activation(f"{root}:transpose", shape, quant)
            feature = "rank5" if len(plan.perm) > 4 else ""
            tensor = build.emit(
                "TRANSPOSE",
                (tensor, build.integers(plan.perm)),
                (result,),
                "the consumer reads another order",
                feature=feature,
            )
        return tensor

    def dequantized(self, view: View) -> View:
        """The same values as float32."""
        if view.quant is None:
            return view
        build = self.builder
        known = build.tensors[view.tensor]
        key = (view.tensor, Layout.row_major(()), known.shape)
        if key not in self._copies:
            result = build.activation(f"{_root(known.name)}:float", known.shape, None)
            self._copies[key] = build.emit(
                "DEQUANTIZE", (view.tensor,), (result,), "the consumer runs in float"
            )
        return View(self._copies[key], view.layout, None)

    def quantized(self, view: View, quant: QuantParams, name: str) -> View:
        """The same values rounded to *quant*, as a new tensor *name*; *view* itself when they are already."""
        if view.quant == quant:
            return view
        view = self.compact(view)
        build = self.builder
        shape = build.tensors[view.tensor].shape
        result = build.tensor(name, shape, "int8", quantization=per_tensor(quant))
        reason = (
            "float to the source's quantizer"
            if view.quant is None
            else "from one quantizer to another"
        )
        build.emit("QUANTIZE", (view.tensor,), (result,), reason)
        build.locate(result, view.layout)
        return View(result, view.layout, quant)


def _root(name: str) -> str:
    """Name of the tensor that *name* is derived from."""
    for suffix in (":reshape", ":slice", ":transpose", ":float"):
        name = name.removesuffix(suffix)
    return name
