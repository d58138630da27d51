"""All three targets at once: convert, compare the parameters, run each file on its engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from differential import run_onnx, run_tflite

from edgecv.conversion import convert_all
from edgecv.results import ConversionResult
from edgecv.spec.types import TensorSpec
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import TARGETS
from edgecv_runtimes.quiet import import_openvino


def convert_and_run(
    source: bytes, folder: Path, x: np.ndarray, **options: Any
) -> dict[str, tuple[ConversionResult, np.ndarray]]:
    """Target → result and first output, as float32 in the source's order, for a model of one input.

    Every parameter is compared with the source's; what is computed is the caller's to compare.
    """
    path = folder / "source.onnx"
    path.write_bytes(source)
    results = convert_all(path, TARGETS, out=folder / "out", verify=False, **options)
    for result in results:
        assert compare_parameters(result.path, path) == []
    return {r.target: (r, run(r, x)) for r in results}


def run(result: ConversionResult, x: np.ndarray) -> np.ndarray:
    """The artifact's first output for the picture or pictures *x*, in the source's order."""
    if result.target == "tflite":
        into, out = result.manifest.inputs[0], result.manifest.outputs[0]
        fed = (
            _integers(x, into).transpose(0, 2, 3, 1)
            if into.layout == "NHWC"
            else _integers(x, into)
        )
        return _real(run_tflite(result.path.read_bytes(), [fed], "xnnpack")[0], out)
    name = result.manifest.inputs[0].name
    if result.target == "onnx":
        return run_onnx(result.path.read_bytes(), {name: x})[0]
    openvino = import_openvino()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(result.path, "CPU", config)
    return np.array(compiled([x])[0])


def _integers(x: np.ndarray, spec: TensorSpec) -> np.ndarray:
    quant = spec.quantization
    if quant is None:
        return x
    steps = np.rint(x / np.float32(quant.scale)) + quant.zero_point
    return np.clip(steps, -128, 127).astype(np.int8)


def _real(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    quant = spec.quantization
    if quant is None:
        return values
    return (values.astype(np.float32) - quant.zero_point) * np.float32(quant.scale)
