"""Operators of two operands against ONNX Runtime: in different orders, broadcasting, with constants."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import Converted, Plan, plan_model
from edgecv_converters.targets import load
from edgecv_converters.tflite.builder import PlanBuilder
from edgecv_converters.tflite.xnnpack import outside

Shape = tuple[int, ...]
SHAPES: list[tuple[Shape, Shape]] = [
    ((1, 3, 4, 5), (1, 3, 4, 5)),
    ((1, 3, 4, 5), (1, 3, 1, 1)),
    ((1, 3, 4, 5), (1, 1, 4, 5)),
    ((1, 3, 1, 5), (1, 1, 4, 1)),
    ((1, 6), (1, 6)),
    ((4, 1), (6,)),
    ((1, 4, 6), (1, 1, 6)),
    ((1, 4, 6), (1, 4, 1)),
    ((1, 4, 6), (6,)),
    ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5)),
    ((1, 2, 3, 4, 5), (1, 1, 1, 4, 5)),
    ((2, 1, 3, 4, 5), (1, 1, 3, 1, 5)),
]
SCALES = st.floats(0.01, 0.1)
ZEROS = st.integers(-128, 127)


def kinds(converted: Converted) -> dict[str, int]:
    """Operators that compute; missing dimensions are added by reshapes."""
    return dict(Counter(op.op for op in converted.plan.ops if op.op != "RESHAPE"))


def two(
    op: str, shapes: tuple[Shape, Shape], scales: tuple[float, float], zeros: tuple[int, int], out: tuple[float, int],
    *, clamp: str = "", opset: int = 17,
) -> bytes:  # fmt: skip
    model = OnnxModel(opset)
    x = model.input("first", shapes[0], (scales[0], zeros[0]))
    y = model.input("second", shapes[1], (scales[1], zeros[1]))
    z = model.op(op, [x, y], "result", None if clamp else out)
    return model.output(clamped(model, z, clamp, out)).bytes()


def clamped(model: OnnxModel, x: str, clamp: str, quant: tuple[float, int] | None) -> str:
    """*x* itself without a clamp, else behind a Relu or a Clip to 0..6."""
    if not clamp:
        return x
    bounds = [model.constant("low", np.float32(0)), model.constant("high", np.float32(6))]
    return model.op(clamp, [x, *(bounds if clamp == "Clip" else [])], "out", quant)


def fitting(op: str, scales: tuple[float, float]) -> float:
    """An output scale that neither saturates nor wastes."""
    return float(np.float32(scales[0] * scales[1] * 40 if op == "Mul" else sum(scales)))


@given(
    st.sampled_from(["Add", "Sub", "Mul"]), st.sampled_from(SHAPES), SCALES, SCALES, ZEROS, ZEROS, ZEROS,
    st.sampled_from(["", "Relu", "Clip"]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_int8(
    op: str, shapes: tuple[Shape, Shape], first: float, second: float, zero: int, other: int, out_zero: int,
    clamp: str, swap: bool, seed: int,
) -> None:  # fmt: skip
    shapes = shapes[::-1] if swap else shapes
    out = (fitting(op, (first, second)), -128 if clamp else out_zero)
    source = two(op, shapes, (first, second), (zero, other), out, clamp=clamp)
    converted = assert_int8(source, lsb=1, seed=seed)
    assert kinds(converted) == {op.upper(): 1}
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@given(
    st.sampled_from(["Div", "Max", "Min"]), st.sampled_from(SHAPES), SCALES, ZEROS, ZEROS, st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
@example("Max", SHAPES[9], 0.0751, 0, 0, False, 0)
@settings(max_examples=60, deadline=None)
def test_int8_in_float(
    op: str, shapes: tuple[Shape, Shape], scale: float, zero: int, out_zero: int, swap: bool, seed: int
) -> None:  # fmt: skip
    """What XNNPACK has in float only: one rounding, so a difference only where the float result differs.

    Halves are left out: the builtin kernels round them away from zero, ONNX Runtime to even (15 / 14 * 7 is one).
    """
    steps = np.arange(256) * scale / 0.07
    assume(op == "Div" or (np.abs(steps % 1 - 0.5) > 1e-4).all())
    model = OnnxModel()
    shapes = shapes[::-1] if swap else shapes
    x = model.input("first", shapes[0], (0.05, zero))
    y = model.input("second", shapes[1], (scale, -128))
    if op == "Div":
        y = model.op("Max", [y, model.constant("least", np.float32(0.3))], "divisor")
    z = model.op(op, [x, y], "out", (0.07, out_zero))
    converted = assert_int8(model.output(z).bytes(), lsb=1 if op == "Div" else 0, seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@given(
    st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min"]), st.sampled_from(SHAPES), st.booleans(),
    st.sampled_from(["", "Relu", "Clip"]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_float(op: str, shapes: tuple[Shape, Shape], swap: bool, clamp: str, seed: int) -> None:
    model = OnnxModel()
    shapes = shapes[::-1] if swap else shapes
    x, y = model.input("first", shapes[0]), model.input("second", shapes[1])
    z = model.op(op, [x, y], "result")
    z = clamped(model, z, clamp, None)
    converted = assert_float(model.output(z).bytes(), relative=1e-6, seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()


CONSTANTS: list[Shape] = [(3, 1, 1), (1, 3, 1, 1), (1, 3, 4, 5), (5,), (4, 1), (4, 5), (1, 1, 4, 5)]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("shape", CONSTANTS)
def test_quantized_constant(op: str, shape: Shape, swap: bool) -> None:
    """Behind DequantizeLinear with a zero point: its integers are in the file."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.05, 3))
    integers = rng.integers(-128, 128, shape).astype(np.int8)
    c = model.weight("c", integers, np.float32(0.02), None, zero=-7)
    y = model.op(op, [c, x] if swap else [x, c], "out", (0.06, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert kinds(converted) == {op.upper(): 1}
    assert delegation(converted.files[".tflite"]).outside == ()
    planned = next(t for t in converted.plan.tensors if t.name == "c")
    assert planned.data is not None
    assert sorted(planned.data.ravel()) == sorted(integers.ravel())


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [*CONSTANTS, (), (1,), (1, 1, 1, 1)])
def test_float_constant(op: str, shape: Shape) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5))
    c = model.constant("c", np.random.default_rng(0).uniform(0.5, 2, shape).astype(np.float32))
    assert_float(model.output(model.op(op, [c, x], "out")).bytes(), relative=1e-6)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [(3, 1, 1), (), (1,)])
