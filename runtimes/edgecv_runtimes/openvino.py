"""OpenVINO on the CPU: static shapes, float32 where not int8, one request per thread."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Self

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv.spec.types import TensorSpec
from edgecv_runtimes.base import (
    Array,
    ExecutedLayer,
    engine_failed,
    guess_layout,
    load_failed,
    summarize_precision,
    unique_names,
)
from edgecv_runtimes.openvino_residual import keep_residual_roundings
from edgecv_runtimes.quiet import import_openvino

if TYPE_CHECKING:
    from edgecv.results import LayerTime

__all__ = ["OpenVINOBackend"]

_ERRORS: Final = (RuntimeError, ValueError, TypeError, MemoryError, OverflowError)
#: OpenVINO 2026.3 and later refuse many int8 models with this on Arm cores without fp16 (A53, A72).
_NO_INT8_KERNEL: Final = "object is not initialized"
#: Layers that carry the arithmetic, by the runtime graph's ``layerType``.
_LAYERS: Final = {
    "Convolution": "conv",
    "GroupConvolution": "conv",
    "Deconvolution": "conv",
    "FullyConnected": "linear",
    "MatMul": "matmul",
}
#: The same layers in the network before it is compiled, by node type.
_PRODUCTS: Final = {
    "Convolution": "conv",
    "GroupConvolution": "conv",
    "ConvolutionBackpropData": "conv",
    "GroupConvolutionBackpropData": "conv",
    "MatMul": "matmul",
}
_PRECISIONS: Final = {
    "i8": "int8",
    "u8": "int8",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
}


class _Bound(NamedTuple):
    """A request of one thread with the memory that it reads and writes."""

    request: Any
    inputs: dict[str, Array]
    outputs: dict[str, Array]


class OpenVINOBackend:
    """OpenVINO IR and ONNX files.

    ``INFERENCE_PRECISION_HINT`` is f32: the bf16 and f16 defaults of some CPUs look like a drop in
    accuracy. A compiled model shared by threads hands out wrong answers, so each thread has a
    request of its own, with bound memory (the fastest public path).
    """

    name: ClassVar[str] = "openvino"
    kinds: ClassVar[tuple[str, ...]] = ("openvino", "onnx")

    def __init__(self, model: ModelFile, *, threads: int, float_precision: str = "f32") -> None:
        self._ov = import_openvino()
        self._model = model
        self._settings = {
            "INFERENCE_PRECISION_HINT": float_precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        try:
            core, network = self._read()
            self.inputs = _edge(network.inputs)
            self.outputs = _edge(network.outputs)
            self._products = _products(network)
        except _ERRORS as error:
            raise load_failed("OpenVINO", error) from error
        self._note = ""
        self._compiled = self._compile(core, network, self._settings)
        self._local = threading.local()

    @classmethod
    def version(cls) -> str:
        """Release number, e.g. ``"2026.4.1"``."""
        return str(import_openvino().__version__).split("-")[0]

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once; see :class:`~edgecv_runtimes.base.Backend`."""
        try:
            bound: _Bound = self._local.bound
        except AttributeError:
            bound = self._local.bound = self._bind()
        for name, memory in bound.inputs.items():
            array = feeds[name]
            # a shape that differs under a baked reshape returns garbage and then kills the process
            if array.shape != memory.shape or array.dtype != memory.dtype:
                raise ModelLoadError(
                    f"{array.dtype} {list(array.shape)} for input {name!r} does not fit"
                    f" {memory.dtype} {list(memory.shape)}",
                    cure="Give arrays of the shape that .info names.",
                )
            np.copyto(memory, array)
        try:
            bound.request.infer()
        except _ERRORS as error:
            raise engine_failed("OpenVINO", error) from error
        return {name: memory.copy() for name, memory in bound.outputs.items()}

    def executed_precision(self) -> str:
        """Precision of every convolution, linear layer and matrix product in the compiled graph.

        Where int8 had to be given up, that is said, too.
        """
        return summarize_precision(self.executed_layers()) + self._note

    def executed_layers(self) -> tuple[ExecutedLayer, ...]:
        """Those layers one by one, the ones that OpenVINO fused into something larger among them."""
        layers: list[ExecutedLayer] = []
        for op in self._compiled.get_runtime_model().get_ordered_ops():
            info = op.get_rt_info()
            kind = _LAYERS.get(_text(info, "layerType"), "")
            said = _text(info, "runtimePrecision")
            precision = _PRECISIONS.get(said, said)
            # an attention becomes one "Subgraph" with both of its products
            originals = _text(info, "originalLayersNames").split(",")
            names = [name for name in originals if name in self._products]
            if kind and not names:
                names = [str(op.get_friendly_name())]
            for name in names:
                layers.append(ExecutedLayer(name, kind or self._products[name], precision))
        return tuple(layers)

    def profile_layers(self, feeds: Mapping[str, Array], runs: int) -> tuple[LayerTime, ...]:
        """Mean wall time of every layer that executed, from a model compiled to count."""
        from edgecv.results.profile import LayerTime

        core, network = self._read()
        counting = self._compile(core, network, {**self._settings, "PERF_COUNT": True})
        request = counting.create_infer_request()
        ordered = [np.ascontiguousarray(feeds[spec.name]) for spec in self.inputs]
        total: dict[str, float] = {}
        kinds: dict[str, str] = {}
        try:
            request.infer(ordered)  # the first call allocates
            for _ in range(runs):
                request.infer(ordered)
                for layer in request.get_profiling_info():
                    if layer.status == layer.Status.EXECUTED:
                        name = str(layer.node_name)
                        kinds[name] = f"{layer.node_type} {layer.exec_type}"
                        total[name] = total.get(name, 0.0) + layer.real_time.total_seconds()
        except _ERRORS as error:
            raise engine_failed("OpenVINO", error) from error
        return tuple(
            LayerTime(name, kinds[name].split()[0], 1e3 * time_s / runs, _executed(kinds[name]))
            for name, time_s in total.items()
        )

    def clone(self) -> Self:
        """The same compiled model: every thread has a request of its own anyway."""
        other = copy.copy(self)
        other._local = threading.local()
        return other

    def close(self) -> None:
        """Free the requests of all threads and the compiled model."""
        del self._local, self._compiled, self._model

    def _read(self) -> tuple[Any, Any]:
        """A core and the network as it will be compiled."""
        core = self._ov.Core()
        if self._model.kind == "openvino":
            network = core.read_model(self._model.body, self._model.weights or b"")
        else:
            network = core.read_model(self._model.body)
        _bind_batch(network)
        keep_residual_roundings(self._ov, network)
        return core, network

    def _compile(self, core: Any, network: Any, settings: dict[str, Any]) -> Any:
        try:
            return core.compile_model(network, "CPU", settings)
        except _ERRORS as error:
            if _NO_INT8_KERNEL not in str(error):
                raise load_failed("OpenVINO", error) from error
        try:
            compiled = core.compile_model(network, "CPU", {**settings, "LP_TRANSFORMS_MODE": "NO"})
        except _ERRORS as error:
            raise load_failed("OpenVINO", error) from error
        self._note = "; OpenVINO has no int8 kernels for this CPU (LP_TRANSFORMS_MODE=NO)"
        return compiled

    def _bind(self) -> _Bound:
        """A request of the calling thread, reading and writing memory that NumPy sees."""
        request = self._compiled.create_infer_request()
        inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.inputs}
        outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}
        for position, memory in enumerate(inputs.values()):
            request.set_input_tensor(position, self._ov.Tensor(memory, shared_memory=True))
        for position, memory in enumerate(outputs.values()):
            request.set_output_tensor(position, self._ov.Tensor(memory, shared_memory=True))
        return _Bound(request, inputs, outputs)


