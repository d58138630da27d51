"""Functions of one value against ONNX Runtime: float islands to the integer, LOGISTIC on its own grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv.verify.teacher_forced import KERNELS, failures, teacher_forced
from edgecv_converters import convert_model, plan_model

#: Operator → attributes, opsets with another definition, scale of a fitting output.
FORMS: dict[str, tuple[str, dict[str, Any], float]] = {
    "sigmoid": ("Sigmoid", {}, 0.004),
    "tanh": ("Tanh", {}, 0.0079),
    "hard-sigmoid": ("HardSigmoid", {}, 0.004),
    "hard-sigmoid-of-hard-swish": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, 0.004),
    "hard-swish": ("HardSwish", {}, 0.03),
    "elu": ("Elu", {}, 0.03),
    "leaky-relu": ("LeakyRelu", {"alpha": 0.2}, 0.03),
    "leaky-relu-falling": ("LeakyRelu", {"alpha": -0.5}, 0.03),
    "leaky-relu-flat": ("LeakyRelu", {"alpha": 0.0}, 0.03),
}
ISLANDS = {
    "HardSigmoid": ["MUL", "ADD", "MINIMUM"],
    "HardSwish": ["HARD_SWISH"],
    "Sigmoid": ["LOGISTIC"],
    "Tanh": ["TANH"],
    "Elu": ["ELU"],
    "LeakyRelu": ["LEAKY_RELU"],
}
SHAPES = [(1, 3, 4, 5), (1, 9), (7,), (1, 2, 3, 4, 2)]


def model_of(
    form: str,
    shape: tuple[int, ...],
    grids: tuple[tuple[float, int], tuple[float, int]] | None,
    opset: int = 17,
) -> bytes:
    op, attributes, _ = FORMS[form]
    model = OnnxModel(opset)
    x = model.input("input", shape, grids[0] if grids else None)
    return model.output(model.op(op, [x], "out", grids[1] if grids else None, **attributes)).bytes()


@given(
    st.sampled_from(sorted(FORMS)), st.sampled_from(SHAPES), st.floats(0.01, 0.1), st.floats(0.5, 2),
    st.integers(-128, 127), st.integers(-128, 127), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_island(
    form: str, shape: tuple[int, ...], scale: float, factor: float, zero: int, out_zero: int, seed: int
) -> None:  # fmt: skip
    out = float(np.float32(FORMS[form][2] * factor))
    source = model_of(form, shape, ((float(np.float32(scale)), zero), (out, out_zero)))
    converted = assert_int8(source, lsb=1, seed=seed)
    inner = ["RELU"] if form == "leaky-relu-flat" else ISLANDS[FORMS[form][0]]
    ops = [op.op for op in converted.plan.ops if op.op != "RESHAPE"]
    assert ops == ["DEQUANTIZE", *inner, "QUANTIZE"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_island_on_every_integer(form: str) -> None:
    """All 256 inputs: no engine's function is so far off that a rounding falls the other way."""
    scale = FORMS[form][2]
    source = model_of(form, (1, 4096), ((0.0625 - 1e-4, 5), (scale, -7)))
    assert_int8(source, lsb=0)


@given(st.sampled_from(SHAPES), st.floats(0.01, 0.1), st.integers(-128, 127), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_sigmoid_on_its_grid(shape: tuple[int, ...], scale: float, zero: int, seed: int) -> None:
    grids = ((float(np.float32(scale)), zero), (1 / 256, -128))
    converted = assert_int8(model_of("sigmoid", shape, grids), lsb=1, seed=seed)
    assert [(op.op, op.version) for op in converted.plan.ops] == [("LOGISTIC", 2)]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("grid", [(1 / 256, -127), (1 / 255, -128), (1 / 128, -128)])
def test_sigmoid_on_another_grid_is_a_float_island(grid: tuple[float, int]) -> None:
    grid = (float(np.float32(grid[0])), grid[1])
    converted = assert_int8(model_of("sigmoid", (1, 3, 4, 5), ((0.05, 3), grid)), lsb=0)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "LOGISTIC", "QUANTIZE"]
    assert converted.plan.ops[1].version == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", sorted(FORMS))
