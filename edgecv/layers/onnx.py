"""ONNX: ONNX Runtime without optimizations, with the tensors asked for as further outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.layers.taps import Array, Tap
from edgecv_converters.reader import parse
from edgecv_runtimes.onnxruntime import OnnxRuntimeBackend

__all__ = ["OnnxTaps"]


class OnnxTaps:
    """An ONNX file in ONNX Runtime; see :class:`~edgecv.layers.taps.Tapped`.

    A quantizer and the dequantizer behind it are one tap: its values are what the rest of the graph computes
    with, and it answers to the name of the tensor in front of them, too.
    """

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._model = parse(file.body)
        self.taps: tuple[Tap, ...] = _taps(self._model.graph)
        self._wanted: tuple[str, ...] | None = None
        self._backend: OnnxRuntimeBackend | None = None

    def read(self, feed: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Run once; see :class:`~edgecv.layers.taps.Tapped`."""
        given = self.taps[0].name
        if self._backend is None or self._wanted != tuple(names):
            self._backend = self._start([name for name in names if name != given])
            self._wanted = tuple(names)
        found = {given: feed, **self._backend.infer({given: feed})}
        return {
            name: found[name].astype(np.float32, copy=False)
            for name in names
            if found[name].dtype.kind == "f"
        }

    def _start(self, names: Sequence[str]) -> OnnxRuntimeBackend:
        from onnx import helper

        model = type(self._model).FromString(self._model.SerializeToString())
        known = {output.name for output in model.graph.output}
        model.graph.output.extend(
            helper.make_empty_tensor_value_info(name) for name in names if name not in known
        )
        altered = ModelFile("onnx", None, model.SerializeToString(), None, None, "unsigned")
        return OnnxRuntimeBackend(altered, threads=1, optimize=False)


def _taps(graph: Any) -> tuple[Tap, ...]:
    constants = {tensor.name for tensor in graph.initializer}
    scales = {t.name: t for t in graph.initializer}
    quantizers = {n.output[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
    taps: list[Tap] = []
    position: dict[str, int] = {}

    def add(name: str, sources: tuple[int, ...], step: float | None = None) -> None:
        position[name] = len(taps)
        taps.append(Tap(name, (name,), sources, step))

    for given in graph.input:
        if given.name not in constants:
            add(given.name, ())
    for node in graph.node:
        sources = tuple(dict.fromkeys(position[name] for name in node.input if name in position))
        if not sources:
            continue
        quantizer = quantizers.get(node.input[0])
        if node.op_type == "QuantizeLinear":
            # integers: no tap, but a way through
            position[node.output[0]] = sources[0]
        elif node.op_type == "DequantizeLinear" and quantizer is not None:
            _merge(
                taps, position, quantizer.input[0], node.output[0], _scalar(scales, node.input[1])
            )
        else:
            for name in filter(None, node.output):
                add(name, sources)
    return tuple(taps)


def _merge(
    taps: list[Tap], position: dict[str, int], before: str, after: str, step: float | None
) -> None:
    """One tap for a tensor and what its quantizer makes of it; a second quantizer gets one of its own."""
    at = position[before]
    plain = taps[at]
    if plain.step is None and plain.sources:
        taps[at] = Tap(after, (after, before), plain.sources, step)
        position[after] = at
    else:
        position[after] = len(taps)
        taps.append(Tap(after, (after,), (at,), step))


def _scalar(constants: Mapping[str, Any], name: str) -> float | None:
    from onnx import numpy_helper

    if name not in constants:
        return None
    values = numpy_helper.to_array(constants[name])
    return float(values.reshape(-1)[0]) if values.size == 1 else None
