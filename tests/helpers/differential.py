"""One way to hold our TFLite files against ONNX Runtime: same integers in, tolerance stated, no default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import helper

from edgecv.artifact.flatbuffer import check_flatbuffer
from edgecv.verify.litert import Interpreter as CountingInterpreter
from edgecv_converters import Converted, convert_model
from edgecv_runtimes.quiet import import_onnxruntime

onnxruntime = import_onnxruntime()
KERNELS = {
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


@dataclass(frozen=True)
class Delegation:
    """Operators of a file and what XNNPACK took of them."""

    operators: int
    partitions: int
    outside: tuple[str, ...]


def interpreter(tflite: bytes, kernels: str = "xnnpack") -> Any:
    """An allocated LiteRT interpreter with one thread."""
    found = Interpreter(
        model_content=tflite, num_threads=1, experimental_op_resolver_type=KERNELS[kernels]
    )
    found.allocate_tensors()
    return found


def delegation(tflite: bytes) -> Delegation:
    """What XNNPACK takes of a file; see :class:`edgecv.verify.litert.Delegation`."""
    found = CountingInterpreter(tflite).delegation()
    outside = tuple(operator for operator, _ in found.outside)
    return Delegation(found.operators, found.partitions, outside)


def run_tflite(tflite: bytes, inputs: list[np.ndarray], kernels: str) -> list[np.ndarray]:
    check_flatbuffer(tflite)  # whatever the converter writes is sound
    engine = interpreter(tflite, kernels)
    for detail, data in zip(engine.get_input_details(), inputs, strict=True):
        engine.set_tensor(detail["index"], data)
    engine.invoke()
    return [engine.get_tensor(d["index"]) for d in engine.get_output_details()]


def run_onnx(
    source: bytes, inputs: dict[str, np.ndarray], extra: list[str] | None = None
) -> list[np.ndarray]:
    """ONNX Runtime without optimizations; *extra* tensors instead of the model's own outputs."""
    model = onnx.ModelProto.FromString(source)
    if extra is not None:
        del model.graph.output[:]
        for name in extra:
            model.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, inputs))


def random_inputs(
    converted: Converted, seed: int
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """The same random values for the TFLite file and for ONNX Runtime."""
    rng = np.random.default_rng(seed)
    ours: list[np.ndarray] = []
    theirs: dict[str, np.ndarray] = {}
    for spec in converted.inputs:
        if spec.quantization is None:
            real = rng.normal(0, 1, spec.shape).astype(np.float32)
            ours.append(real)
        else:
            integers = rng.integers(-128, 128, spec.shape).astype(np.int8)
            ours.append(integers)
            centered = integers.astype(np.float32) - spec.quantization.zero_point
            real = centered * np.float32(spec.quantization.scale)
        theirs[spec.name] = (
            np.ascontiguousarray(real.transpose(0, 3, 1, 2)) if spec.layout == "NHWC" else real
        )
    return ours, theirs


def integer_tensor(source: bytes, name: str) -> str:
    """Name of the tensor that the QuantizeLinear before graph output *name* writes."""
    for node in onnx.ModelProto.FromString(source).graph.node:
        if node.op_type == "DequantizeLinear" and name in node.output:
            return str(node.input[0])
    raise AssertionError(f"{name} is not quantized")


def assert_int8(source: bytes, *, lsb: int, seed: int = 0) -> Converted:
    """Every output within *lsb* of ONNX Runtime's integers, on XNNPACK and on the builtin kernels."""
    converted = convert_model(source, "tflite")
    ours, theirs = random_inputs(converted, seed)
    names = [o.name for o in onnx.ModelProto.FromString(source).graph.output]
    wanted = run_onnx(source, theirs, [integer_tensor(source, n) for n in names])
    for kernels in KERNELS:
        found = run_tflite(converted.files[".tflite"], ours, kernels)
        for name, mine, reference in zip(names, found, wanted, strict=True):
            assert mine.dtype == np.int8, (name, mine.dtype)
            shift = 128 if reference.dtype == np.uint8 else 0
            logical = mine.transpose(0, 3, 1, 2) if mine.ndim == 4 else mine
            error = np.abs(logical.astype(int) - (reference.astype(int) - shift))
            assert error.max() <= lsb, (
                f"{name} on {kernels}: {error.max()} LSB, {(error > lsb).mean():.2%} of it"
            )
    return converted


def assert_float(source: bytes, *, relative: float, seed: int = 0) -> Converted:
    """Every output within *relative* of ONNX Runtime's largest magnitude, on both kernel sets."""
    converted = convert_model(source, "tflite")
    ours, theirs = random_inputs(converted, seed)
    wanted = run_onnx(source, theirs)
    for kernels in KERNELS:
        found = run_tflite(converted.files[".tflite"], ours, kernels)
        for mine, reference in zip(found, wanted, strict=True):
            assert mine.dtype == np.float32
            logical = mine.transpose(0, 3, 1, 2) if mine.ndim == 4 else mine
            error = np.abs(logical - reference).max() / max(float(np.abs(reference).max()), 1e-6)
            assert error <= relative, f"{kernels}: {error:.3g}"
    return converted
