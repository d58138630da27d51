"""Post-training quantization of our own float ONNX files; strangers' are in test_strangers.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_reading import constants, kernels, run
from torch import nn
from torch_nets import SmallNet, lively, pictures

from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.quantize import calibrate, export_float, export_qdq, predict, prepare_qat
from edgecv_converters.ptq import quantize_onnx, quantizers_of_qdq

SIZE = (16, 20)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return lively(SmallNet(), SIZE)


@pytest.fixture(scope="module")
def float_file(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ptq") / "float.onnx"
    export_float(model, path, input_size=SIZE)
    return path.read_bytes()


def test_the_result_is_what_calibrating_in_torch_gives(
    model: nn.Module, float_file: bytes, tmp_path: Path
) -> None:
    batches = [pictures(5, SIZE, seed) for seed in range(2)]
    qat = prepare_qat(model, input_size=SIZE)
    calibrate(qat, batches)
    export_qdq(qat, tmp_path / "torch.onnx", input_size=SIZE)
    ours = quantize_onnx(float_file, [b.numpy() for b in batches], bias_correction=False)
    left, right = constants(tmp_path / "torch.onnx"), constants(ours)
    assert left.keys() == right.keys()
    for name in left:
        if name.endswith("/scale") and left[name].shape == ():
            # the same values, rounded by two engines
            np.testing.assert_allclose(right[name], left[name], rtol=1e-5, err_msg=name)
        if name.endswith("weight/int"):
            assert np.abs(left[name].astype(int) - right[name]).max() <= 1, name
    x = pictures(8, SIZE, seed=9)
    step = float(right["logits/scale"])
    assert np.abs(run(ours, x.numpy()) - predict(qat, [x])).max() <= 2.001 * step


def test_every_operator_runs_in_integers(float_file: bytes, tmp_path: Path) -> None:
    (tmp_path / "q.onnx").write_bytes(quantize_onnx(float_file, [pictures(2, SIZE).numpy()]))
    found = kernels(tmp_path / "q.onnx", tmp_path)
    assert found["QLinearConv"] == 6
    assert found["QLinearAdd"] == 2
    assert not {"Conv", "Add", "Gemm", "Relu", "Clip"} & set(found)


def test_ranges_are_the_global_minimum_and_maximum(float_file: bytes) -> None:
    batches = [pictures(3, SIZE, seed).numpy() for seed in range(3)]
    single = [quantize_onnx(float_file, [b]) for b in batches]
    whole = constants(quantize_onnx(float_file, batches))
    spans = [float(constants(s)["logits/scale"]) for s in single]
    assert float(whole["logits/scale"]) >= max(spans)
    assert float(whole["act1/scale"]) == pytest.approx(
        max(float(constants(s)["act1/scale"]) for s in single)
    )


def test_quantizers_are_read_back(float_file: bytes) -> None:
    content = quantize_onnx(float_file, [pictures(2, SIZE).numpy()])
    found = constants(content)
    records = quantizers_of_qdq(content)
    assert [r.name for r in records][:3] == ["input", "act1", "layer1.act1"]
    for record in records:
        assert record.scale == float(found[f"{record.name}/scale"])
        assert record.zero_point == int(found[f"{record.name}/zero_point"]) - 128


def test_a_scale_per_channel_cannot_be_read_back(float_file: bytes) -> None:
    content = quantize_onnx(float_file, [pictures(2, SIZE).numpy()])
    file = onnx.load_model_from_string(content)
    for i in file.graph.initializer:
        if i.name in ("act1/scale", "act1/zero_point"):
            value = np.repeat(numpy_helper.to_array(i).reshape(1), 12)
            i.CopyFrom(numpy_helper.from_array(value, i.name))
    with pytest.raises(UnsupportedError, match="'act1' is computed or per channel"):
        quantizers_of_qdq(file)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no pictures"),
        ([np.zeros((1, 3, 8, 8))], r"shape \[1, 3, 8, 8\], the model takes \[N, 3, 16, 20\]"),
        ([np.full((1, 3, *SIZE), 2.5)], "from 2.5 to 2.5"),
        ([np.full((1, 3, *SIZE), -1.0)], "mean and std"),
        ([np.full((1, 3, *SIZE), np.nan)], "nan"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(
    float_file: bytes, batches: list[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        quantize_onnx(float_file, batches)


def test_a_model_that_gives_nan_is_refused_by_tensor(float_file: bytes) -> None:
    file = onnx.load_model_from_string(float_file)
    for i in file.graph.initializer:
        if i.name == "layer1.conv1.bias":
            value = numpy_helper.to_array(i).copy()
            value[3] = np.nan
            i.CopyFrom(numpy_helper.from_array(value, i.name))
    with pytest.raises(InputError, match="'layer1"):
        quantize_onnx(file, [pictures(1, SIZE).numpy()])


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x07" * 40])
def test_what_is_no_onnx_file_is_one_clear_error(content: bytes) -> None:
    with pytest.raises(ModelLoadError, match="ONNX"):
        quantize_onnx(content, [])


def test_a_truncated_file_is_one_clear_error(float_file: bytes) -> None:
    with pytest.raises(ModelLoadError, match="ONNX"):
        quantize_onnx(float_file[: len(float_file) // 2], [])


def test_a_quantized_file_is_not_quantized_again(float_file: bytes) -> None:
    once = quantize_onnx(float_file, [pictures(1, SIZE).numpy()])
    with pytest.raises(UnsupportedError, match="QuantizeLinear"):
        quantize_onnx(once, [pictures(1, SIZE).numpy()])


def test_torch_is_not_imported() -> None:
    code = "import edgecv_converters.ptq, sys; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
