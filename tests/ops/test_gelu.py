"""Gelu against ONNX Runtime: as one operator, and as the five around Erf that exporters below opset 20 write."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel
from verified_nets import Verified

from edgecv.conversion import convert
from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import convert_model, plan_model
from edgecv_converters.leave_out import leave_out

Grid = tuple[float, int]
SHAPES = [(1, 3, 4, 5), (1, 9), (7,), (1, 2, 3, 4, 2)]
IN, OUT = (0.05, 3), (0.031, -120)
INNER = {
    "erf": (1 / 127, 0),
    "shifted": (2 / 255, -128),
    "first": (0.062, -120),
    "halved": (0.025, 3),
}
#: In which order x, 1 + Erf and 0.5 are multiplied.
ORDERS = ("x-shift-half", "x-half-shift", "shift-half-x")


def one(
    shape: tuple[int, ...], *, form: str | None = None, quantized: bool = False, domain: str = "",
    out: Grid = OUT, grid: Grid = IN,
) -> bytes:  # fmt: skip
    """One Gelu: ONNX's own, or onnxruntime's."""
    model = OnnxModel(17 if domain else 20)
    x = model.input("input", shape, grid if quantized else None)
    attributes = {"approximate": form} if form else {}
    y = model.op("Gelu", [x], "out", out if quantized else None, domain=domain, **attributes)
    return model.output(y, shape).bytes(check=not domain)


def chain(
    shape: tuple[int, ...] = (1, 9), *, order: str = "x-shift-half", scaling: str = "Div", swap: bool = False,
    quantized: bool = False, rounded: bool = False, opset: int = 17, numbers: dict[str, float] | None = None,
    seen: str = "",
) -> bytes:  # fmt: skip
    """The five operators; *rounded* as onnxruntime.quantization leaves them, constants included."""
    model = OnnxModel(opset)
    scale = np.sqrt(2) if scaling == "Div" else 1 / np.sqrt(2)
    values = {"root": scale, "one": 1.0, "half": 0.5, **(numbers or {})}
    constants = {"root": model.constant("root", np.float32(values["root"]))}
    for name in ("one", "half"):
        if rounded:
            step = np.float32(values[name] / 255)
            constants[name] = model.weight(name, np.uint8(255), step, None)
        else:
            constants[name] = model.constant(name, np.float32(values[name]))

    def op(kind: str, inputs: list[str], name: str) -> str:
        grid = (
            OUT
            if name == "out" and quantized
            else INNER[name]
            if rounded and name in INNER
            else None
        )
        turned = inputs[::-1] if swap and kind != "Div" else inputs
        return model.op(kind, turned, name, grid)

    x = model.input("input", shape, IN if quantized else None)
    erf = op("Erf", [op(scaling, [x, constants["root"]], "scaled")], "erf")
    shifted = op("Add", [erf, constants["one"]], "shifted")
    first, *rest = {
        "x-shift-half": ([x, shifted], constants["half"]),
        "x-half-shift": ([x, constants["half"]], shifted),
        "shift-half-x": ([shifted, constants["half"]], x),
    }[order]
    y = op(
        "Mul", [op("Mul", first, "halved" if order == "x-half-shift" else "first"), *rest], "out"
    )
    model.output(y)
    if seen:
        model.output(seen)
    return model.bytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", [None, "none", "tanh"])
def test_float(shape: tuple[int, ...], form: str | None) -> None:
    converted = assert_float(one(shape, form=form), relative=2e-6)
    assert [op.op for op in converted.plan.ops if op.op != "RESHAPE"] == ["GELU"]
    assert converted.plan.ops[-1].options["Approximate"] == (form == "tanh")
    assert delegation(converted.files[".tflite"]).outside == ()


@given(
    st.sampled_from(["none", "tanh"]), st.sampled_from(SHAPES), st.floats(0.01, 0.1), st.floats(0.01, 0.05),
    st.integers(-128, 127), st.integers(-128, 127), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_int8(
    form: str, shape: tuple[int, ...], scale: float, out: float, zero: int, out_zero: int, seed: int
) -> None:  # fmt: skip
    grids = {"grid": (float(np.float32(scale)), zero), "out": (float(np.float32(out)), out_zero)}
    converted = assert_int8(one(shape, form=form, quantized=True, **grids), lsb=1, seed=seed)
    ops = [op.op for op in converted.plan.ops if op.op != "RESHAPE"]
    assert ops == ["DEQUANTIZE", "GELU", "QUANTIZE"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_every_integer(form: str) -> None:
    """All 256 inputs: no engine's function is so far off that a rounding falls the other way."""
    assert_int8(one((1, 4096), form=form, quantized=True), lsb=0)


