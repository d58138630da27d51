"""The float twin computes what the quantized model would without rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx_models import OnnxModel, small_resnet
from verified_nets import separable

from edgecv.errors import UnsupportedError
from edgecv.models import create
from edgecv.quantize import calibrate, export_float, export_qdq, prepare_qat
from edgecv_converters import convert_model
from edgecv_converters.float_twin import float_twin


def _run(model: bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, {session.get_inputs()[0].name: x})[0]
    return answer


def test_it_is_the_float_model(tmp_path: Path) -> None:
    """Exported by ourselves, float and quantized: the twin differs by the rounding of weights alone."""
    torch.manual_seed(0)
    module = create("resnet10_micro", num_classes=5, size=(32, 32)).module.eval()
    frames = torch.rand(4, 3, 32, 32)
    qat = prepare_qat(module, input_size=(32, 32))
    calibrate(qat, [frames])
    qdq, plain = tmp_path / "a.qdq.onnx", tmp_path / "a.float.onnx"
    export_qdq(qat.eval(), qdq, input_size=(32, 32))
    export_float(module, plain, input_size=(32, 32))
    twin = float_twin(qdq.read_bytes())
    model = onnx.load_from_string(twin)
    onnx.checker.check_model(model, full_check=True)
    assert not {node.op_type for node in model.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    x = frames[:1].numpy()
    real, ours, quantized = (_run(m, x) for m in (plain.read_bytes(), twin, qdq.read_bytes()))
    assert np.abs(ours - real).max() <= 0.02 * np.ptp(real)
    assert np.abs(ours - quantized).max() > 0  # nothing rounds any more


@pytest.mark.parametrize("make", [small_resnet, separable, lambda: separable(per_channel=False)])
def test_any_qdq_file_has_one(make: Callable[[], OnnxModel]) -> None:
    model = onnx.load_from_string(float_twin(make().bytes()))
    onnx.checker.check_model(model, full_check=True)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    answer = _run(model.SerializeToString(), np.zeros(shape, np.float32))
    assert np.isfinite(answer).all()


def test_it_converts_like_a_float_model() -> None:
    converted = convert_model(float_twin(small_resnet().bytes()), "tflite")
    plain = convert_model(small_resnet(quantized=False).bytes(), "tflite")
    assert converted.precision == "float32"
    assert len(converted.plan.ops) == len(plain.plan.ops)


def test_weights_are_the_grids_numbers() -> None:
    source = onnx.load_from_string(small_resnet().bytes())
    twin = onnx.load_from_string(float_twin(small_resnet().bytes()))
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in source.graph.initializer}
    found = 0
    made = {t.name: onnx.numpy_helper.to_array(t) for t in twin.graph.initializer}
    for node in source.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            integers, scale = constants[node.input[0]], constants[node.input[1]]
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape = [-1 if d == axis else 1 for d in range(integers.ndim)] if scale.size > 1 else []
            expected = integers.astype(np.float64) * scale.astype(np.float64).reshape(shape)
            assert np.array_equal(made[node.output[0]], expected.astype(np.float32))
            found += 1
    assert found >= 6


def test_a_float_model_has_none() -> None:
    with pytest.raises(UnsupportedError, match="has no quantizers"):
        float_twin(small_resnet(quantized=False).bytes())
