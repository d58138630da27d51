"""float16 artifacts: half the bytes, every constant rounded half to even, verified with bounds that follow."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from differential import KERNELS, delegation, interpreter, run_onnx, run_tflite
from onnx import numpy_helper
from onnx_models import OnnxModel, many_operators, small_resnet
from reseal import reseal
from verified_nets import TARGETS

from edgecv import artifact
from edgecv.cli import main
from edgecv.conversion import convert, convert_all
from edgecv.errors import InputError, UnsupportedError
from edgecv.runtime import Runtime
from edgecv.verify.gates import VerificationFailedError
from edgecv.verify.parameters import compare_parameters
from edgecv.verify.tflite_reading import read_tflite
from edgecv.verify.verifier import verify_artifact
from edgecv_converters import WriteOptions, convert_model, plan_model
from edgecv_converters.half import as_float16

Array = np.ndarray[Any, Any]
HALF = WriteOptions(float16=True)
ROUNDING = 2.0**-11


def mlp(weight: Array | None = None, bias: Array | None = None) -> bytes:
    """Two linear layers of 64, with a batch normalization between that is folded into the first."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    if weight is None:
        weight = rng.normal(0, 0.1, (64, 64)).astype(np.float32)
    x = model.input("x", (1, 3, 16, 16))
    kernel = model.constant("conv.weight", rng.normal(0, 0.2, (64, 3, 3, 3)).astype(np.float32))
    x = model.op("Conv", [x, kernel], "conv")
    vectors = [
        model.constant(f"bn.{i}", rng.uniform(0.5, 1.5, 64).astype(np.float32)) for i in range(4)
    ]
    x = model.op("BatchNormalization", [x, *vectors], "bn")
    x = model.op("Relu", [x], "act")
    x = model.op("GlobalAveragePool", [x], "pool")
    x = model.op("Flatten", [x], "flat")
    operands = [x, model.constant("fc.weight", weight)]
    if bias is not None:
        operands.append(model.constant("fc.bias", bias))
    return model.output(model.op("Gemm", operands, "logits")).bytes()


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def saved(tmp_path: Path, source: bytes) -> Path:
    path = tmp_path / "source" / "net.float.onnx"
    path.parent.mkdir()
    path.write_bytes(source)
    return path


def stored_bytes(path: Path) -> int:
    """All files of an artifact."""
    return sum(p.stat().st_size for p in path.parent.glob(f"{path.stem}.*"))


# --- what is written ------------------------------------------------------------------------------


