"""TFLite: every tensor kept, builtin kernels (a delegate keeps what is inside a partition to itself)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.layers.taps import Array, Tap
from edgecv_runtimes.base import engine_failed, load_failed
from edgecv_runtimes.quiet import import_litert

__all__ = ["LiteRTTaps"]

_ERRORS: Final = (RuntimeError, ValueError, TypeError, MemoryError)


class LiteRTTaps:
    """A TFLite file in LiteRT; see :class:`~edgecv.layers.taps.Tapped`."""

    def __init__(self, file: ModelFile) -> None:
        litert = import_litert()
        try:
            self._engine: Any = litert.Interpreter(
                model_content=file.body,
                num_threads=1,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._engine.allocate_tensors()
        except _ERRORS as error:
            raise load_failed("LiteRT", error) from error
        self._details = {d["index"]: d for d in self._engine.get_tensor_details()}
        self._positions: dict[int, int] = {}
        self.taps: tuple[Tap, ...] = self._taps()
        self._indices = {self.taps[at].name: index for index, at in self._positions.items()}

    def _taps(self) -> tuple[Tap, ...]:
        taps: list[Tap] = []
        for detail in self._engine.get_input_details():
            self._add(taps, detail["index"], ())
        for op in self._engine._get_ops_details():
            sources = tuple(
                dict.fromkeys(self._positions[i] for i in op["inputs"] if i in self._positions)
            )
            if not sources:
                continue
            for index in op["outputs"]:
                self._add(taps, index, sources)
        return tuple(taps)

    def _add(self, taps: list[Tap], index: int, sources: tuple[int, ...]) -> None:
        detail = self._details[index]
        scales = detail["quantization_parameters"]["scales"]
        integer = np.dtype(detail["dtype"]).kind in "iu"
        # integers without a scale (a shape, an index) count nothing; per-channel activations do not exist
        if integer and len(scales) != 1:
            return
        self._positions[index] = len(taps)
        step = float(scales[0]) if integer else None
        name = str(detail["name"])
        taps.append(Tap(name, (name,), sources, step, channels_last=True))

    def read(self, feed: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Run once; see :class:`~edgecv.layers.taps.Tapped`."""
        [given] = self._engine.get_input_details()
        try:
            self._engine.set_tensor(given["index"], np.ascontiguousarray(feed))
            self._engine.invoke()
            return {name: self._real(self._indices[name]) for name in names}
        except _ERRORS as error:
            raise engine_failed("LiteRT", error) from error

    def _real(self, index: int) -> Array:
        values: Array = self._engine.get_tensor(index)
        said = self._details[index]["quantization_parameters"]
        if values.dtype.kind == "f":
            return values.astype(np.float32)
        shifted = values.astype(np.int64) - int(said["zero_points"][0])
        return shifted.astype(np.float32) * np.float32(said["scales"][0])