def test_float(form: str, shape: tuple[int, ...]) -> None:
    converted = assert_float(model_of(form, shape, None), relative=2e-6)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize(
    ("form", "opset"), [("sigmoid", 11), ("tanh", 11), ("elu", 11), ("leaky-relu", 11), ("hard-sigmoid", 11),
                        ("hard-swish", 14)],
)  # fmt: skip
def test_older_definitions(form: str, opset: int) -> None:
    assert_float(model_of(form, (1, 6), None, opset), relative=2e-6)
    assert_int8(model_of(form, (1, 6), ((0.0519, 3), (0.0193, -5)), max(opset, 13)), lsb=0)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_picture_is_not_transposed(form: str) -> None:
    """Between two convolutions: the order is theirs."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    weights = [
        model.constant(name, rng.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32)) for name in "vw"
    ]
    x = model.op("Conv", [model.input("input", (1, 4, 3, 5)), weights[0]], "first")
    op, attributes, _ = FORMS[form]
    x = model.op("Conv", [model.op(op, [x], "act", **attributes), weights[1]], "out")
    converted = assert_float(model.output(x).bytes(), relative=1e-5)
    kinds = {op.op for op in converted.plan.ops}
    assert not kinds & {"TRANSPOSE", "RESHAPE"}
    assert delegation(converted.files[".tflite"]).partitions == 1


@pytest.mark.parametrize("gate", ["HardSigmoid", "Sigmoid"])
def test_gates_with_a_grid_of_their_own(gate: str) -> None:
    """onnxruntime.quantization splits HardSwish and SiLU, and rounds the gate to a scale that it saw."""
    model = OnnxModel()
    x = model.input("input", (1, 6, 4, 5), (0.0512, -3))
    attributes = {"alpha": 1 / 6, "beta": 0.5} if gate == "HardSigmoid" else {}
    y = model.op(gate, [x], "gate", (0.00391, -128), **attributes)
    source = model.output(model.op("Mul", [x, y], "out", (0.0331, -112))).bytes()
    converted = convert_model(source, "tflite")
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", *ISLANDS[gate], "QUANTIZE", "MUL"]
    samples = [{"input": np.random.default_rng(0).normal(0, 4, (1, 6, 4, 5)).astype(np.float32)}]
    for kernels in KERNELS:
        errors = teacher_forced(converted.plan, source, samples, kernels=kernels)
        assert [e.tensor for e in errors] == ["gate", "out"]
        assert errors[0].roundings == 1
        assert failures(errors, kernels=kernels) == []
        assert max(e.max_lsb for e in errors) <= 1
    assert delegation(converted.files[".tflite"]).outside == ()


def test_integers_in_floats_out() -> None:
    """A function whose result no quantizer follows runs in float."""
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    source = model.output(model.op("Sigmoid", [x], "out")).bytes()
    converted = assert_float(source, relative=2e-6)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "LOGISTIC"]


def test_float_in_integers_out() -> None:
    """The result alone is rounded: float LOGISTIC, then QUANTIZE, even on LOGISTIC's own grid."""
    model = OnnxModel()
    y = model.op("Sigmoid", [model.input("input", (1, 9))], "out", (1 / 256, -128))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["LOGISTIC", "QUANTIZE"]


def test_constants_are_shared() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 9))
    for name in "abc":
        x = model.op("HardSigmoid", [x], name, alpha=0.25)
    plan = plan_model(model.output(x).bytes(), "tflite")
    names = [t.name for t in plan.tensors if t.data is not None]
    assert names == ["a:alpha", "a:beta", "a:one"]


def test_elu_with_another_alpha_is_refused() -> None:
    model = OnnxModel()
    y = model.op("Elu", [model.input("input", (1, 9))], "out", alpha=0.5)
    with pytest.raises(
        UnsupportedError, match=r"alpha must be 1, got 0\.5; nearest: Elu\(alpha=1\)"
    ):
        plan_model(model.output(y).bytes(), "tflite")
