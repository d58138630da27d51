"""ONNX models for tests, built operator by operator, float or in the QDQ form."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class OnnxModel:
    """Collects nodes and constants; every method returns the name of the tensor to read next."""

    def __init__(self, opset: int = 17, activation: str = "uint8") -> None:
        self.opset = opset
        self.activation = activation
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def input(
        self, name: str, shape: tuple[int | str, ...], quant: tuple[float, int] | None = None
    ) -> str:
        """A float32 graph input; with *quant* (scale, zero point in int8 terms) behind a Q/DQ pair."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self._pair(name, f"{name}/int", f"{name}/dq", name, quant) if quant else name

    def constant(self, name: str, data: Any) -> str:
        self.constants[name] = np.asarray(data)
        return name

    def op(
        self,
        op: str,
        inputs: list[str],
        name: str,
        quant: tuple[float, int] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """One operator with output *name*; with *quant* rounded by a Q/DQ pair."""
        result = f"{name}/float" if quant else name
        self.nodes.append(
            helper.make_node(op, inputs, [result], name=f"node:{name}", domain=domain, **attributes)
        )
        return self._pair(result, f"{name}/int", name, name, quant) if quant else name

    def weight(
        self, name: str, integers: np.ndarray, scales: Any, axis: int | None, zero: int = 0
    ) -> str:
        """Quantized constant behind DequantizeLinear; per channel along *axis*, or per tensor."""
        scales = np.asarray(scales, np.float32)
        self.constants[f"{name}/int"] = integers
        self.constants[f"{name}/scale"] = scales
        self.constants[f"{name}/zero_point"] = np.full(scales.shape, zero, integers.dtype)
        inputs = [f"{name}/int", f"{name}/scale", f"{name}/zero_point"]
        attributes = {} if axis is None else {"axis": axis}
        self.nodes.append(
            helper.make_node("DequantizeLinear", inputs, [name], name=f"dq:{name}", **attributes)
        )
        return name

    def _pair(
        self, source: str, integer: str, result: str, quantizer: str, quant: tuple[float, int]
    ) -> str:
        scale, zero = quant
        shifted = zero + 128 if self.activation == "uint8" else zero
        self.constants[f"{quantizer}/scale"] = np.asarray(scale, np.float32)
        self.constants[f"{quantizer}/zero_point"] = np.asarray(shifted, self.activation)
        parameters = [f"{quantizer}/scale", f"{quantizer}/zero_point"]
        self.nodes.append(
            helper.make_node("QuantizeLinear", [source, *parameters], [integer], name=f"q:{result}")
        )
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear", [integer, *parameters], [result], name=f"dq:{result}"
            )
        )
        return result

    def output(self, name: str, shape: tuple[int | str, ...] | None = None) -> OnnxModel:
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self

    def proto(self) -> Any:
        initializers = [
            numpy_helper.from_array(data, name) for name, data in self.constants.items()
        ]
        graph = helper.make_graph(self.nodes, "graph", self.inputs, self.outputs, initializers)
        domains = dict.fromkeys(node.domain for node in self.nodes if node.domain)
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in domains]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def bytes(self, *, check: bool = True) -> bytes:
        """The file; shapes of outputs inferred where none was given."""
        model = self.proto()
        if check:
            model = onnx.shape_inference.infer_shapes(model)
            del model.graph.value_info[:]
            onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def conv_weights(
    rng: np.random.Generator,
    model: OnnxModel,
    name: str,
    shape: tuple[int, ...],
    input_scale: float,
    *,
    per_channel: bool = True,
    axis: int = 0,
) -> tuple[str, str, float]:
    """Random int8 weight and int32 bias; returns their names and a fitting output scale."""
    channels = shape[axis]
    integers = rng.integers(-127, 128, shape).astype(np.int8)
    scales = rng.uniform(0.002, 0.02, channels if per_channel else ()).astype(np.float32)
    weight = model.weight(f"{name}.weight", integers, scales, axis if per_channel else None)
    grid = (scales.astype(np.float64) * np.float32(input_scale)).astype(np.float32)
    bias = model.weight(
        f"{name}.bias",
        rng.integers(-2000, 2000, channels).astype(np.int32),
        grid,
        0 if per_channel else None,
    )
    fan_in = integers.size // channels
    return (
        weight,
        bias,
        float(
            np.float32(0.6 * np.sqrt(fan_in) * 73 * 73 * float(scales.mean()) * input_scale / 64)
        ),
    )