@pytest.mark.parametrize("quantized", [False, True])
def test_as_onnxruntime_writes_it(quantized: bool) -> None:
    """com.microsoft::Gelu, whose shape ONNX's own inference does not know; what follows has one."""
    source = one((1, 3, 4, 5), quantized=quantized, domain="com.microsoft")
    converted = assert_int8(source, lsb=1) if quantized else assert_float(source, relative=2e-6)
    assert converted.plan.statistics()["by_type"]["GELU"] == 1
    model = OnnxModel()
    x = model.op("Gelu", [model.input("input", (1, 9))], "act", domain="com.microsoft")
    weight = model.constant("w", np.ones((9, 4), np.float32))
    source = model.output(model.op("MatMul", [x, weight], "out"), (1, 4)).bytes(check=False)
    assert_float(source, relative=2e-6)
    model = OnnxModel()
    x = model.op("Gelu", [model.input("input", (1, 9))], "act", domain="com.microsoft")
    weight = model.constant("w", np.ones((8, 4), np.float32))
    source = model.output(model.op("MatMul", [x, weight], "out"), (1, 4)).bytes(check=False)
    with pytest.raises(ModelLoadError, match="contradict each other"):
        plan_model(source, "tflite")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scaling", ["Div", "Mul"])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_chain(order: str, scaling: str, swap: bool, opset: int) -> None:
    form: dict[str, Any] = {"order": order, "scaling": scaling, "swap": swap, "opset": opset}
    converted = assert_float(chain((1, 5, 16), **form), relative=2e-6)
    (op,) = converted.plan.ops
    assert (op.op, op.rule, len(op.sources)) == ("GELU", "gelu.Gelu", 5)
    converted = assert_int8(chain((1, 5, 16), quantized=True, **form), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "GELU", "QUANTIZE"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("target", ["tflite", "openvino"])
def test_roundings_inside_are_left_out_and_named(order: str, target: str, tmp_path: Path) -> None:
    """What onnxruntime's quantizer writes: every operator but the division has a quantizer of its own."""
    path = tmp_path / "source.onnx"
    path.write_bytes(chain((1, 5, 16), order=order, quantized=True, rounded=True))
    result = convert(path, target=target, out=tmp_path / "out")
    inner = {"erf", "shifted", "halved" if order == "x-half-shift" else "first"}
    assert set(result.manifest.left_out) == inner
    assert {q.name for q in result.manifest.quantizers} == {"input", "out"}
    assert compare_parameters(result.path, path) == []
    if target == "tflite":
        assert [op.op for op in result.plan.ops] == ["DEQUANTIZE", "GELU", "QUANTIZE"]
        assert_int8(leave_out(path.read_bytes(), ["inside_gelu"])[0], lsb=1)


def test_onnxruntime_keeps_them(tmp_path: Path) -> None:
    """Its own integer kernels are faster there."""
    path = tmp_path / "source.onnx"
    path.write_bytes(chain(quantized=True, rounded=True))
    assert convert(path, target="onnx", out=tmp_path / "out").manifest.left_out == ()


def test_a_quantizer_inside_that_others_see_stays() -> None:
    source = chain(quantized=True, rounded=True, seen="shifted")
    reduced, names = leave_out(source, ["inside_gelu"])
    assert (reduced, names) == (source, ())


@pytest.mark.parametrize(
    "form", [
        {"numbers": {"half": 0.51}}, {"numbers": {"one": 1.01}}, {"numbers": {"root": 1.41}}, {"seen": "shifted"},
        {"seen": "erf"}, {"seen": "scaled"}, {"seen": "first"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("quantized", [False, True])
def test_what_is_no_gelu_is_refused_by_name(form: dict[str, Any], quantized: bool) -> None:
    """TFLite has no Erf."""
    with pytest.raises(UnsupportedError, match=r"Erf 'node:erf' .*no rule for Erf"):
        plan_model(chain(quantized=quantized, **form), "tflite")


def test_a_gate_behind_it_is_a_product_of_its_own() -> None:
    """GEGLU: Gelu(x) * z, three factors and one more."""
    model = OnnxModel()
    x, z = model.input("input", (1, 9)), model.input("gate", (1, 9))
    root, unit, half = (
        model.constant(n, np.float32(v)) for n, v in (("r", 2**0.5), ("o", 1), ("h", 0.5))
    )
    erf = model.op("Erf", [model.op("Div", [x, root], "scaled")], "erf")
    y = model.op("Mul", [x, model.op("Add", [erf, unit], "shifted")], "first")
    y = model.op("Mul", [model.op("Mul", [y, half], "act"), z], "out")
    converted = assert_float(model.output(y).bytes(), relative=2e-6)
    assert [op.op for op in converted.plan.ops] == ["GELU", "MUL"]


def test_a_long_chain_of_products_is_no_recursion() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 4), IN)
    two = model.constant("two", np.float32(1.0001))
    for number in range(2000):
        x = model.op("Mul", [x, two], f"m{number}")
    source = model.output(x).bytes(check=False)
    assert leave_out(source, ["inside_gelu"]) == (source, ())


def test_other_forms_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="approximate must be none or tanh, got 'cubic'"):
        plan_model(one((1, 9), form="cubic"), "tflite")


def test_a_picture_is_not_transposed() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel(20)
    weights = [
        model.constant(name, rng.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32)) for name in "vw"
    ]
    x = model.op("Conv", [model.input("input", (1, 4, 3, 5)), weights[0]], "first")
    x = model.op("Conv", [model.op("Gelu", [x], "act"), weights[1]], "out")
    converted = assert_float(model.output(x).bytes(), relative=1e-5)
    assert [op.op for op in converted.plan.ops] == ["CONV_2D", "GELU", "CONV_2D"]


