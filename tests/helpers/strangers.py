"""A small float net as another exporter writes it: its own names, an open batch, a transposed Gemm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecv_runtimes.quiet import import_onnxruntime

__all__ = ["CONV", "HEAD", "RELU", "VARIANTS", "original", "stranger"]


def stranger(
    nodes: list[onnx.NodeProto], opset: int = 17, dims: tuple[object, ...] = ("n", 3, 8, 8)
) -> onnx.ModelProto:
    """A file as another exporter writes it: its own names, dynamic batch, transposed Gemm."""
    rng = np.random.default_rng(0)
    values = {
        "w0": rng.normal(size=(4, 3, 3, 3)),
        "b0": rng.normal(size=4),
        "gamma": np.array([1.0, -0.5, 0.0, 2.0]),
        "beta": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "var": rng.uniform(0.5, 2, size=4),
        "w1": rng.normal(size=(5, 4)),
        "b1": rng.normal(size=5),
        "zero": np.array(0.0),
        "six": np.array(6.0),
        "big": np.array(np.finfo(np.float32).max),
    }
    used = {name for node in nodes for name in node.input}
    initializers = [
        numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items() if k in used
    ]
    shapes = {"flat_shape": [1, -1], "axes": [2, 3]}
    initializers += [
        numpy_helper.from_array(np.array(v, np.int64), k) for k, v in shapes.items() if k in used
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 5))],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


CONV = helper.make_node("Conv", ["pixel_values", "w0", "b0"], ["/conv/out"], pads=[1, 1, 1, 1])
HEAD = [
    helper.make_node("GlobalAveragePool", ["act"], ["gap"]),
    helper.make_node("Flatten", ["gap"], ["flat"]),
    helper.make_node("Gemm", ["flat", "w1", "b1"], ["scores"], transB=1),
]
RELU = helper.make_node("Relu", ["/conv/out"], ["act"])


def original(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = import_onnxruntime().InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"pixel_values": p[None]})[0] for p in x])


VARIANTS: dict[str, Callable[[], list[onnx.NodeProto]]] = {
    "plain": lambda: [CONV, RELU, *HEAD],
    "relu6 by inputs": lambda: [
        CONV,
        helper.make_node("Clip", ["/conv/out", "zero", "six"], ["act"]),
        *HEAD,
    ],
    "clip without upper end": lambda: [
        CONV,
        helper.make_node("Clip", ["/conv/out", "zero", "big"], ["act"]),
        *HEAD,
    ],
    "batch norm": lambda: [
        CONV,
        helper.make_node(
            "BatchNormalization",
            ["/conv/out", "gamma", "beta", "mean", "var"],
            ["normed"],
            epsilon=1e-3,
        ),
        helper.make_node("Relu", ["normed"], ["act"]),
        *HEAD,
    ],
    "reduce mean": lambda: [
        CONV,
        RELU,
        helper.make_node("ReduceMean", ["act"], ["flat"], axes=[2, 3], keepdims=0),
        HEAD[2],
    ],
    "reshape and identity": lambda: [
        CONV,
        RELU,
        HEAD[0],
        helper.make_node("Identity", ["gap"], ["same"]),
        helper.make_node("Reshape", ["same", "flat_shape"], ["flat"]),
        HEAD[2],
    ],
    "squeeze": lambda: [
        CONV,
        RELU,
        HEAD[0],
        helper.make_node("Squeeze", ["gap", "axes"], ["flat"]),
        HEAD[2],
    ],
    "pools and addition": lambda: [
        CONV,
        helper.make_node(
            "MaxPool", ["/conv/out"], ["m"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        ),
        helper.make_node("AveragePool", ["/conv/out"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Add", ["m", "a"], ["s"]),
        helper.make_node("Relu", ["s"], ["act"]),
        *HEAD,
    ],
    "constant nodes": lambda: [
        helper.make_node(
            "Constant",
            [],
            ["k"],
            value=numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32) / 3, "k"),
        ),
        helper.make_node("Conv", ["pixel_values", "k"], ["/conv/out"]),
        RELU,
        *HEAD,
    ],
}
