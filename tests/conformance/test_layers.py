"""Which layers an engine executes, in which precision, under the names of the model."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx_models import OnnxModel, small_resnet

from edgecv.artifact import ModelFile
from edgecv_runtimes.base import ListsLayers, summarize_precision
from edgecv_runtimes.onnxruntime import OnnxRuntimeBackend
from edgecv_runtimes.openvino import OpenVINOBackend
from edgecv_runtimes.registry import choose

BACKENDS = [OpenVINOBackend, OnnxRuntimeBackend]


def file_of(model: OnnxModel) -> ModelFile:
    return ModelFile("onnx", None, model.bytes(), None, None, "unsigned")


def attention() -> OnnxModel:
    """Linear layers and both products, which OpenVINO joins with what is between them."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("x", (1, 16, 32), (0.05, 3))
    parts = []
    for name in ("q", "k", "v"):
        integers = rng.integers(-127, 128, (32, 32)).astype(np.int8)
        weight = model.weight(f"{name}.weight", integers, np.float32(0.003), None)
        y = model.op("MatMul", [x, weight], name, (0.05, 0))
        shape = model.constant(f"{name}.shape", np.array([1, 16, 4, 8]))
        perm = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        heads = model.op("Reshape", [y, shape], f"{name}.heads")
        parts.append(model.op("Transpose", [heads], f"{name}.t", perm=perm))
    scores = model.op("MatMul", parts[:2], "scores", (0.1, 0))
    shares = model.op("Softmax", [scores], "shares", (1 / 256, -128), axis=-1)
    return model.output(model.op("MatMul", [shares, parts[2]], "y", (0.05, 0)))


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("quantized", [True, False])
def test_every_layer_of_a_network(backend: type[OpenVINOBackend], quantized: bool) -> None:
    opened = backend(file_of(small_resnet(quantized=quantized)), threads=1)
    assert isinstance(opened, ListsLayers)
    layers = opened.executed_layers()
    assert [layer.kind for layer in layers] == ["conv", "conv", "conv", "linear"]
    assert {layer.precision for layer in layers} == {"int8" if quantized else "float32"}
    assert len({layer.name for layer in layers}) == 4
    assert opened.executed_precision() == summarize_precision(layers)
    if quantized:
        # ONNX Runtime gives layers that it fuses with a bias or clamp names of its own
        wanted = ["bn1", "layer1.bn1", "layer1.bn2", "logits"]
        assert all(part in layer.name for part, layer in zip(wanted, layers, strict=True))
    opened.close()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_products_inside_a_fused_attention_are_listed(backend: type[OpenVINOBackend]) -> None:
    opened = backend(file_of(attention()), threads=1)
    layers = opened.executed_layers()
    kinds = Counter(layer.kind for layer in layers)
    assert sum(kinds.values()) == 5
    assert kinds["matmul"] >= 2
    opened.close()


def test_without_optimizations_nothing_is_fused() -> None:
    """The reference: every operator of the file in float, between its roundings."""
    plain = OnnxRuntimeBackend(file_of(small_resnet()), threads=1, optimize=False)
    assert [layer.precision for layer in plain.executed_layers()] == ["float32"] * 4
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 20, 16)).astype(np.float32)
    fast = OnnxRuntimeBackend(file_of(small_resnet()), threads=1)
    error = np.abs(plain.infer({"input": x})["logits"] - fast.infer({"input": x})["logits"])
    assert error.max() <= 0.2 * 1.001


def test_litert_does_not_list_layers() -> None:
    assert not issubclass(choose("litert", "tflite"), ListsLayers)