@pytest.mark.parametrize(("constant", "number"), [("half", 0.49), ("one", 0.9), ("root", 1.5)])
def test_another_number_in_the_source_is_a_mismatch(
    constant: str, number: float, tmp_path: Path
) -> None:
    """The file's GELU stands for the three constants only where they are those of a GELU."""
    path = tmp_path / "model.tflite"
    path.write_bytes(convert_model(chain(), "tflite").files[".tflite"])
    assert compare_parameters(path, chain()) == []
    found = {m.tensor for m in compare_parameters(path, chain(numbers={constant: number}))}
    assert found == {"half", "one", "root"}


def test_shared_constants_are_still_asked_for_elsewhere(tmp_path: Path) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 9))
    root, unit, half = (
        model.constant(n, np.float32(v)) for n, v in (("r", 2**0.5), ("o", 1), ("h", 0.5))
    )
    erf = model.op("Erf", [model.op("Div", [x, root], "scaled")], "erf")
    y = model.op("Mul", [x, model.op("Add", [erf, unit], "shifted")], "first")
    y = model.op("Add", [model.op("Mul", [y, half], "act"), half], "out")
    made = Verified(tmp_path, model.output(y), ("tflite",))
    copy = made.copy("tflite")
    copy.array("h")[0] += np.float32(0.25)
    copy.save()
    assert [str(m) for m in made.compare(copy)] == [
        "h, element 0: value is 0.75, the source has 0.5"
    ]


@pytest.mark.parametrize("opset", [13, 17])
def test_what_torch_exports(opset: int) -> None:
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(16, 12), torch.nn.GELU(), torch.nn.Linear(12, 8), torch.nn.GELU("tanh")
    )
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.rand(1, 6, 16),), stream, dynamo=False, opset_version=opset,
            input_names=["input"], output_names=["out"],
        )  # fmt: skip
    converted = assert_float(stream.getvalue(), relative=1e-5)
    ops = [op.op for op in converted.plan.ops]
    assert ops[:3] == ["FULLY_CONNECTED", "GELU", "FULLY_CONNECTED"]
    # the approximation is spelled out and stays so
    assert ops[3:] == ["MUL", "MUL", "MUL", "ADD", "MUL", "TANH", "ADD", "MUL", "MUL"]
    assert delegation(converted.files[".tflite"]).outside == ()
