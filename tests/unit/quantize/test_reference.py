"""The torch reference with the biases of the exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from edgecv.models import create
from edgecv.quantize import calibrate, export_qdq, prepare_qat
from edgecv.quantize.lower import quantized_weights
from edgecv.quantize.reference import as_exported, predict
from edgecv_runtimes.quiet import import_onnxruntime

SIZE = (32, 40)


def test_biases_are_those_of_the_file_and_bring_torch_closer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create("resnet10_micro", num_classes=5, size=SIZE).module.train()
    for _ in range(4):  # BatchNorm statistics that are not the initial ones
        model(torch.rand(16, 3, *SIZE))
    pictures = torch.rand(24, 3, *SIZE)
    qat = prepare_qat(model.eval(), input_size=SIZE)
    calibrate(qat, [pictures])
    before = {name: value.clone() for name, value in qat.state_dict().items()}
    exact = as_exported(qat, input_size=SIZE)
    assert all(torch.equal(before[name], value) for name, value in qat.state_dict().items())
    path = tmp_path / "model.qdq.onnx"
    export_qdq(qat, path, input_size=SIZE)
    stored = {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
    for name, weight in quantized_weights(exact).items():
        bias = name.removesuffix("weight") + "bias"
        steps, scale = stored[f"{bias}/int"].astype(np.float64), stored[f"{bias}/scale"]
        # float32 BatchNorm parameters hold them to a small part of a step
        np.testing.assert_allclose(weight.bias / scale, steps, atol=0.05, rtol=1e-6)
    session = import_onnxruntime().InferenceSession(path.read_bytes())
    engine = np.concatenate([session.run(None, {"input": p[None].numpy()})[0] for p in pictures])
    plain = np.abs(predict(qat, [pictures]) - engine).mean()
    closer = np.abs(predict(exact, [pictures]) - engine).mean()
    assert closer < plain
