"""Quantizers that targets leave out: found by pattern, named, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import OnnxModel, conv_weights

from edgecv.artifact import read
from edgecv.conversion import convert
from edgecv.errors import UnsupportedError
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import convert_model
from edgecv_converters.leave_out import leave_out
from edgecv_runtimes.quiet import import_onnxruntime

SHARE = (1 / 256, -128)


def silu(
    *, swapped: bool = False, third_reader: bool = False, gate_of_another: bool = False
) -> bytes:
    """conv, x * sigmoid(x), softmax over the last axis."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 6, 8), (1 / 255, -128))
    weight, bias, scale = conv_weights(rng, model, "conv", (4, 3, 3, 3), 1 / 255)
    y = model.op("Conv", [x, weight, bias], "y", (scale, 4), pads=[1] * 4)
    z = model.op("Relu", [y], "z", (scale, -128)) if gate_of_another else y
    gate = model.op("Sigmoid", [z], "gate", SHARE)
    operands = [gate, y] if swapped else [y, gate]
    act = model.op("Mul", operands, "act", (scale, -120))
    if third_reader:
        act = model.op("Add", [act, y], "sum", (2 * scale, 0))
    scores = model.op("Add", [act, act], "scores", (2 * scale, 0))
    return model.output(model.op("Softmax", [scores], "out", SHARE, axis=-1)).bytes()


def quantized_tensors(source: bytes) -> set[str]:
    nodes = onnx.ModelProto.FromString(source).graph.node
    return {n.input[0].removesuffix("/float") for n in nodes if n.op_type == "QuantizeLinear"}


def outputs(source: bytes, x: np.ndarray) -> np.ndarray:
    session = import_onnxruntime().InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


@pytest.mark.parametrize("swapped", [False, True])
def test_inside_silu_both_go(swapped: bool) -> None:
    source = silu(swapped=swapped)
    reduced, names = leave_out(source, ["inside_silu"])
    assert names == ("y", "gate")
    assert quantized_tensors(source) - quantized_tensors(reduced) == {"y", "gate"}
    onnx.checker.check_model(onnx.ModelProto.FromString(reduced), full_check=True)
    left = {i.name for i in onnx.ModelProto.FromString(reduced).graph.initializer}
    assert not {"y/scale", "gate/scale", "y/zero_point"} & left


def test_a_tensor_that_somebody_else_reads_stays() -> None:
    reduced, names = leave_out(silu(third_reader=True), ["inside_silu"])
    assert names == ("gate",)
    assert "y" in quantized_tensors(reduced)


def test_a_gate_over_another_tensor_is_no_silu() -> None:
    source = silu(gate_of_another=True)
    assert leave_out(source, ["inside_silu"]) == (source, ())


def test_before_softmax() -> None:
    reduced, names = leave_out(silu(), ["before_softmax"])
    assert names == ("scores",)
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 6, 8)).astype(np.float32)
    # the same up to the roundings that went away
    assert np.abs(outputs(silu(), x) - outputs(reduced, x)).max() <= 4 / 256


def test_only_the_named_ones() -> None:
    assert leave_out(silu(), ["inside_silu", "before_softmax"], only=["gate"])[1] == ("gate",)
    assert leave_out(silu(), [], only=["gate"]) == (silu(), ())


def test_an_unknown_group() -> None:
    with pytest.raises(UnsupportedError, match=r"'everything'.*inside_silu"):
        leave_out(silu(), ["everything"])


def test_each_target_leaves_out_its_own() -> None:
    found = {t: convert_model(silu(), t).left_out for t in ("tflite", "openvino", "onnx")}
    assert found == {"tflite": (), "openvino": ("y", "gate", "scores"), "onnx": ("scores",)}


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_artifacts_name_them_and_pass_verification(target: str, tmp_path: Path) -> None:
    (tmp_path / "m.qdq.onnx").write_bytes(silu())
    result = convert(tmp_path / "m.qdq.onnx", target=target, out=tmp_path / "out")
    manifest = read(result.path).manifest
    assert manifest is not None
    assert manifest.left_out
    kept = {q.name for q in manifest.quantizers}
    assert not kept & set(manifest.left_out)
    assert kept | set(manifest.left_out) == quantized_tensors(silu())
    assert compare_parameters(result.path, silu()) == []


def test_a_quantizer_that_is_missing_and_not_listed_is_noticed(tmp_path: Path) -> None:
    reduced, _ = leave_out(silu(), ["before_softmax"])
    (tmp_path / "m.onnx").write_bytes(reduced)
    assert {m.tensor for m in compare_parameters(tmp_path / "m.onnx", silu())} >= {"scores"}
