"""Logical tensors as views of planned ones; copies are planned only where a consumer needs an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from edgecv.errors import UnsupportedError
from edgecv.spec.types import QuantParams
from edgecv_converters.layout import CopyPlan, Layout
from edgecv_converters.tflite.builder import PlanBuilder, per_tensor
from edgecv_converters.tflite.fitting import fit_slice, fit_transpose

__all__ = ["NHWC", "View", "ViewPlanner", "axis_order"]

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
    _bridges: dict[tuple[int, QuantParams], int] = field(default_factory=dict)

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
        # a scalar is written as one element: XNNPACK makes none
        wanted = (layout.shape if shape is None else shape) or (1,)
        total = prod(self.builder.tensors[view.tensor].shape)
        if layout.size == total and layout.is_row_major():
            return self.reshape(view.tensor, wanted, view.quant)
        # the same move in whatever shape it was asked for before
        row = layout.reshape((layout.size,))
        assert row is not None, "everything fits into one dimension"
        key = (view.tensor, row, ())
        if key not in self._copies:
            plan = layout.copy_plan(total)
            if plan is None:
                name = self.builder.tensors[view.tensor].name
                raise UnsupportedError(
                    f"the view {layout} of {name!r} is more than a slice and a transpose",
                    cure="Please report this with the ONNX file; as a cure, avoid slices of reshaped tensors.",
                )
            self._copies[key] = self._copy(view, plan, wanted)
        return self.reshape(self._copies[key], wanted, view.quant)

    def compact(self, view: View) -> View:
        """*view* itself when it holds its whole tensor in whatever order, else a part cut out in that order."""
        if view.layout.fills(prod(self.builder.tensors[view.tensor].shape)):
            return view
        sizes, order = view.layout.physical_order()
        split = view.layout.reshape(sizes)
        assert split is not None, "sizes are the layout's own"
        axes = axis_order(view.layout)
        shape = split.permute(order).shape if axes is None else view.layout.permute(axes).shape
        tensor = self.physical(replace(view, layout=split), order, shape)
        inverse = tuple(order.index(i) for i in range(len(order)))
        whole = Layout.row_major(tuple(sizes[i] for i in order)).permute(inverse)
        layout = whole.reshape(view.shape)
        assert layout is not None, "as the source's layout had that shape"
        return View(tensor, layout, view.quant)

    def aligned(self, first: View, second: View) -> tuple[View, View]:
        """Two views of the same logical shape in the same physical order and shape.

        Pictures keep NHWC and everything else its logical order, so that a residual branch is not
        transposed twice; where neither operand lies so, the less scattered one stays.
        """
        first, second = self.compact(first), self.compact(second)
        swap = _scatter(second.layout) < _scatter(first.layout)
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

    def laid_out(self, view: View) -> View:
        """*view* in a tensor of its own dimensions: pictures in NHWC, everything else in logical order."""
        order = NHWC if len(view.shape) == 4 else tuple(range(len(view.shape)))
        tensor = self.physical(view, order)
        inverse = tuple(order.index(axis) for axis in range(len(order)))
        layout = Layout.row_major(self.builder.tensors[tensor].shape).permute(inverse)
        return View(tensor, layout, view.quant)

    def _copy(self, view: View, plan: CopyPlan, wanted: tuple[int, ...]) -> int:
        build, quant = self.builder, view.quant
        tensor, root = view.tensor, _root(build.tensors[view.tensor].name)
        if plan.slice_shape is not None and plan.begin is not None and plan.slice_size is not None:
            joined = (plan.slice_shape, plan.begin, plan.slice_size)
            fitted = fit_slice(build.tensors[tensor].shape, *joined)
            shape, begin, size = joined if fitted is None else fitted
            tensor = self.reshape(tensor, shape, quant)
            result = build.activation(f"{root}:slice", size, quant)
            inputs = (tensor, build.integers(begin), build.integers(size))
            feature = "rank5" if len(shape) > 4 else ""
            why = "the consumer reads a part"
            tensor = build.emit("SLICE", inputs, (result,), why, feature=feature)
        if plan.perm is not None and plan.transpose_shape is not None:
            source = build.tensors[tensor].shape
            shape, perm = fit_transpose(source, plan.transpose_shape, plan.perm, wanted)
            tensor = self.reshape(tensor, shape, quant)
            result = build.activation(f"{root}:transpose", tuple(shape[i] for i in perm), quant)
            rank = len(perm)
            tensor = build.emit(
                "TRANSPOSE",
                (tensor, build.integers(perm)),
                (result,),
                "the consumer reads another order",
                feature=f"rank{min(rank, 7)}" if rank > 4 else "",
            )
        return tensor

    def dequantized(self, view: View) -> View:
        """The same values as float32."""
        if view.quant is None:
            return view
        # a part is cut out before it grows
        view = self.compact(view)
        build = self.builder
        known = build.tensors[view.tensor]
        key = (view.tensor, Layout.row_major(()), known.shape)
        if key not in self._copies:
            result = build.activation(f"{_root(known.name)}:float", known.shape, None)
            self._copies[key] = build.emit(
                "DEQUANTIZE", (view.tensor,), (result,), "the consumer runs in float"
            )
        return View(self._copies[key], view.layout, None)

    def quantized(
        self,
        view: View,
        quant: QuantParams,
        name: str,
        why: str = "from one quantizer to another, through float: exact",
    ) -> View:
        """The same values rounded to *quant*, as a new tensor *name*; *view* itself when they are already.

        From integers through float: one table in XNNPACK, and what ONNX means. The int8 QUANTIZE multiplies
        in 8 bits there, which is off by one in up to a quarter of the elements (6 µs against 4 per 64 Ki).
        """
        if view.quant == quant:
            return view
        view = self.compact(view)
        build = self.builder
        reason = "float to the source's quantizer" if view.quant is None else why
        view = self.dequantized(view)
        shape = build.tensors[view.tensor].shape
        result = build.tensor(name, shape, "int8", quantization=per_tensor(quant))
        build.emit("QUANTIZE", (view.tensor,), (result,), reason)
        build.locate(result, view.layout)
        return View(result, view.layout, quant)

    def bridged(self, view: View, quant: QuantParams, label: str, why: str) -> View:
        """*view* on a grid that the source does not have, as ``<tensor>:<label>``; once for all who ask.

        Args:
            view: The logical tensor.
            quant: Wanted parameters.
            label: What the bridge is for.
            why: The plan's reason.
        """
        if view.quant == quant:
            return view
        view = self.compact(view)
        key = (view.tensor, quant)
        if key not in self._bridges:
            name = f"{_root(self.builder.tensors[view.tensor].name)}:{label}"
            self._bridges[key] = self.quantized(view, quant, name, why).tensor
        return View(self._bridges[key], view.layout, quant)


def axis_order(layout: Layout) -> tuple[int, ...] | None:
    """Logical dimensions as they lie in memory, outer to inner; None where one lies in several pieces.

    >>> axis_order(Layout.row_major((1, 4, 6, 3)).permute((0, 3, 1, 2)))
    (0, 2, 3, 1)
    """
    if any(len(dim) > 1 for dim in layout.dims):
        return None
    rank = len(layout.dims)
    for order in ((NHWC,) if rank == 4 else ()) + (tuple(range(rank)),):
        strides = [layout.dims[axis][0].stride for axis in order if layout.dims[axis]]
        if strides == sorted(strides, reverse=True):
            return order
    # those of one element in front
    steps = [dim[0].stride if dim else layout.size for dim in layout.dims]
    return tuple(sorted(range(rank), key=lambda axis: -steps[axis]))


def _scatter(layout: Layout) -> int:
    """0 for the order in which kernels want a tensor, else the number of pieces that lie elsewhere."""
    natural = layout.permute(NHWC) if len(layout.shape) == 4 else layout
    return 0 if natural.is_row_major() else len(layout.physical_order()[0])


def _root(name: str) -> str:
    """Name of the tensor that *name* is derived from."""
    for suffix in (":reshape", ":slice", ":transpose", ":pad", ":float", ":regrid", ":symmetric"):
        name = name.removesuffix(suffix)
    return name
