"""OpenVINO keeps the rounding in front of a residual addition, and the integers equal ONNX Runtime's."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from onnx_models import OnnxModel, conv_weights, small_resnet

from edgecv.runtime import Runtime
from edgecv_runtimes.openvino_residual import keep_residual_roundings
from edgecv_runtimes.quiet import import_openvino

ON_X86 = platform.machine() in {"x86_64", "AMD64"}


def residual(seed: int, *, relu: bool) -> bytes:
    """A stem, then relu(x + conv(conv(x))), every tensor quantized."""
    rng = np.random.default_rng(seed)
    model = OnnxModel()
    x = model.input("input", (1, 3, 24, 20), (0.04, 3))
    x, scale = conv(rng, model, "stem", x, (16, 3, 3, 3), 0.04, clamp=True)
    inner, inner_scale = conv(rng, model, "conv1", x, (16, 16, 3, 3), scale, clamp=True)
    branch, branch_scale = conv(rng, model, "conv2", inner, (16, 16, 3, 3), inner_scale, clamp=relu)
    total = model.op("Add", [branch, x], "sum")
    return model.output(model.op("Relu", [total], "out", (1.3 * branch_scale, -128))).bytes()


def conv(
    rng: np.random.Generator,
    model: OnnxModel,
    name: str,
    source: str,
    shape: tuple[int, ...],
    input_scale: float,
    *,
    clamp: bool,
) -> tuple[str, float]:
    """A 3x3 convolution with or without ReLU, rounded; its name and scale."""
    weight, bias, scale = conv_weights(rng, model, name, shape, input_scale)
    if not clamp:
        return model.op(
            "Conv", [source, weight, bias], f"{name}.out", (scale, -7), pads=[1] * 4
        ), scale
    real = model.op("Conv", [source, weight, bias], f"{name}.conv", pads=[1] * 4)
    return model.op("Relu", [real], f"{name}.out", (scale, -128)), scale


def both(source: bytes, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    answers = []
    for backend in ("openvino", "onnxruntime"):
        with Runtime(source, backend=backend) as runtime:
            spec = runtime.info.inputs[0]
            x = (rng.integers(-128, 128, spec.shape) * 0.04).astype(np.float32)
            answers.append(next(iter(runtime.infer(x).values())))
        rng = np.random.default_rng(seed)
    return answers[0], answers[1]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_onnxruntime(seed: int, relu: bool) -> None:
    openvino, onnxruntime = both(residual(seed, relu=relu), seed)
    step = np.diff(np.unique(onnxruntime)).min()
    difference = np.abs(openvino - onnxruntime) / step
    assert np.abs(onnxruntime).max() > 20 * step
    # without the rounding every eighth element is another one
    assert (difference > 0.5).mean() < 0.002
    assert difference.max() < 1.5


def test_only_layers_in_front_of_additions_are_protected() -> None:
    openvino = import_openvino()
    network = openvino.Core().read_model(small_resnet().bytes())
    before = len(network.get_ordered_ops())
    changed = keep_residual_roundings(openvino, network)
    assert changed == (1 if ON_X86 else 0)
    # the neutral operator and its constant
    assert len(network.get_ordered_ops()) == before + 2 * changed


def test_a_float_network_is_left_alone() -> None:
    openvino = import_openvino()
    network = openvino.Core().read_model(small_resnet(quantized=False).bytes())
    assert keep_residual_roundings(openvino, network) == 0