def small_resnet(
    *,
    activation: str = "uint8",
    quantized: bool = True,
    batch: int | str = 1,
    size: tuple[int | str, int | str] = (20, 16),
    opset: int = 17,
    seed: int = 0,
) -> OnnxModel:
    """Stem, max pool, one residual block, mean, flatten and classifier, in the form that edgecv exports.

    Below opset 13 DequantizeLinear has no axis: weights then have one scale.
    """
    rng = np.random.default_rng(seed)
    model = OnnxModel(opset, activation=activation)

    def quant(scale: float, zero: int) -> tuple[float, int] | None:
        return (scale, zero) if quantized else None

    def weights(name: str, shape: tuple[int, ...], scale: float, axis: int = 0) -> list[str]:
        if quantized:
            per_channel = opset >= 13
            return list(
                conv_weights(rng, model, name, shape, scale, per_channel=per_channel, axis=axis)[:2]
            )
        channels = shape[axis]
        weight = rng.normal(0, 0.3 / np.sqrt(np.prod(shape) / channels), shape).astype(np.float32)
        bias = rng.normal(0, 0.1, channels).astype(np.float32)
        return [model.constant(f"{name}.weight", weight), model.constant(f"{name}.bias", bias)]

    pixel = float(np.float32(1 / 255))
    x = model.input("input", (batch, 3, *size), quant(pixel, -128))
    x = model.op(
        "Conv", [x, *weights("conv1", (8, 3, 3, 3), pixel)], "bn1", pads=[1] * 4, strides=[2, 2]
    )
    x = model.op("Relu", [x], "act1", quant(0.02, -128))
    x = model.op(
        "MaxPool",
        [x],
        "maxpool",
        quant(0.02, -128),
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1] * 4,
    )
    y = model.op(
        "Conv", [x, *weights("layer1.conv1", (8, 8, 3, 3), 0.02)], "layer1.bn1", pads=[1] * 4
    )
    y = model.op("Relu", [y], "layer1.act1", quant(0.05, -128))
    y = model.op(
        "Conv",
        [y, *weights("layer1.conv2", (8, 8, 3, 3), 0.05)],
        "layer1.bn2",
        quant(0.11, 5),
        pads=[1] * 4,
    )
    x = model.op("Add", [y, x], "layer1.add")
    x = model.op("Relu", [x], "layer1.act2", quant(0.06, -128))
    x = model.op("GlobalAveragePool", [x], "global_pool.pool", quant(0.06, -128))
    x = model.op("Flatten", [x], "global_pool.flatten", quant(0.06, -128))
    fc = weights("fc", (8, 5), 0.06, axis=1)
    x = model.op("Gemm", [x, *fc], "logits", quant(0.2, -3))
    return model.output(x, (batch, 5))


def many_operators(*, quantized: bool = True, opset: int = 17, seed: int = 0) -> OnnxModel:
    """A small net with most of the operators that have rules: mobile convolutions, attention, moves."""
    rng = np.random.default_rng(seed)
    model = OnnxModel(opset)

    def quant(scale: float, zero: int = 0) -> tuple[float, int] | None:
        return (scale, zero) if quantized else None

    def weight(name: str, *shape: int) -> str:
        if quantized:
            return model.weight(name, rng.integers(-127, 128, shape).astype(np.int8), 0.004, None)
        return model.constant(name, rng.normal(0, 0.3, shape).astype(np.float32))

    def floats(name: str, *shape: int) -> str:
        return model.constant(name, rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def ints(name: str, *values: int) -> str:
        return model.constant(name, np.array(values, np.int64))

    x = model.input("input", (1, 3, 12, 12), quant(1 / 255, -128))
    x = model.op("Pad", [x, ints("pads", 0, 0, 1, 1, 0, 0, 1, 1)], "pad", quant(1 / 255, -128))
    x = model.op("Conv", [x, weight("conv.weight", 8, 3, 3, 3)], "conv", strides=[2, 2])
    x = model.op(
        "BatchNormalization", [x, *(floats(f"bn.{i}", 8) for i in range(4))], "bn", quant(0.03)
    )
    x = model.op(
        "Mul", [x, model.op("Sigmoid", [x], "gate", quant(1 / 256, -128))], "silu", quant(0.03)
    )
    y = model.op("Conv", [x, weight("dw.weight", 8, 1, 3, 3)], "dw", pads=[1] * 4, group=8)
    y = model.op("Clip", [y, *(model.constant(n, np.float32(v)) for n, v in (("low", 0), ("high", 6)))],
                 "relu6", quant(6 / 255, -128))  # fmt: skip
    y = model.op("HardSwish", [y], "hardswish", quant(6 / 255, -120))
    x = model.op("Concat", [x, y], "concat", quant(0.03), axis=1)
    x = model.op("AveragePool", [x], "pool", quant(0.03), kernel_shape=[2, 2], strides=[2, 2])
    tokens = model.op("Reshape", [x, ints("tokens.shape", 1, 16, 9)], "tokens", quant(0.03))
    tokens = model.op("Transpose", [tokens], "tokens.t", quant(0.03), perm=[0, 2, 1])
    y = model.op(
        "LayerNormalization", [tokens, floats("ln.w", 16), floats("ln.b", 16)], "ln", quant(0.02)
    )
    qkv = model.op("MatMul", [y, weight("qkv.weight", 16, 48)], "qkv", quant(0.02))
    heads = [f"head{i}" for i in range(3)]
    model.nodes.append(
        helper.make_node("Split", [qkv, ints("sizes", 16, 16, 16)], heads, name="split", axis=2)
    )
    if quantized:
        heads = [
            model._pair(h, f"{n}/int", n, n, (0.02, 0)) for h, n in zip(heads, "qkv", strict=True)
        ]
    q, k, v = heads
    scores = model.op("MatMul", [q, model.op("Transpose", [k], "k.t", quant(0.02), perm=[0, 2, 1])], "scores",
                      quant(0.05))  # fmt: skip
    share = model.op("Softmax", [scores], "share", quant(1 / 256, -128), axis=-1)
    y = model.op(
        "Add", [model.op("MatMul", [share, v], "mix", quant(0.02)), tokens], "sum", quant(0.04)
    )
    y = model.op("Gather", [y, model.constant("first", np.array(0))], "token", quant(0.04), axis=1)
    y = model.op(
        "Slice", [y, ints("from", 2), ints("to", 14), ints("axis", 1)], "part", quant(0.04)
    )
    mean = model.op("ReduceMean", [y], "mean", quant(0.04), axes=[1], keepdims=1)
    y = model.op("Sub", [y, mean], "centered", quant(0.04))
    y = model.op("Gemm", [y, weight("fc.weight", 12, 5)], "logits", quant(0.05))
    return model.output(y, (1, 5))
