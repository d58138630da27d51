"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.errors import UnsupportedError
from edgecv.spec.types import TensorSpec
from edgecv_runtimes.base import (
    Array,
    ExecutedLayer,
    engine_failed,
    guess_layout,
    load_failed,
    summarize_precision,
)
from edgecv_runtimes.quiet import import_onnxruntime

__all__ = ["OnnxRuntimeBackend"]

_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{
        f"tensor({kind}{bits})": f"{kind}{bits}"
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
}
#: Kernels that carry the arithmetic; those of ONNX Runtime's own domains included.
_LAYERS: Final = {
    "Conv": "conv",
    "FusedConv": "conv",
    "ConvTranspose": "conv",
    "NhwcFusedConv": "conv",
    "QLinearConv": "conv",
    "ConvInteger": "conv",
    "Gemm": "linear",
    "FusedGemm": "linear",
    "QGemm": "linear",
    "MatMul": "matmul",
    "FusedMatMul": "matmul",
    "QLinearMatMul": "matmul",
    "MatMulInteger": "matmul",
    "MatMulIntegerToFloat": "matmul",
    "DynamicQuantizeMatMul": "matmul",
}
_SILENT = 4  # log severity: the errors arrive as exceptions


class OnnxRuntimeBackend:
    """ONNX files, float or QDQ. A session may be shared by threads.

    Without *optimize* every operator runs as it stands in the file: a reference, not a fast one.
    """

    name: ClassVar[str] = "onnxruntime"
    kinds: ClassVar[tuple[str, ...]] = ("onnx",)

    def __init__(self, model: ModelFile, *, threads: int, optimize: bool = True) -> None:
        self._engine = import_onnxruntime()
        self._body, self._threads, self._optimize = model.body, threads, optimize
        self._errors = _errors(self._engine)
        try:
            self._session = self._open(self._options())
        except self._errors as error:
            raise load_failed("ONNX Runtime", error) from error
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    @classmethod
    def version(cls) -> str:
        """Version of the package."""
        return str(import_onnxruntime().__version__)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once; see :class:`~edgecv_runtimes.base.Backend`."""
        try:
            results = self._session.run(self._output_names, feeds)
        except self._errors as error:
            raise engine_failed("ONNX Runtime", error) from error
        return dict(zip(self._output_names, results, strict=True))

    def executed_precision(self) -> str:
        """Precision of every convolution and linear kernel that really ran."""
        return summarize_precision(self.executed_layers())

    def executed_layers(self) -> tuple[ExecutedLayer, ...]:
        """Those kernels one by one, under the names of the optimized graph.

        The profile of one call on zeros, in a session of its own: profiling slows a session down.
        """
        with tempfile.TemporaryDirectory(prefix="edgecv-") as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            try:
                session = self._open(options)
                session.run(None, {s.name: np.zeros(s.shape, s.dtype) for s in self.inputs})
            except self._errors as error:
                raise engine_failed("ONNX Runtime", error) from error
            events = json.loads(Path(session.end_profiling()).read_text())
        layers = []
        for event in events:
            name, ending, _ = event.get("name", "").rpartition("_kernel_time")
            kernel = event.get("args", {})
            if ending and kernel.get("op_name") in _LAYERS:
                kind = _LAYERS[kernel["op_name"]]
                layers.append(ExecutedLayer(name, kind, _precision(kernel)))
        return tuple(layers)

    def close(self) -> None:
        """Free the session."""
        del self._session

    def _options(self) -> Any:
        options = self._engine.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        if not self._optimize:
            options.graph_optimization_level = self._engine.GraphOptimizationLevel.ORT_DISABLE_ALL
        # threads that wait in a loop take the cores of whatever else the board does
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _open(self, options: Any) -> Any:
        return self._engine.InferenceSession(
            self._body, options, providers=["CPUExecutionProvider"]
        )


def _errors(engine: Any) -> tuple[type[BaseException], ...]:
    """Everything that a session raises; its own exceptions share no base but Exception."""
    own = vars(engine.capi.onnxruntime_pybind11_state).values()
    kinds = [kind for kind in own if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*kinds, RuntimeError, ValueError, TypeError, MemoryError)


def _spec(node: Any) -> TensorSpec:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise UnsupportedError(
            f"its tensor {node.name!r} has type {node.type}", cure="Use a model of plain tensors."
        )
    # names and None stand for open dimensions; the batch is bound to 1
    sizes = [size if isinstance(size, int) and size > 0 else -1 for size in node.shape]
    if -1 in sizes[1:]:
        raise UnsupportedError(
            f"its tensor {node.name!r} has the open shape {node.shape}",
            cure="Export the model with fixed height and width.",
        )
    shape = tuple(1 if size == -1 else size for size in sizes)
    return TensorSpec(node.name, shape, dtype, guess_layout(shape))


def _precision(kernel: Mapping[str, Any]) -> str:
    """From the first input's type: what the kernel multiplies."""
    types = [str(next(iter(entry))) for entry in kernel.get("input_type_shape", []) if entry]
    if not types:
        return "unknown"
    first = types[0]
    if first in ("uint8", "int8"):
        return "int8"
    return {"float": "float32", "double": "float64"}.get(first, first)