@pytest.mark.parametrize("picture", [True, False])
def test_float_constant_beside_a_quantized_value_is_computed_in_float(
    op: str, shape: Shape, picture: bool
) -> None:
    """A number too: DEQUANTIZE, the operator and QUANTIZE are one table, twice as fast as the int8 MUL.

    Exact, unless the result lies between two integers: the engines multiply by 1 / scale, or divide by it.
    """
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5) if picture else (1, 3, 4), (0.0517, 3))
    c = model.constant("c", np.random.default_rng(0).uniform(0.5, 2, shape).astype(np.float32))
    z = model.op(op, [x, c], "out", (0.0613, 0))
    converted = assert_int8(model.output(z).bytes(), lsb=0)
    names = {"Max": "MAXIMUM", "Min": "MINIMUM"}
    assert kinds(converted) == {"DEQUANTIZE": 1, names.get(op, op.upper()): 1, "QUANTIZE": 1}
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("clamp", ["Relu", "Clip"])
@pytest.mark.parametrize("op", ["Mul", "Div", "Add", "Max"])
def test_clamps_beside_a_number(op: str, clamp: str) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.0517, 3))
    z = model.op(op, [x, model.constant("c", np.float32(1.37))], "result")
    converted = assert_int8(model.output(clamped(model, z, clamp, (0.0613, -128))).bytes(), lsb=0)
    # MAXIMUM takes no clamp in: it stands behind it
    assert len(converted.plan.ops) == 3 + (op == "Max")
    assert delegation(converted.files[".tflite"]).outside == ()


def test_a_number_behind_dequantize_linear_is_a_table_too() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), (0.0517, 3))
    c = model.weight("c", np.asarray(90, np.int8), np.float32(0.02), None, zero=-7)
    converted = assert_int8(
        model.output(model.op("Mul", [x, c], "out", (0.0613, 0))).bytes(), lsb=0
    )
    assert kinds(converted) == {"DEQUANTIZE": 1, "MUL": 1, "QUANTIZE": 1}
    assert any("a table" in op.reason for op in converted.plan.ops)


def test_scales_per_channel_are_computed_in_float() -> None:
    model = OnnxModel(opset=13)
    x = model.input("input", (1, 3, 4, 5), (0.0517, 3))
    integers = np.arange(3, dtype=np.int8).reshape(3, 1, 1)
    c = model.weight("c", integers, np.array([0.1, 0.2, 0.3]), 0)
    converted = assert_int8(
        model.output(model.op("Add", [x, c], "out", (0.0613, 0))).bytes(), lsb=0
    )
    assert any("3 scales" in op.reason for op in converted.plan.ops)


