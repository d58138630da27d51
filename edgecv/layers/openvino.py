"""OpenVINO IR: the tensors asked for as further results, which keeps operators from being fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.layers.taps import Array, Tap
from edgecv_runtimes.base import engine_failed, load_failed
from edgecv_runtimes.quiet import import_openvino

__all__ = ["OpenVINOTaps"]

_FLOAT: Final = "<Type: 'float32'>"
#: Operators between a FakeQuantize and the real numbers that it stands for; a Multiply is the last.
_DEQUANTIZING: Final = frozenset({"Convert", "Subtract", "Reshape", "Multiply"})
_ERRORS: Final = (RuntimeError, ValueError, TypeError, MemoryError, OverflowError)


class OpenVINOTaps:
    """An IR in OpenVINO, in float32 where it is not int8; see :class:`~edgecv.layers.taps.Tapped`."""

    def __init__(self, file: ModelFile) -> None:
        ov = import_openvino()
        self._core: Any = ov.Core()
        try:
            self._network: Any = self._core.read_model(file.body, file.weights or b"")
        except _ERRORS as error:
            raise load_failed("OpenVINO", error) from error
        steps = {q.name: q.scale for q in file.manifest.quantizers} if file.manifest else {}
        found = _taps(self._network, steps)
        self.taps: tuple[Tap, ...] = found[0]
        self._ops = found[1]
        self._wanted: tuple[str, ...] | None = None
        self._compiled: Any = None

    def read(self, feed: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Run once; see :class:`~edgecv.layers.taps.Tapped`."""
        given = self.taps[0].name
        inner = [name for name in names if name != given]
        try:
            if self._compiled is None or self._wanted != tuple(names):
                network = self._network.clone()
                ops = network.get_ordered_ops()
                network.add_outputs([ops[self._ops[name]].output(0) for name in inner])
                # they come in an order of their own: each is known by the operator in front of it
                fronts = [o.get_node().input_value(0).get_node() for o in network.outputs]
                place = {str(op.get_friendly_name()): at for at, op in enumerate(fronts)}
                self._results = [place[str(ops[self._ops[n]].get_friendly_name())] for n in inner]
                settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
                self._compiled = self._core.compile_model(network, "CPU", settings)
                self._wanted = tuple(names)
            results = self._compiled([np.ascontiguousarray(feed)])
            found = {
                name: np.array(results[at], np.float32)
                for name, at in zip(inner, self._results, strict=True)
            }
        except _ERRORS as error:
            raise engine_failed("OpenVINO", error) from error
        if given in names and feed.dtype.kind == "f":
            found[given] = feed
        return found


def _taps(network: Any, steps: Mapping[str, float]) -> tuple[tuple[Tap, ...], dict[str, int]]:
    """The taps, and tap → position of the operator that computes it."""
    taps: list[Tap] = []
    operators: dict[str, int] = {}
    # what leads to an operator: itself where it is a tap, else what leads to its inputs
    reached: dict[str, tuple[int, ...]] = {}
    # operator between a FakeQuantize and the end of its dequantization → the tap that is quantized
    quantized: dict[str, int] = {}
    # operator → its tap, without those that end a dequantization: they keep their names if quantized again
    direct: dict[str, int] = {}
    for at, op in enumerate(network.get_ordered_ops()):
        own, kind = str(op.get_friendly_name()), str(op.get_type_name())
        before = [str(source.get_node().get_friendly_name()) for source in op.input_values()]
        sources = tuple(dict.fromkeys(i for name in before for i in reached.get(name, ())))
        if kind == "Result" or (not sources and kind != "Parameter"):
            continue
        if kind == "FakeQuantize" and before[0] in direct:
            quantized[own] = direct[before[0]]
        elif kind in _DEQUANTIZING and before and before[0] in quantized:
            quantized[own] = quantized[before[0]]
        if kind != "Parameter" and (
            not op.get_output_size() or str(op.get_output_element_type(0)) != _FLOAT
        ):
            reached[own] = sources
            continue
        names = tuple(sorted(str(name) for name in op.output(0).get_names()))
        if kind == "Multiply" and own in quantized:
            names += _taken_over(taps, quantized.pop(own))
        else:
            direct[own] = len(taps)
        step = next((steps[name] for name in names if name in steps), None)
        reached[own] = (len(taps),)
        # an importer may give two operators one name
        name = own if own not in operators else f"{own}#{at}"
        operators[name] = at
        taps.append(Tap(name, names, sources, step))
    return tuple(taps), operators


def _taken_over(taps: list[Tap], at: int) -> tuple[str, ...]:
    """The names of a quantized tensor, which its dequantization has from now on.

    The tensor itself may lack a ReLU that lies in the quantizer's clamping. An input keeps its names.
    """
    plain = taps[at]
    if not plain.sources:
        return ()
    taps[at] = replace(plain, known_as=(), step=None)
    return plain.known_as