def test_half_the_bytes_and_named_so(target: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = saved(tmp_path, mlp(rng.normal(0, 0.02, (64, 4096)).astype(np.float32)))
    whole = convert(path, target=target, out=tmp_path)
    half = convert(path, target=target, out=tmp_path, float16=True)
    assert whole.path.name == f"net.float{whole.path.suffix}"
    assert half.path.name == f"net.float16{half.path.suffix}"
    assert (half.precision, half.manifest.precision) == ("float16", "float16")
    assert half.manifest.parent is not None
    assert half.manifest.parent["float16"] is True
    assert 0.49 < stored_bytes(half.path) / stored_bytes(whole.path) < 0.53
    assert (
        half.plan.statistics()["constant_bytes"] < 0.51 * whole.plan.statistics()["constant_bytes"]
    )
    with Runtime(half.path) as runtime:
        assert [s.dtype for s in (*runtime.info.inputs, *runtime.info.outputs)] == ["float32"] * 2


def test_tflite_constants_stand_behind_dequantize() -> None:
    """As TensorFlow writes them; XNNPACK takes everything, and the plain interpreter reads the types."""
    converted = convert_model(mlp(), "tflite", write=HALF)
    data = converted.files[".tflite"]
    file = read_tflite(data)
    unpacked = [op for op in file.operators if op.op == "DEQUANTIZE"]
    assert [op.inputs[0] for op in unpacked] == ["bn:weight:float16", "fc.weight:float16"]
    assert [file.tensors[op.outputs[0]].data for op in unpacked] == [None, None]
    half = file.tensors["fc.weight:float16"].data
    assert half is not None
    assert half.dtype == np.float16
    found = delegation(data)
    assert (found.partitions, found.outside, converted.warnings) == (1, (), ())
    details = {d["name"]: d["dtype"] for d in interpreter(data, "builtin").get_tensor_details()}
    assert details["fc.weight:float16"] == np.float16
    assert details["fc.weight"] == np.float32


def test_every_kernel_set_computes_what_the_rounded_source_computes() -> None:
    """Without a normalization to fold the numbers are the same, so only the order of sums is left."""
    source = small_resnet(quantized=False).bytes()
    rounded = convert_model(source, "onnx", write=HALF).files[".onnx"]
    converted = convert_model(source, "tflite", write=HALF)
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 20, 16)).astype(np.float32)
    (wanted,), (plain,) = run_onnx(rounded, {"input": x}), run_onnx(source, {"input": x})
    assert not np.array_equal(wanted, plain)
    for kernels in KERNELS:
        (found,) = run_tflite(
            converted.files[".tflite"], [np.ascontiguousarray(x.transpose(0, 2, 3, 1))], kernels
        )
        assert np.abs(found - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_onnx_constants_stand_behind_cast() -> None:
    source = mlp()
    data = convert_model(source, "onnx", write=HALF).files[".onnx"]
    model = onnx.ModelProto.FromString(data)
    onnx.checker.check_model(model, full_check=True)
    casts = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Cast"}
    assert casts == {f"{n}.weight": f"{n}.weight:float16" for n in ("conv", "fc")}
    before = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.ModelProto.FromString(source).graph.initializer
    }
    after = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert np.array_equal(after["fc.weight:float16"], before["fc.weight"].astype(np.float16))
    assert np.array_equal(after["bn.0"], before["bn.0"])


def test_weights_that_are_operators(tmp_path: Path) -> None:
    """Some exporters write Constant operators instead of initializers."""
    model = onnx.ModelProto.FromString(mlp())
    (weight,) = (t for t in model.graph.initializer if t.name == "fc.weight")
    node = onnx.helper.make_node("Constant", [], ["fc.weight"], value=weight)
    kept = [t for t in model.graph.initializer if t.name != "fc.weight"]
    model.graph.node.insert(0, node)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    path = saved(tmp_path, model.SerializeToString())
    for result in convert_all(path, TARGETS, out=tmp_path, write=HALF):
        assert result.report["verified"]
    written = onnx.load(tmp_path / "net.float16.onnx")
    assert "fc.weight:float16" in {t.name for t in written.graph.initializer}
    assert not [n for n in written.graph.node if n.op_type == "Constant"]


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (np.full(128, 1 / 3), True),
        (np.full(127, 1 / 3), False),
        (np.r_[np.full(200, 1.0), 65504.0], True),
        (np.r_[np.full(200, 1.0), 65519.0], True),
        (np.r_[np.full(200, 1.0), 65520.0], False),
        (np.r_[np.full(200, 1.0), 1e-12], True),
        (np.full(200, 2.0**-14), True),
        (np.full(200, 2.0**-14 * 0.99), False),
        (np.zeros(200), False),
    ],
)
def test_which_constants_are_stored(values: Array, stored: bool) -> None:
    data = values.astype(np.float32)
    found = as_float16(data)
    assert (found is not None) == stored
    if found is not None:
        assert found.dtype == np.float16
        assert np.abs(found.astype(np.float64) - data).max() <= ROUNDING * np.abs(data).max()


def test_integers_and_halves_stay(target: str) -> None:
    """A number beyond float16 keeps its whole tensor in float32, on every engine."""
    weight = np.random.default_rng(1).normal(0, 1, (64, 64)).astype(np.float32)
    weight[3, 5] = 1e6
    plan = plan_model(mlp(weight), target, write=HALF)
    by_name = {t.name: t for t in plan.tensors if t.data is not None}
    assert by_name["fc.weight"].dtype == "float32"


