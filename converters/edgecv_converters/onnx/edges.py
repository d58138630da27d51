"""Inputs and outputs of an ONNX file in another type or order of dimensions; what is computed stays the same.

A float edge that becomes the integers of its own QuantizeLinear or DequantizeLinear loses that operator.
Otherwise operators are put in between: DequantizeLinear, QuantizeLinear (of numbers that lie on the grid, so
that nothing is rounded), Transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgecv.errors import UnsupportedError
from edgecv.spec.types import QuantParams
from edgecv_converters.grids import edge_grids, no_grid
from edgecv_converters.ir import Graph
from edgecv_converters.options import WriteOptions
from edgecv_converters.reader import parse, read

__all__ = ["with_edges"]

_TYPES: Final = {
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "float32": TensorProto.FLOAT,
}
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def with_edges(source: bytes, write: WriteOptions) -> bytes:
    """*source* with the edge that *write* asks for; the same bytes where it asks for nothing else.

    Args:
        source: A whole ONNX file with static shapes.
        write: What stands at the edge; where it says nothing, the source's.

    Raises:
        UnsupportedError: An edge shall be integers, and the source does not quantize it.
    """
    if write.io is None and write.layout != "nhwc":
        return source
    model, graph = parse(source), read(source)
    work = _Edges(model, graph, write)
    changed = [work.input(value) for value in model.graph.input if value.name in graph.inputs]
    changed += [work.output(value) for value in model.graph.output]
    return work.finish() if any(changed) else source


@dataclass(frozen=True)
class _Step:
    """An operator between the edge and the source: its type, its parameters, its attributes."""

    op: str
    grid: QuantParams | None = None
    perm: tuple[int, ...] = ()


class _Edges:
    """One file being rewritten."""

    def __init__(self, model: Any, graph: Graph, write: WriteOptions) -> None:
        self._model, self._graph, self._write = model, graph, write
        self._grids = edge_grids(graph)
        self._names = {*graph.values, *graph.constants}
        self._nodes = [type(n).FromString(n.SerializeToString()) for n in model.graph.node]
        self._before: list[Any] = []
        self._after: list[Any] = []

    def input(self, value: Any) -> bool:
        """Rewrite one graph input; whether there was anything to do."""
        name = value.name
        steps, turned = self._steps(name, "input", into=False)
        if not steps:
            return False
        if name in self._graph.outputs:
            raise UnsupportedError(
                f"the output {name!r} is the input itself", cure="Export the model without it."
            )
        readers = [n for n in self._nodes if name in n.input]
        absorbed = self._has_grid(name, steps[-1].grid) and not any(
            n.output[0] in self._graph.outputs for n in readers
        )
        result = self._chain(self._before, name, steps[: len(steps) - absorbed])
        if absorbed:
            # what a QuantizeLinear would write is there already
            self._nodes = [n for n in self._nodes if n not in readers]
            for node in readers:
                self._rename_readers(node.output[0], result)
        else:
            self._rename_readers(name, result)
        self._retype(value, turned)
        return True

    def output(self, value: Any) -> bool:
        """Rewrite one graph output; whether there was anything to do."""
        name = value.name
        steps, turned = self._steps(name, "output", into=True)
        if not steps:
            return False
        writer = next(n for n in self._nodes if name in n.output)
        start = inner = self._unique(f"{name}/inside")
        self._rename(name, inner)
        if self._has_grid(name, steps[0].grid):
            # the integers are there already
            start, steps = writer.input[0], steps[1:]
            if not any(inner in n.input for n in self._nodes):
                self._nodes.remove(writer)
        if not steps and start not in (*self._graph.inputs, *self._graph.outputs):
            self._rename(start, name)
        else:
            self._chain(self._after, start, steps or [_Step("Identity")], name)
        self._retype(value, turned)
        return True

    def finish(self) -> bytes:
        """The file."""
        graph = self._model.graph
        edge = {v.name for v in (*graph.input, *graph.output)}
        # shapes that were written down for what had these names before
        kept = [
            type(v).FromString(v.SerializeToString())
            for v in graph.value_info
            if v.name not in edge
        ]
        for field, items in (
            (graph.node, [*self._before, *self._nodes, *self._after]),
            (graph.value_info, kept),
        ):
            del field[:]
            field.extend(items)
        data: bytes = self._model.SerializeToString(deterministic=True)
        return data

    def _steps(self, name: str, edge: str, *, into: bool) -> tuple[list[_Step], bool]:
        """Operators between the source and an edge, and whether the edge has another order of dimensions."""
        steps = self._conversion(name, edge, into=into)
        turned = self._write.layout == "nhwc" and len(self._graph.shape(name)) == 4
        if turned:
            # of floats, between two roundings: OpenVINO runs a convolution behind turned integers in float
            place = int(bool(steps) and steps[0].op == "DequantizeLinear")
            steps.insert(place, _Step("Transpose", perm=_TO_NHWC if into else _TO_NCHW))
        return steps, turned

    def _conversion(self, name: str, edge: str, *, into: bool) -> list[_Step]:
        """Operators from the edge's new type to the source's, or *into* the new one."""
        old, new = self._graph.values[name].dtype, self._write.io
        if new in (None, old) or old not in _TYPES:
            return []
        grid = self._grids.get(name)
        if grid is None:
            raise no_grid(name, edge, str(new))
        before, after = (old, new) if into else (new, old)
        steps = []
        if before != "float32":
            steps.append(_Step("DequantizeLinear", grid.as_dtype(str(before))))
        if after != "float32":
            steps.append(_Step("QuantizeLinear", grid.as_dtype(str(after))))
        return steps

    def _has_grid(self, name: str, grid: QuantParams | None) -> bool:
        """Whether the source itself rounds the float numbers at this edge to *grid*."""
        own = self._grids.get(name) if self._graph.values[name].dtype == "float32" else None
        return own is not None and own == grid

    def _chain(
        self, nodes: list[Any], start: str, steps: Sequence[_Step], end: str | None = None
    ) -> str:
        """Append operators from *start* to *end* (a new name where that is None), which is returned."""
        edge = end or start
        for position, step in enumerate(steps):
            last = position == len(steps) - 1
            target = end if last and end is not None else self._unique(f"{edge}/edge")
            inputs = [start, *self._parameters(target, step.grid)]
            node = helper.make_node(step.op, inputs, [target], name=f"edge:{target}")
            if step.perm:
                node.attribute.append(helper.make_attribute("perm", step.perm))
            nodes.append(node)
            start = target
        return start

    def _parameters(self, tensor: str, grid: QuantParams | None) -> list[str]:
        if grid is None:
            return []
        arrays = {
            "scale": np.float32(grid.scale),
            "zero_point": np.dtype(grid.dtype).type(grid.zero_point),
        }
        names = [self._unique(f"{tensor}/{kind}") for kind in arrays]
        self._model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(array), name)
            for name, array in zip(names, arrays.values(), strict=True)
        )
        return names

    def _rename(self, old: str, new: str) -> None:
        for node in self._nodes:
            node.output[:] = [new if name == old else name for name in node.output]
        self._rename_readers(old, new)

    def _rename_readers(self, old: str, new: str) -> None:
        for node in self._nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def _retype(self, value: Any, turned: bool) -> None:
        """Give an edge its new type and order of dimensions."""
        tensor = value.type.tensor_type
        if self._write.io is not None and value.name in self._grids:
            tensor.elem_type = _TYPES[self._write.io]
        if turned:
            sizes = [self._graph.shape(value.name)[axis] for axis in _TO_NHWC]
            del tensor.shape.dim[:]
            for size in sizes:
                tensor.shape.dim.add().dim_value = size

    def _unique(self, name: str) -> str:
        unique, number = name, 2
        while unique in self._names:
            unique, number = f"{name}:{number}", number + 1
        self._names.add(unique)
        return unique
