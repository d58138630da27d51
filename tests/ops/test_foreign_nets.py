"""Nets that onnxruntime quantized, with the operators of this folder: one partition, every tensor within 1 LSB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differential import delegation
from exported import preprocessed, quantize_static, timm_onnx

from edgecv.conversion import convert
from edgecv.verify.parameters import compare_parameters
from edgecv.verify.teacher_forced import KERNELS, failures, teacher_forced
from edgecv_converters import Converted, convert_model


def foreign(name: str, size: int, folder: Path) -> tuple[bytes, Converted]:
    """The quantized source and its conversion, whose parameters are the source's."""
    source = quantize_static(preprocessed(timm_onnx(name, size), folder), folder, size)
    converted = convert_model(source, "tflite")
    path = folder / "model.tflite"
    path.write_bytes(converted.files[".tflite"])
    assert compare_parameters(path, source) == []
    return source, converted


def assert_every_tensor(source: bytes, converted: Converted, size: int, *, lsb: int) -> None:
    rng = np.random.default_rng(3)
    samples = [{"input": rng.uniform(0, 1, (1, 3, size, size)).astype(np.float32)}]
    for kernels in KERNELS:
        errors = teacher_forced(converted.plan, source, samples, kernels=kernels)
        assert failures(errors, kernels=kernels) == []
        assert max(e.max_lsb for e in errors) <= lsb


def test_mobilevit(tmp_path: Path) -> None:
    """Keys and values have zero points: they are rounded once more, to symmetric grids, and stay inside."""
    source, converted = foreign("mobilevit_xxs", 128, tmp_path)
    counts = converted.plan.statistics()["by_type"]
    # four per attention (q, k, v, out) and two per unfolded stage
    assert counts["TRANSPOSE"] == 9 * 4 + 3 * 2
    assert counts["BATCH_MATMUL"] == 18
    taken = delegation(converted.files[".tflite"])
    assert (taken.partitions, taken.outside) == (1, ())
    assert converted.warnings == ()
    assert_every_tensor(source, converted, 128, lsb=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ghostnet_100", 96), ("efficientnet_b0", 96), ("mobilenetv3_large_100", 96), ("dpn68", 96),
        ("inception_v3", 139), ("selecsls42b", 96),
    ],
)  # fmt: skip
def test_concatenations_splits_and_squeeze_excite(name: str, size: int, tmp_path: Path) -> None:
    source, converted = foreign(name, size, tmp_path)
    counts = converted.plan.statistics()["by_type"]
    assert "TRANSPOSE" not in counts
    taken = delegation(converted.files[".tflite"])
    assert (taken.partitions, taken.outside) == (1, ())
    assert converted.warnings == ()
    assert_every_tensor(source, converted, size, lsb=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [("densenet121", 64), ("res2net50_26w_4s", 64), ("levit_128s", 224)]
)
def test_more_nets_stay_inside(name: str, size: int, tmp_path: Path) -> None:
    """Their averages, and keys on coarse grids, are off by more than the gate's mean, by 1 LSB at most or 4.

    LeViT: where more than 0.7 LSB of noise is predicted for the keys, the product runs in float.
    """
    source, converted = foreign(name, size, tmp_path)
    taken = delegation(converted.files[".tflite"])
    assert (taken.partitions, taken.outside) == (1, ())
    rng = np.random.default_rng(3)
    samples = [{"input": rng.uniform(0, 1, (1, 3, size, size)).astype(np.float32)}]
    errors = teacher_forced(converted.plan, source, samples)
    assert len(converted.plan.float_products) == (3 if name == "levit_128s" else 0)
    assert max((e.mean_lsb for e in errors if e.bridged), default=0) <= 0.8
    assert max(e.max_lsb for e in errors if not e.bridged) <= 1
    assert max((e.max_lsb for e in errors if e.bridged), default=0) <= 4


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "openvino"])
def test_gelu_of_a_vision_transformer(target: str, tmp_path: Path) -> None:
    """Erf and its neighbors with quantizers of their own: 3 of each are left out, and every gate passes."""
    net = preprocessed(timm_onnx("deit_tiny_patch16_224", 224), tmp_path)
    path = tmp_path / "source.onnx"
    path.write_bytes(quantize_static(net, tmp_path, 224))
    result = convert(path, target=target, out=tmp_path / "out")
    inside = [name for name in result.manifest.left_out if "/mlp/act/" in name]
    assert len(inside) == 12 * 3
    if target == "tflite":
        counts = result.plan.statistics()["by_type"]
        assert (counts["GELU"], counts["SOFTMAX"]) == (12, 12)
        assert result.plan.warnings == ()