def test_nothing_to_store_is_said(target: str, tmp_path: Path) -> None:
    model = OnnxModel()
    x = model.input("x", (1, 8))
    weight = model.constant("w", np.ones((8, 3), np.float32))
    path = saved(tmp_path, model.output(model.op("MatMul", [x, weight], "y")).bytes())
    result = convert(path, target=target, out=tmp_path, float16=True)
    assert result.report["warnings"][0].startswith(
        "no constant is stored in float16: the largest has 24 elements (fewer than 128 save nothing)"
    )


# --- verification ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mlp, lambda: small_resnet(quantized=False).bytes(),
                                  lambda: many_operators(quantized=False).bytes()])  # fmt: skip
def test_verified_with_bounds_that_follow_from_the_rounding(
    make: Callable[[], bytes], target: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, make())
    result = convert(path, target=target, out=tmp_path, float16=True)
    found = result.verification
    assert found is not None
    gates = {gate.name: gate for gate in found.gates}
    noise, error = gates["float16_rounding"], gates["end_to_end"]
    assert noise.value is not None
    assert noise.limit is not None
    assert 0 < noise.value < noise.limit == 2
    stored = [t for t in result.plan.tensors if t.dtype == "float16"]
    # what is folded before it is rounded (TFLite) is as many constants
    assert noise.detail.startswith(f"rounding {len(stored)} constants")
    said = re.search(r"by ([\d.e-]+) of the largest magnitude", noise.detail)
    assert said is not None
    largest = float(said[1])
    assert error.limit == pytest.approx(1e-3 + 3 * largest, rel=0.05)
    # far inside: the bound follows the noise, and does not hide a wrong operator
    assert error.value is not None
    assert error.value < 2 * largest + 1e-5
    assert compare_parameters(result.path, path) == []
    again = verify_artifact(result.path, path)
    assert again.verified
    assert [gate.name for gate in again.gates] == [gate.name for gate in found.gates]


def edited(data: bytes, old: Array, new: Array) -> bytes:
    """*data* with the elements *old* replaced, which are there once."""
    assert data.count(old.tobytes()) == 1
    return data.replace(old.tobytes(), new.tobytes())


@pytest.mark.parametrize("wrong", ["one bit", "cut off"])
def test_a_wrong_half_is_named(target: str, wrong: str, tmp_path: Path) -> None:
    """One element one step off; or all rounded towards zero instead of to the nearest."""
    weight = np.random.default_rng(1).normal(0, 0.1, (64, 5)).astype(np.float32)
    path = saved(tmp_path, mlp(weight))
    result = convert(path, target=target, out=tmp_path, float16=True)
    # fully connected layers of TFLite have [outputs, inputs]
    stored = np.ascontiguousarray((weight.T if target == "tflite" else weight).astype(np.float16))
    if wrong == "one bit":
        other = stored.copy()
        other.view(np.uint16)[2, 3] ^= 1
    else:
        exact = np.ascontiguousarray(weight.T if target == "tflite" else weight)
        larger = np.abs(stored.astype(np.float32)) > np.abs(exact)
        other = np.where(larger, np.nextafter(stored, np.float16(0)), stored)
    holder = result.path.with_suffix(".bin") if target == "openvino" else result.path
    body = artifact.read(result.path).body if target == "tflite" else holder.read_bytes()
    changed = edited(body, stored, other)
    holder.write_bytes(changed + (holder.read_bytes()[len(body) :] if target == "tflite" else b""))
    reseal(result.path)
    found = compare_parameters(result.path, path)
    assert found
    assert {m.tensor for m in found} == {"fc.weight"}
    assert {m.field for m in found} == {"value"}
    report = verify_artifact(result.path, path)
    assert [gate.name for gate in report.failed] == ["parameters"]


