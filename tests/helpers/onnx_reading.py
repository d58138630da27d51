"""Reading ONNX files back in tests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgecv_runtimes.quiet import import_onnxruntime

Array = npt.NDArray[Any]


def constants(model: Path | bytes) -> dict[str, Array]:
    """Initializers by name."""
    content = model if isinstance(model, bytes) else model.read_bytes()
    graph = onnx.load_model_from_string(content).graph
    return {i.name: numpy_helper.to_array(i) for i in graph.initializer}


def run(
    model: Path | bytes, pictures: Array, level: str = "ALL", saved: Path | None = None
) -> Array:
    """Logits by ONNX Runtime, picture by picture."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    names = {"ALL": "ORT_ENABLE_ALL", "NONE": "ORT_DISABLE_ALL"}
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, names[level])
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if saved is not None:
        options.optimized_model_filepath = str(saved)
    content = model if isinstance(model, bytes) else model.read_bytes()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batch = np.asarray(pictures, np.float32)
    return np.concatenate([session.run(None, {"input": p[None]})[0] for p in batch])


def kernels(model: Path | bytes, folder: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime executes."""
    height, width = input_size(model)
    saved = folder / "optimized.onnx"
    run(model, np.zeros((1, 3, height, width), np.float32), saved=saved)
    return Counter(node.op_type for node in onnx.load(saved).graph.node)


def input_size(model: Path | bytes) -> tuple[int, int]:
    """(height, width) of the file's input."""
    content = model if isinstance(model, bytes) else model.read_bytes()
    dims = onnx.load_model_from_string(content).graph.input[0].type.tensor_type.shape.dim
    return dims[2].dim_value, dims[3].dim_value
