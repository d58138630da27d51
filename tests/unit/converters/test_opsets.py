"""One model at every operator set that matters, for every target, against ONNX Runtime on the source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differential import run_onnx
from engines import convert_and_run
from onnx_models import OnnxModel, small_resnet

from edgecv.errors import UnsupportedError
from edgecv_converters import TARGETS, convert_model

OPSETS = (11, 13, 17, 19, 21)
#: Of the logits of small_resnet.
OUTPUT_SCALE = 0.2


def picture(*shape: int) -> np.ndarray:
    """Pixels as a camera gives them."""
    return (np.random.default_rng(5).integers(0, 256, shape) / 255).astype(np.float32)


@pytest.mark.parametrize("opset", OPSETS)
def test_int8(opset: int, tmp_path: Path) -> None:
    source = small_resnet(opset=opset).bytes()
    x = picture(1, 3, 20, 16)
    wanted = run_onnx(source, {"input": x})[0]
    found = convert_and_run(source, tmp_path, x)
    assert [r.precision for r, _ in found.values()] == ["int8"] * 3
    for target, (_, y) in found.items():
        # each of five roundings may fall to the other side
        assert np.abs(y - wanted).max() <= 2.01 * OUTPUT_SCALE, target


@pytest.mark.parametrize("opset", OPSETS)
def test_float(opset: int, tmp_path: Path) -> None:
    source = small_resnet(opset=opset, quantized=False).bytes()
    x = picture(1, 3, 20, 16)
    wanted = run_onnx(source, {"input": x})[0]
    for target, (_, y) in convert_and_run(source, tmp_path, x).items():
        assert np.abs(y - wanted).max() <= 1e-5 * np.abs(wanted).max(), target


@pytest.mark.parametrize("opset", [10, 22])
@pytest.mark.parametrize("target", TARGETS)
def test_others_are_refused(opset: int, target: str) -> None:
    model = OnnxModel(opset)
    source = model.output(model.op("Relu", [model.input("input", (1, 2))], "out"), (1, 2)).bytes()
    with pytest.raises(UnsupportedError, match=f"operator set {opset}.*opset 11 to 21"):
        convert_model(source, target)