def _bind_batch(network: Any) -> None:
    """Bind an open batch dimension to 1; any other open dimension is refused.

    Under dynamic shapes with baked reshapes OpenVINO returned garbage and then killed the process.
    """
    shapes = {}
    for port in network.inputs:
        shape = port.get_partial_shape()
        if shape.is_static:
            continue
        if shape.rank.is_dynamic or any(shape[d].is_dynamic for d in range(1, len(shape))):
            raise UnsupportedError(
                f"its input has the open shape {shape}",
                cure="Export the model with fixed height and width.",
            )
        fixed = [1, *(shape[d].get_length() for d in range(1, len(shape)))]
        shapes[port] = fixed
    if shapes:
        network.reshape(shapes)
    for port in network.outputs:
        if not port.get_partial_shape().is_static:
            raise UnsupportedError(
                f"its output has the open shape {port.get_partial_shape()}",
                cure="Export the model with fixed shapes.",
            )


def _edge(ports: Any) -> tuple[TensorSpec, ...]:
    names = unique_names(_port_name(port) for port in ports)
    specs = []
    for name, port in zip(names, ports, strict=True):
        shape = tuple(int(size) for size in port.get_shape())
        dtype = np.dtype(port.get_element_type().to_dtype()).name
        specs.append(TensorSpec(name, shape, dtype, guess_layout(shape)))
    return tuple(specs)


def _port_name(port: Any) -> str:
    names = sorted(port.get_names())
    return str(names[0]) if names else str(port.get_node().get_friendly_name())


def _products(network: Any) -> dict[str, str]:
    """Name of every layer that carries arithmetic → its kind."""
    return {
        str(node.get_friendly_name()): _PRODUCTS[node.get_type_name()]
        for node in network.get_ordered_ops()
        if node.get_type_name() in _PRODUCTS
    }


def _executed(kind: str) -> str:
    """Precision at the end of an implementation's name, e.g. ``brgconv_avx512_vnni_I8``."""
    return _PRECISIONS.get(kind.rpartition("_")[2].lower(), "")


def _text(info: Any, key: str) -> str:
    return str(info[key].value) if key in info else ""
