"""ONNX Runtime on the CPU."""

from __future__ import annotations

import copy
import json
import math
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Self

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
    only_f32,
    summarize_precision,
)
from edgecv_runtimes.quiet import import_onnxruntime

if TYPE_CHECKING:
    from edgecv.results import LayerTime

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
#: Inputs of up to so many bytes are copied into bound memory: 2 µs less per call than ``session.run``,
#: which for larger ones the copy would eat.
_SMALL_BYTES: Final = 1 << 15


class _Bound(NamedTuple):
    """What one thread binds: the memory that the session reads and writes, and who keeps it alive."""

    binding: Any
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    values: list[Any]


class OnnxRuntimeBackend:
    """ONNX files, float or QDQ. A session may be shared by threads.

    Without *optimize* every operator runs as it stands in the file: a reference, not a fast one.
    """

    name: ClassVar[str] = "onnxruntime"
    kinds: ClassVar[tuple[str, ...]] = ("onnx",)

    def __init__(
        self,
        model: ModelFile,
        *,
        threads: int,
        float_precision: str = "f32",
        optimize: bool = True,
    ) -> None:
        only_f32("ONNX Runtime on a CPU", float_precision)
        self._engine = import_onnxruntime()
        self._body, self._threads, self._optimize = model.body, threads, optimize
        self._errors = _errors(self._engine)
        try:
            self._session = self._open(self._options())
        except self._errors as error:
            raise load_failed("ONNX Runtime", error) from error
        sources, targets = self._session.get_inputs(), self._session.get_outputs()
        self.inputs = tuple(_spec(node) for node in sources)
        self.outputs = tuple(_spec(node) for node in targets)
        self._output_names = [spec.name for spec in self.outputs]
        # only where the file leaves no size open: memory is bound before the first call
        closed = all(isinstance(size, int) for node in (*sources, *targets) for size in node.shape)
        total = sum(math.prod(s.shape) * np.dtype(s.dtype).itemsize for s in self.inputs)
        self._small = closed and total <= _SMALL_BYTES
        self._local = threading.local()

    @classmethod
    def version(cls) -> str:
        """Version of the package."""
        return str(import_onnxruntime().__version__)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once; see :class:`~edgecv_runtimes.base.Backend`."""
        try:
            if self._small:
                return self._infer_bound(feeds)
            results = self._session.run(self._output_names, feeds)
        except self._errors as error:
            raise engine_failed("ONNX Runtime", error) from error
        return dict(zip(self._output_names, results, strict=True))

    def _infer_bound(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            bound: _Bound = self._local.bound
        except AttributeError:
            bound = self._local.bound = self._bind()
        for name, memory in bound.inputs.items():
            memory[...] = feeds[name]
        self._session.run_with_iobinding(bound.binding)
        return {name: memory.copy() for name, memory in bound.outputs.items()}

    def _bind(self) -> _Bound:
        """Memory of the calling thread; a session may be shared, a binding may not."""
        inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.inputs}
        outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}
        of_numpy = self._engine.OrtValue.ortvalue_from_numpy
        binding, values = self._session.io_binding(), []
        for memories, bind in (
            (inputs, binding.bind_ortvalue_input),
            (outputs, binding.bind_ortvalue_output),
        ):
            for name, memory in memories.items():
                values.append(of_numpy(memory))
                bind(name, values[-1])
        return _Bound(binding, inputs, outputs, values)

    def executed_precision(self) -> str:
        """Precision of every convolution and linear kernel that really ran."""
        return summarize_precision(self.executed_layers())

    def executed_layers(self) -> tuple[ExecutedLayer, ...]:
        """Those kernels one by one, under the names of the optimized graph.

        The profile of one call on zeros.
        """
        zeros = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.inputs}
        return tuple(
            ExecutedLayer(name, _LAYERS[kernel["op_name"]], _precision(kernel))
            for name, kernel, _ in self._kernels(zeros, 1)
            if kernel["op_name"] in _LAYERS
        )

    def profile_layers(self, feeds: Mapping[str, Array], runs: int) -> tuple[LayerTime, ...]:
        """Mean wall time of every kernel, under the names of the optimized graph."""
        from edgecv.results.profile import LayerTime

        total: dict[str, float] = {}
        kinds: dict[str, tuple[str, str]] = {}
        # the first call allocates
        for name, kernel, duration_us in self._kernels(feeds, runs + 1, skip=1):
            total[name] = total.get(name, 0.0) + duration_us
            kinds[name] = kernel["op_name"], _precision(kernel)
        return tuple(
            LayerTime(name, kinds[name][0], time_us / runs / 1e3, kinds[name][1])
            for name, time_us in total.items()
        )

    def _kernels(
        self, feeds: Mapping[str, Array], runs: int, *, skip: int = 0
    ) -> list[tuple[str, dict[str, Any], float]]:
        """Name, description and microseconds of every kernel of *runs* calls, the first *skip* left out.

        In a session of its own: profiling slows a session down.
        """
        with tempfile.TemporaryDirectory(prefix="edgecv-") as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            try:
                session = self._open(options)
                for _ in range(runs):
                    session.run(None, feeds)
            except self._errors as error:
                raise engine_failed("ONNX Runtime", error) from error
            events = json.loads(Path(session.end_profiling()).read_text())
        found = []
        call = -1
        for event in events:
            name, ending, _ = event.get("name", "").rpartition("_kernel_time")
            kernel = event.get("args", {})
            call += event.get("name") == "SequentialExecutor::Execute"
            if ending and "op_name" in kernel:
                found.append((name, kernel, float(event["dur"])))
        each = len(found) // runs
        return found[each * skip :]

    def clone(self) -> Self:
        """The same session: it may be shared, and its threads have memory of their own."""
        other = copy.copy(self)
        other._local = threading.local()
        return other

    def close(self) -> None:
        """Free the session and what threads bound to it."""
        del self._local, self._session

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