def test_halves_in_an_artifact_that_is_not_called_so(target: str, tmp_path: Path) -> None:
    """float32 artifacts are compared bit for bit."""
    path = saved(tmp_path, mlp())
    result = convert(path, target=target, out=tmp_path, float16=True)
    artifact.update(result.path, lambda m: replace(m, precision="float32"))
    assert {m.tensor for m in compare_parameters(result.path, path)} >= {"fc.weight"}


def test_a_model_that_rounding_ruins_is_refused(target: str, tmp_path: Path) -> None:
    """Differences of large weights: 2^-11 of 60 is a third of what they differ by."""
    rng = np.random.default_rng(1)
    weight = (60 + rng.normal(0, 0.1, (64, 64))).astype(np.float32)
    model = OnnxModel()
    x = model.input("x", (1, 64))
    centered = model.op("Sub", [x, model.op("ReduceMean", [x], "mean", axes=[1])], "centered")
    y = model.op("MatMul", [centered, model.constant("w", weight)], "y")
    path = saved(tmp_path, model.output(y).bytes())
    assert convert(path, target=target, out=tmp_path).report["verified"]
    with pytest.raises(
        VerificationFailedError, match="float16_rounding: rounding 1 constants moves"
    ):
        convert(path, target=target, out=tmp_path / "half", float16=True)
    assert not (tmp_path / "half").exists()


# --- what is refused ------------------------------------------------------------------------------


def test_a_quantized_model_is_refused(target: str) -> None:
    with pytest.raises(UnsupportedError, match=r"float16 is a form of float models, .*--float16"):
        convert_model(small_resnet().bytes(), target, write=HALF)


def test_calibrating_and_float16_exclude_each_other(tmp_path: Path) -> None:
    path = saved(tmp_path, mlp())
    with pytest.raises(InputError, match="Use either --calibrate or --float16"):
        convert_all(path, TARGETS, out=tmp_path / "out", write=HALF, calibrate=tmp_path)
    assert not (tmp_path / "out").exists()


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edgecv", "convert", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(str(stop.value.code))


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Form options through the command: the files, the plan, and the error of a quantized model."""
    path = saved(tmp_path, mlp())
    words = [str(path), "--target", "tflite", "--target", "onnx", "--out", str(tmp_path / "out")]
    assert run(monkeypatch, *words, "--float16", "--layout", "nchw") == 0
    printed = capsys.readouterr().out
    assert "net.float16.tflite: float16, 0 quantizers, verified on 8 synthetic samples" in printed
    assert "float16 rounding" in printed
    assert (
        artifact.read(tmp_path / "out" / "net.float16.tflite").manifest.inputs[0].layout == "NCHW"
    )  # type: ignore[union-attr]
    assert run(monkeypatch, str(path), "--plan", "--float16", "--layout", "nchw") == 0
    plan = capsys.readouterr().out
    assert "DEQUANTIZE v3" in plan
    assert "input x: 1x3x16x16 float32" in plan
    quantized = tmp_path / "quantized.onnx"
    quantized.write_bytes(small_resnet().bytes())
    assert (
        run(
            monkeypatch,
            str(quantized),
            "--target",
            "tflite",
            "--float16",
            "--out",
            str(tmp_path / "new"),
        )
        == 2
    )
    assert "this one is quantized" in capsys.readouterr().err
    assert (
        run(
            monkeypatch,
            str(quantized),
            "--target",
            "onnx",
            "--io",
            "uint8",
            "--out",
            str(tmp_path / "new"),
        )
        == 0
    )
    assert (
        artifact.read(tmp_path / "new" / "quantized.int8.onnx").manifest.inputs[0].dtype == "uint8"
    )  # type: ignore[union-attr]
    assert (
        run(
            monkeypatch,
            str(path),
            "--target",
            "tflite",
            "--io",
            "uint8",
            "--out",
            str(tmp_path / "no"),
        )
        == 2
    )
    assert "the input 'x' cannot be uint8" in capsys.readouterr().err
