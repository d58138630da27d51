"""Whole ResNets, as a stranger brings them and in our own form: one partition, no transpose, 1 LSB per tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation, interpreter
from exported import quantize_static, timm_onnx
from onnx_models import small_resnet

from edgecv.verify.parameters import compare_parameters
from edgecv.verify.teacher_forced import KERNELS, failures, teacher_forced
from edgecv_converters import convert_model

SIZE = 96


@pytest.fixture(scope="module")
def resnet18() -> bytes:
    return timm_onnx("resnet18", SIZE)


def samples(size: int, count: int = 2) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    return [
        {"input": rng.uniform(0, 1, (1, 3, size, size)).astype(np.float32)} for _ in range(count)
    ]


@pytest.mark.parametrize(("activation", "per_channel"), [("QUInt8", True), ("QInt8", False)])
def test_resnet18_quantized_by_onnxruntime(
    resnet18: bytes, tmp_path: Path, activation: str, per_channel: bool
) -> None:
    source = quantize_static(
        resnet18, tmp_path, SIZE, activation=activation, per_channel=per_channel
    )
    converted = convert_model(source, "tflite")
    data = converted.files[".tflite"]
    counts = converted.plan.statistics()
    assert counts["by_type"]["CONV_2D"] == 20
    assert "TRANSPOSE" not in counts["by_type"]
    assert "RESHAPE" not in counts["by_type"]
    assert counts["int8_macs_share"] == 1.0
    taken = delegation(data)
    assert (taken.partitions, taken.outside) == (1, ())
    assert converted.warnings == ()
    (tmp_path / "model.tflite").write_bytes(data)
    assert compare_parameters(tmp_path / "model.tflite", source) == []
    for kernels in KERNELS:
        errors = teacher_forced(converted.plan, source, samples(SIZE), kernels=kernels)
        assert len(errors) == 31  # 20 convolutions, 8 sums, both pools, the linear layer
        assert failures(errors, kernels=kernels) == []
        assert max(e.max_lsb for e in errors) <= 1


def test_resnet18_float(resnet18: bytes, tmp_path: Path) -> None:
    converted = assert_float(resnet18, relative=1e-4)
    assert "TRANSPOSE" not in converted.plan.statistics()["by_type"]
    taken = delegation(converted.files[".tflite"])
    assert (taken.partitions, taken.outside) == (1, ())
    (tmp_path / "model.tflite").write_bytes(converted.files[".tflite"])
    assert compare_parameters(tmp_path / "model.tflite", resnet18) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [("resnet50", 160), ("resnet10t", 96), ("resnet34d", 96)]
)
def test_other_resnets(name: str, size: int, tmp_path: Path) -> None:
    model = timm_onnx(name, size)
    assert_float(model, relative=1e-3)
    source = quantize_static(model, tmp_path, size)
    converted = convert_model(source, "tflite")
    assert "TRANSPOSE" not in converted.plan.statistics()["by_type"]
    assert failures(teacher_forced(converted.plan, source, samples(size, 1))) == []


@pytest.mark.parametrize("activation", ["uint8", "int8"])
def test_own_form(activation: str) -> None:
    source = small_resnet(activation=activation).bytes()
    converted = assert_int8(source, lsb=1)
    names = {
        d["name"]: d["quantization"]
        for d in interpreter(converted.files[".tflite"]).get_tensor_details()
    }
    for record in converted.quantizers:
        if record.name in names:
            assert names[record.name] == (record.scale, record.zero_point)
    # the flattened mean is the mean, under another name
    assert {r.name for r in converted.quantizers} - set(names) == {"global_pool.flatten"}


def test_operator_versions_load_in_old_runtimes() -> None:
    """tflite-runtime 2.14 refuses FULLY_CONNECTED beyond version 11, and knows these."""
    plan = convert_model(small_resnet().bytes(), "tflite").plan
    assert {op.op: op.version for op in plan.ops} == {
        "PAD": 2, "CONV_2D": 3, "MAX_POOL_2D": 2, "ADD": 2, "MEAN": 2, "FULLY_CONNECTED": 4,
    }  # fmt: skip


def test_a_shifted_scale_fails_the_teacher_forced_gate() -> None:
    """The gate notices what the parameters' comparison would: here the plan itself is wrong."""
    import dataclasses

    source = small_resnet().bytes()
    plan = convert_model(source, "tflite").plan
    index = next(i for i, t in enumerate(plan.tensors) if t.name == "layer1.conv1.weight")
    weight = plan.tensors[index]
    assert weight.quantization is not None
    scales = tuple(float(np.float32(s * 1.1)) for s in weight.quantization.scales)
    changed = dataclasses.replace(
        weight, quantization=dataclasses.replace(weight.quantization, scales=scales)
    )
    wrong = dataclasses.replace(
        plan, tensors=(*plan.tensors[:index], changed, *plan.tensors[index + 1 :])
    )
    rng = np.random.default_rng(0)
    pictures = [{"input": rng.uniform(0, 1, (1, 3, 20, 16)).astype(np.float32)}]
    assert failures(teacher_forced(plan, source, pictures)) == []
    assert [e.tensor for e in failures(teacher_forced(wrong, source, pictures))] == ["layer1.act1"]
