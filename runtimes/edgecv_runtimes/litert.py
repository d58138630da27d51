"""LiteRT (``ai-edge-litert``); legacy ``tflite-runtime`` and ``tensorflow.lite`` through the same calls."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.artifact.flatbuffer import check_flatbuffer
from edgecv.errors import InputError
from edgecv.spec.types import QuantParams, TensorSpec
from edgecv_runtimes.base import (
    Array,
    engine_failed,
    guess_layout,
    load_failed,
    only_f32,
    unique_names,
)
from edgecv_runtimes.quiet import import_litert

__all__ = ["LiteRTBackend"]

#: What the interpreter raises, measured with 300 mutations of a file (UnicodeDecodeError is a ValueError).
_ERRORS: Final = (ValueError, RuntimeError, MemoryError, TypeError, KeyError)
#: Module of the interpreter → its package.
_PACKAGES: Final = {
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
    "tensorflow": "tensorflow",
}
#: Conversions and shape arithmetic say nothing about the precision of the arithmetic.
_NO_ARITHMETIC: Final = frozenset(
    {"DELEGATE", "QUANTIZE", "DEQUANTIZE", "CAST", "SHAPE", "RESHAPE", "TRANSPOSE", "SPLIT"}
    | {"SLICE", "STRIDED_SLICE", "SQUEEZE", "EXPAND_DIMS", "PACK", "UNPACK", "GATHER"}
)


class LiteRTBackend:
    """TFLite files on the CPU (XNNPACK where the engine delegates to it).

    The interpreter is one object with one set of buffers, so calls take turns.
    """

    name: ClassVar[str] = "litert"
    kinds: ClassVar[tuple[str, ...]] = ("tflite",)

    def __init__(self, model: ModelFile, *, threads: int, float_precision: str = "f32") -> None:
        only_f32("LiteRT's Python API", float_precision)
        engine = import_litert()
        if engine.__name__.startswith("tflite_runtime"):
            # the legacy engine verifies nothing and aborts on some sound files, too
            check_flatbuffer(model.body, legacy=True)
        try:
            self._interpreter = engine.Interpreter(model_content=model.body, num_threads=threads)
            self._interpreter.allocate_tensors()
            self.inputs, self._input_indices = _edge(self._interpreter.get_input_details())
            self.outputs, self._output_indices = _edge(self._interpreter.get_output_details())
        except _ERRORS as error:
            raise load_failed("LiteRT", error) from error
        # the interpreter refers to the same bytes
        self._model, self._threads = model, threads
        self._lock = threading.Lock()

    @classmethod
    def version(cls) -> str:
        """Version of the package, with its name where it is not LiteRT."""
        # not importlib.metadata, which takes a third as long to import as the engine
        name = import_litert().__name__.split(".")[0]
        number = str(getattr(sys.modules[name], "__version__", "unknown"))
        return number if name == "ai_edge_litert" else f"{number} ({_PACKAGES[name]})"

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once; see :class:`~edgecv_runtimes.base.Backend`."""
        interpreter = self._interpreter
        try:
            with self._lock:
                for name, index in self._input_indices:
                    interpreter.set_tensor(index, feeds[name])
                interpreter.invoke()
                return {name: interpreter.get_tensor(index) for name, index in self._output_indices}
        except _ERRORS as error:
            raise engine_failed("LiteRT", error) from error

    def executed_precision(self) -> str:
        """Types of the operators' results, and how many of them XNNPACK took.

        E.g. ``"int8 (31 of 31 ops, 1 XNNPACK partition)"``.
        """
        details = getattr(self._interpreter, "_get_ops_details", None)
        if details is None:
            return "unknown"
        try:
            with self._lock:
                ops: list[dict[str, Any]] = details()
                types = {t["index"]: np.dtype(t["dtype"]).name for t in _tensors(self._interpreter)}
        except UnicodeDecodeError:  # a name inside a stranger's file
            return "unknown"
        partitions = sum(op["op_name"] == "DELEGATE" for op in ops)
        precisions = [_precision(op, types) for op in ops if op["op_name"] not in _NO_ARITHMETIC]
        if not precisions:
            return "unknown"
        counts = {p: precisions.count(p) for p in sorted(set(precisions), key=precisions.count)}
        *rest, (most, number) = counts.items()
        text = f"{most} ({number} of {len(precisions)} ops"
        text += "".join(f", {count} {precision}" for precision, count in rest)
        return f"{text}, {partitions} XNNPACK partition{'' if partitions == 1 else 's'})"

    def clone(self) -> Self:
        """Another interpreter on the same bytes."""
        return type(self)(self._model, threads=self._threads)

    def close(self) -> None:
        """Free the interpreter."""
        with self._lock:
            del self._interpreter


def _edge(details: list[dict[str, Any]]) -> tuple[tuple[TensorSpec, ...], list[tuple[str, int]]]:
    """Specs of inputs or outputs, and the interpreter's index of each by name."""
    names = unique_names(detail["name"] for detail in details)
    specs = []
    for name, detail in zip(names, details, strict=True):
        shape = tuple(int(size) for size in detail["shape"])
        dtype = np.dtype(detail["dtype"]).name
        specs.append(TensorSpec(name, shape, dtype, guess_layout(shape), _params(detail, dtype)))
    indices = [int(detail["index"]) for detail in details]
    return tuple(specs), list(zip(names, indices, strict=True))


def _params(detail: dict[str, Any], dtype: str) -> QuantParams | None:
    quantization = detail["quantization_parameters"]
    scales, zero_points = quantization["scales"], quantization["zero_points"]
    if dtype not in ("int8", "uint8") or len(scales) != 1 or len(zero_points) != 1:
        return None
    try:
        return QuantParams(float(np.float32(scales[0])), int(zero_points[0]), dtype)
    except InputError as error:
        raise ValueError(f"tensor {detail['name']!r}: {error.what}") from error


def _tensors(interpreter: Any) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = interpreter.get_tensor_details()
    return details


def _precision(op: dict[str, Any], types: dict[int, str]) -> str:
    result = types.get(int(op["outputs"][0]), "unknown") if len(op["outputs"]) else "unknown"
    if result in ("int8", "uint8"):
        return "int8"
    if result.startswith("float") and any(
        types.get(int(index)) in ("int8", "uint8") for index in op["inputs"]
    ):
        return f"{result} with int8 weights"
    return result
