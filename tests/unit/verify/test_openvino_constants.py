"""Constants that a file rounds twice: stored for OpenVINO as what they become, compared, and compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import OnnxModel
from verified_nets import Verified

from edgecv.conversion import convert
from edgecv.errors import ModelLoadError
from edgecv.verify import engine_gates
from edgecv.verify.gates import VerificationFailedError
from edgecv_converters import api
from edgecv_converters.openvino.constants import store_second_roundings

GRID = (0.05, 3)


def pair(model: OnnxModel, source: str, name: str, scale: Any, zero: Any, **attributes: Any) -> str:
    """QuantizeLinear and DequantizeLinear of a constant."""
    grid = [model.constant(f"{name}/scale", scale), model.constant(f"{name}/zero_point", zero)]
    model.nodes.append(
        helper.make_node("QuantizeLinear", [source, *grid], [f"{name}/int"], name=f"q:{name}", **attributes)
    )  # fmt: skip
    model.nodes.append(
        helper.make_node("DequantizeLinear", [f"{name}/int", *grid], [name], name=f"dq:{name}", **attributes)
    )  # fmt: skip
    return name


def shared(
    *, read_first: bool = True, per_channel: bool = False, activation: str = "uint8", zero: int = 5
) -> OnnxModel:
    """A bias that three linear layers share, as torch.onnx and onnxruntime's quantizer leave it."""
    rng = np.random.default_rng(0)
    model = OnnxModel(activation=activation)
    x = model.input("x", (1, 5, 8), GRID)
    limits = np.iinfo(activation)
    integers = rng.integers(limits.min, limits.max + 1, 8).astype(activation)
    bias = model.weight("bias", integers, np.float32(0.004), None, zero=zero)
    for number in range(3):
        weight = rng.integers(-127, 128, (8, 8)).astype(np.int8)
        w = model.weight(f"w{number}", weight, np.float32(0.004), None)
        y = model.op("MatMul", [x, w], f"product{number}", (0.05, 0))
        if number or not read_first:
            copy = model.op("Identity", ["bias"], f"copy{number}")
            if per_channel:
                scale, zero = np.linspace(0.002, 0.009, 8, dtype=np.float32), np.zeros(8, np.int8)
                b = pair(model, copy, f"bias{number}", scale, zero, axis=0)
            else:
                b = pair(
                    model, copy, f"bias{number}", np.float32(0.005), np.array(zero, activation)
                )
        else:
            b = bias
        y = model.op("Add", [b, y], f"sum{number}", (0.05, 2))
        gate = model.op("Sigmoid", [y], f"gate{number}", (1 / 256, -128))
        x = model.op("Mul", [y, gate], f"act{number}", (0.05, -120))
    return model.output(x)


def roundings(source: bytes) -> list[str]:
    return [
        n.name
        for n in onnx.ModelProto.FromString(source).graph.node
        if n.op_type == "QuantizeLinear"
    ]


@pytest.mark.parametrize("activation", ["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_integers_are_those_of_onnx(per_channel: bool, activation: str) -> None:
    from differential import run_onnx

    source = shared(per_channel=per_channel, activation=activation).bytes()
    stored = store_second_roundings(source)
    assert set(roundings(source)) - set(roundings(stored)) == {"q:bias1", "q:bias2"}
    x = {"x": np.random.default_rng(1).normal(0, 2, (1, 5, 8)).astype(np.float32)}
    wanted = run_onnx(source, x, ["bias1/int", "bias2/int", "act2"])
    found = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.ModelProto.FromString(stored).graph.initializer
    }
    for name, integers in zip(("bias1/int", "bias2/int"), wanted, strict=False):
        assert found[name].dtype == integers.dtype
        np.testing.assert_array_equal(found[name], integers)
    np.testing.assert_array_equal(run_onnx(stored, x)[0], wanted[2])
    assert store_second_roundings(stored) is stored


def test_what_is_rounded_once_stays() -> None:
    """A float constant behind QuantizeLinear, an activation: bytes as they are."""
    model = OnnxModel()
    x = model.input("x", (1, 4), GRID)
    w = pair(
        model, model.constant("raw", np.ones(4, np.float32)), "w", np.float32(0.01), np.uint8(0)
    )
    source = model.output(model.op("Add", [x, w], "y", GRID)).bytes()
    assert store_second_roundings(source) is source


@pytest.mark.parametrize("read_first", [True, False])
@pytest.mark.parametrize(("per_channel", "zero"), [(True, 0), (False, 0), (False, 7)])
def test_every_target_converts_and_is_verified(
    read_first: bool, per_channel: bool, zero: int, tmp_path: Path
) -> None:
    made = Verified(tmp_path, shared(read_first=read_first, per_channel=per_channel, zero=zero))
    for target in made.artifacts:
        assert made.compare(made.copy(target)) == []
    copy = made.copy("openvino")
    array = copy.array("bias2/int")
    before = int(array[3])
    array[3] = before + 1 if before < 100 else before - 1
    copy.save()
    assert [str(m) for m in made.compare(copy)] == [
        f"bias2, channel 3, element 3: integer is {int(array[3])}, the source has {before}"
    ]


def alone() -> bytes:
    """One linear layer with such a bias, of zero point 0."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("x", (1, 5, 8), GRID)
    w = model.weight("w", rng.integers(-127, 128, (8, 8)).astype(np.int8), np.float32(0.004), None)
    bias = model.weight("bias", rng.integers(0, 256, 8).astype(np.uint8), np.float32(0.004), None)
    again = pair(
        model, model.op("Identity", [bias], "copy"), "again", np.float32(0.005), np.uint8(5)
    )
    product = model.op("MatMul", [x, w], "product", (0.05, 0))
    return model.output(model.op("Add", [again, product], "y", (0.05, 2))).bytes()


def test_openvino_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it this model does not compile: the operator and the remedy are named."""
    path = tmp_path / "m.onnx"
    path.write_bytes(alone())
    assert convert(path, target="openvino", out=tmp_path / "right").report["verified"]
    monkeypatch.setattr(api, "store_second_roundings", lambda source: source)
    with pytest.raises(VerificationFailedError) as stopped:
        convert(path, target="openvino", out=tmp_path / "out")
    (gate,) = stopped.value.report.failed
    assert gate.name == "engine"
    assert gate.detail.startswith("at Add 'node:y': OpenVINO cannot load it: ")
    assert "python -m onnxruntime.quantization.preprocess" in gate.detail
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("target", "remedy"), [("openvino", True), ("onnx", False)])
def test_a_refusal_of_another_kind(
    target: str, remedy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ModelLoadError("the engine has a bad day", cure="Wait.")

    monkeypatch.setattr(engine_gates, "choose", lambda *_: refuse)
    (tmp_path / "m.onnx").write_bytes(shared().bytes())
    with pytest.raises(VerificationFailedError) as stopped:
        convert(tmp_path / "m.onnx", target=target, out=tmp_path / "out")
    (gate,) = stopped.value.report.failed
    assert gate.detail.startswith("the engine has a bad day")
    assert ("onnxruntime.quantization.preprocess" in gate.detail) is remedy