def test_squeeze_and_excite_moves_nothing() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 6, 4, 5), (0.05, 3))
    mean = model.op("GlobalAveragePool", [x], "mean", (0.04, 0))
    y = model.op("Mul", [x, mean], "out", (0.02, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=2)
    assert [op.op for op in converted.plan.ops] == ["MEAN", "MUL"]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("shape", [(1, 1, 4, 6), (1, 3, 4, 6), (6,), (3, 1, 1), ()])
def test_operands_meet_where_the_large_one_lies(shape: Shape) -> None:
    """Attention scores are in logical order in memory: a bias on them moves nothing."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (3, 4, 6), (0.05, 3))
    x = model.op(
        "Unsqueeze", [x, model.constant("axes", np.array([0], np.int64))], "scores", (0.05, 3)
    )
    c = model.weight("c", rng.integers(-128, 128, shape).astype(np.int8), np.float32(0.02), None)
    y = model.op("Add", [x, c], "sum", (0.06, 0))
    y = model.op(
        "Reshape", [y, model.constant("shape", np.array([12, 6], np.int64))], "out", (0.06, 0)
    )
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert "TRANSPOSE" not in kinds(converted)


def test_an_operand_in_a_scattered_order() -> None:
    """Patches of a picture, plus a vector over the patch: the frame is split where the vector repeats."""
    model = OnnxModel()
    x = model.input("input", (1, 4, 4, 6), (0.05, 3))
    x = model.op(
        "Reshape", [x, model.constant("s1", np.array([8, 2, 3, 2], np.int64))], "r1", (0.05, 3)
    )
    x = model.op("Transpose", [x], "t1", (0.05, 3), perm=[0, 2, 1, 3])
    x = model.op(
        "Reshape", [x, model.constant("s2", np.array([4, 6, 4], np.int64))], "r2", (0.05, 3)
    )
    y = model.input("other", (1, 1, 4), (0.03, 0))
    z = model.op("Add", [x, y], "out", (0.07, 0))
    converted = assert_int8(model.output(z).bytes(), lsb=1)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_operands_in_different_orders_meet_by_one_transpose() -> None:
    """A picture (NHWC in memory) plus a matrix that was reshaped to one (logical order in memory)."""
    model = OnnxModel()
    x = model.input("picture", (1, 3, 4, 5), (0.05, 3))
    flat = model.input("flat", (1, 60), (0.05, 3))
    shape = model.constant("shape", np.array([1, 3, 4, 5], np.int64))
    y = model.op("Reshape", [flat, shape], "reshaped", (0.05, 3))
    model.output(model.op("Add", [y, x], "out", (0.1, 0)))
    converted = assert_int8(model.bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"]["TRANSPOSE"] == 1


@pytest.mark.parametrize(
    ("op", "scales", "out"),
    [
        ("Add", (1.03, 0.0017), 0.0011), ("Sub", (0.0011, 1.03), 4.1),
        ("Mul", (0.51, 0.53), 0.0009), ("Mul", (0.0011, 0.0013), 0.51),
    ],
)  # fmt: skip
def test_scale_ratios_beyond_the_delegate_are_computed_in_float(
    op: str, scales: tuple[float, float], out: float
) -> None:
    source = two(op, ((1, 60), (1, 60)), scales, (0, 5), (out, 0))
    converted = assert_int8(source, lsb=0)
    assert converted.warnings == ()
    reasons = [o.reason for o in converted.plan.ops if o.op == op.upper()]
    assert "of the output's, outside [" in reasons[0]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize(("op", "ratio"), [("ADD", 300.0), ("SUB", 0.0005), ("MUL", 256.0)])
def test_the_delegates_limits_are_warned_of_where_a_plan_has_them(op: str, ratio: float) -> None:
    from edgecv.spec.types import QuantParams

    spec = load("tflite")
    build = PlanBuilder(spec)
    ones = QuantParams(1.0, 0, "int8")
    result = QuantParams(float(np.float32(1 / ratio)), 0, "int8")
    inputs = [build.activation(name, (1, 6), ones) for name in ("a", "b")]
    build.emit(
        op, (inputs[0], inputs[1]), (build.activation("out", (1, 6), result),), "", fused=True
    )
    plan = Plan("tflite", tuple(build.tensors), tuple(build.ops), (0, 1), (2,))
    (warning,) = outside(plan, spec.engines["litert"])
    assert warning.startswith(f"{op} 'out' runs outside XNNPACK: the")
    assert f"is {ratio:.4g} of" in warning


def test_a_product_that_grows_needs_the_later_version() -> None:
    """op_version.cc: MUL with a rescale of 1 or more is of version 3."""
    plan = plan_model(two("Mul", ((1, 6), (1, 6)), (0.5, 0.5), (0, 0), (0.2, 0)), "tflite")
    assert [op.version for op in plan.ops] == [3]
    plan = plan_model(two("Mul", ((1, 6), (1, 6)), (0.5, 0.5), (0, 0), (0.3, 0)), "tflite")
    assert [op.version for op in plan.ops] == [2]
    assert_int8(two("Mul", ((1, 60), (1, 60)), (0.5, 0.5), (0, 0), (0.2, 0)), lsb=1)


@pytest.mark.parametrize("opset", [11, 12, 13, 14])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max"])
def test_opsets(op: str, opset: int) -> None:
    assert_int8(
        two(op, ((1, 3, 4, 5), (1, 3, 1, 1)), (0.05, 0.05), (3, 4), (0.1, 0), opset=opset), lsb=1
    )


def test_refusals_name_the_value() -> None:
    model = OnnxModel()
    names = [model.input(name, (1, 6)) for name in "abc"]
    source = model.output(model.op("Max", names, "out")).bytes()
    with pytest.raises(UnsupportedError, match="there must be 2 operands, got 3"):
        plan_model(source, "tflite")
    model = OnnxModel()
    x = model.input("a", (2, 1, 2, 1, 2, 1))
    y = model.input("b", (1, 2, 1, 2, 1, 2))
    source = model.output(model.op("Mul", [x, y], "out")).bytes()
    with pytest.raises(UnsupportedError, match=r"4 groups of dimensions, got 6 in \[2, 1, 2"):
        plan_model(source, "tflite")
