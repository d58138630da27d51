"""Products of two activations, and with a constant on the left, against ONNX Runtime."""

from __future__ import annotations

import re

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation, random_inputs, run_onnx, run_tflite
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv.spec.types import QuantParams
from edgecv_converters import plan_model
from edgecv_converters.tflite.ops.matmul import bridge_noise, symmetric

LEFT = (0.0317, 7)
RIGHT = (0.0213, 0)


def fitting(inner: int) -> tuple[float, int]:
    """An output grid that random operands fill."""
    return float(np.float32(0.0317 * 0.0213 * 74 * 74 * np.sqrt(inner) / 40)), -5


@st.composite
def products(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes whose batches broadcast."""
    rows, inner, columns = (draw(st.integers(1, 9)) for _ in range(3))
    batch = draw(st.lists(st.integers(1, 3), max_size=3))
    shapes = []
    for last in ((rows, inner), (inner, columns)):
        kept = batch[draw(st.integers(0, len(batch))) if draw(st.booleans()) else 0 :]
        shapes.append((*(1 if draw(st.integers(0, 4)) == 0 else b for b in kept), *last))
    return shapes[0], shapes[1]


@given(products(), st.booleans(), st.integers(-128, 127), st.integers(0, 99))
@settings(max_examples=120, deadline=None)
def test_int8(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], swap: bool, zero: int, seed: int
) -> None:
    left, right = shapes
    model = OnnxModel()
    x = model.input("left", left, (LEFT[0], zero))
    perm = list(range(len(right)))
    if swap:
        perm[-2:] = perm[-1], perm[-2]
    y = model.input("right", tuple(right[axis] for axis in perm), RIGHT)
    if swap:
        y = model.op("Transpose", [y], "turned", RIGHT, perm=perm)
    z = model.op("MatMul", [x, y], "out", fitting(left[-1]))
    converted = assert_int8(model.output(z).bytes(), lsb=1, seed=seed)
    assert [op.op for op in converted.plan.ops].count("BATCH_MATMUL") == 1
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@given(products(), st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_float(shapes: tuple[tuple[int, ...], tuple[int, ...]], clamp: bool, seed: int) -> None:
    left, right = shapes
    model = OnnxModel()
    z = model.op("MatMul", [model.input("left", left), model.input("right", right)], "product")
    if clamp:
        # BATCH_MATMUL takes no clamp in
        z = model.op("Relu", [z], "out")
    converted = assert_float(model.output(z).bytes(), relative=1e-5, seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("zero", [-128, -7, 1, 127])
def test_zero_point_on_the_right_is_bridged(zero: int) -> None:
    """One more rounding, of the right operand, instead of a kernel that is 33 to 42 times slower."""
    inner = 16
    model = OnnxModel()
    x = model.input("left", (2, 9, inner), LEFT)
    y = model.input("right", (2, inner, 8), (RIGHT[0], zero))
    # half a step on the right is at most half an output step in the product
    step = symmetric(QuantParams(float(np.float32(RIGHT[0])), zero, "int8")).scale
    coarse = float(np.float32(inner * 135 * LEFT[0] * step))
    model.output(model.op("MatMul", [x, y], "out", (coarse, 0)))
    converted = assert_int8(model.bytes(), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "QUANTIZE", "BATCH_MATMUL"]
    bridge = converted.plan.tensors[converted.plan.ops[1].outputs[0]]
    assert bridge.name == "right:symmetric"
    assert bridge.quant_params() == QuantParams(step, 0, "int8")
    assert f"zero point 0 on the right only, here {zero}" in converted.plan.ops[1].reason
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("zero", [-128, -7, 127])
def test_bridge_on_a_filled_grid_rounds_only_what_it_says(zero: int) -> None:
    """Against NumPy with the right operand rounded to the bridge's grid: 1 LSB per rounding."""
    model = OnnxModel()
    x = model.input("left", (2, 9, 16), LEFT)
    y = model.input("right", (2, 16, 8), (RIGHT[0], zero))
    out = fitting(16)
    source = model.output(model.op("MatMul", [x, y], "out", out)).bytes()
    plan = plan_model(source, "tflite")
    converted = assert_int8(source, lsb=4)
    ours, _ = random_inputs(converted, 1)
    bridge = plan.tensors[plan.ops[1].outputs[0]].quant_params()
    assert bridge is not None
    real = (ours[1].astype(np.float64) - zero) * np.float32(RIGHT[0])
    rounded = np.rint(real / bridge.scale)
    product = (ours[0].astype(np.float64) - LEFT[1]) @ rounded * np.float32(LEFT[0]) * bridge.scale
    wanted = np.clip(np.rint(product / np.float32(out[0])) + out[1], -128, 127)
    for kernels in ("xnnpack", "builtin"):
        (found,) = run_tflite(converted.files[".tflite"], ours, kernels)
        assert np.abs(found.astype(int) - wanted).max() <= 1


def scores(noise: float, *, weights: bool = False, zero: int = 19) -> bytes:
    """A product whose bridge would add *noise* LSB, by the grid of its result; behind a Softmax or not."""
    left, right = (1 / 256, -128) if weights else LEFT, (RIGHT[0], zero)
    grids = [QuantParams(float(np.float32(scale)), point) for scale, point in (left, right)]
    unit = bridge_noise(grids[0], grids[1], QuantParams(1.0, 0), None if weights else 16)
    model = OnnxModel()
    x = model.input("left", (2, 9, 16), LEFT)
    if weights:
        x = model.op("Softmax", [x], "weights", left)
    y = model.input("right", (2, 16, 8), right)
    out = (float(np.float32(unit / noise)), 3)
    return model.output(model.op("MatMul", [x, y], "out", out)).bytes()


@pytest.mark.parametrize("noise", [0.72, 2.0])
def test_a_noisy_bridge_is_a_float_island_instead(noise: float) -> None:
    """Exact, and named with its reason and the noise that it avoids."""
    converted = assert_int8(scores(noise), lsb=1)
    ops = [op.op for op in converted.plan.ops]
    assert ops == ["DEQUANTIZE", "DEQUANTIZE", "BATCH_MATMUL", "QUANTIZE"]
    assert converted.plan.float_products == ("node:out",)
    (warning,) = converted.warnings
    said = f"'right' has zero point 19.*would add noise of {noise:.2f} LSB"
    assert re.search(f"MatMul 'node:out' runs in float: .*{said}", warning)
    assert re.search(f"in float: .*{said}", converted.plan.ops[2].reason)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize(("noise", "zero"), [(0.68, 19), (5.0, 0)])
def test_below_the_bar_and_without_zero_point_it_stays_in_integers(noise: float, zero: int) -> None:
    plan = plan_model(scores(noise, zero=zero), "tflite")
    assert plan.ops[-1].op == "BATCH_MATMUL"
    assert (plan.float_products, plan.warnings) == ((), ())


@pytest.mark.parametrize(("noise", "kept"), [(0.68, 1), (0.72, 0)])
def test_weights_that_sum_to_one_average_the_noise(noise: float, kept: int) -> None:
    plan = plan_model(scores(noise, weights=True), "tflite")
    assert [t.name for t in plan.tensors].count("right:symmetric") == kept


@pytest.mark.parametrize("inner", [16, 64])
@pytest.mark.parametrize("zero", [-13, 40])
def test_predicted_noise_is_what_the_bridge_adds(inner: int, zero: int) -> None:
    """Operands that fill their grids as measured: root mean square 0.15 of the span."""
    rng = np.random.default_rng(inner + zero)
    left, right = QuantParams(0.03125, 7), QuantParams(0.015625, zero)
    spread = 0.15 * 255
    integers = np.clip(np.rint(rng.normal(0, spread, (400, inner))), -127, 127)
    other = np.clip(np.rint(rng.normal(0, spread, (inner, 50))) + zero, -128, 127) - zero
    grid = symmetric(right)
    rounded = np.rint(other * right.scale / grid.scale) * grid.scale
    added = (integers * left.scale) @ (rounded - other * right.scale)
    predicted = bridge_noise(left, right, QuantParams(1.0, 0), inner)
    assert np.sqrt((added**2).mean()) == pytest.approx(predicted, rel=0.25)


def attention(*, quantized: bool, key: tuple[float, int] = RIGHT) -> tuple[OnnxModel, str]:
    """Two heads over [1, 6, 8]: scores and values, projections as three inputs."""
    model = OnnxModel()
    grids = {"q": LEFT, "k": key, "v": key}
    split = model.constant("split", np.array([1, 6, 2, 4], np.int64))
    heads = {}
    for name, grid in grids.items():
        quant = grid if quantized else None
        x = model.input(name, (1, 6, 8), quant)
        x = model.op("Reshape", [x, split], f"{name}/split", quant)
        perm = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        heads[name] = model.op("Transpose", [x], f"{name}/heads", quant, perm=perm)
    scores = model.op(
        "MatMul", [heads["q"], heads["k"]], "scores", (0.03, 0) if quantized else None
    )
    mixed = model.op("MatMul", [scores, heads["v"]], "mixed", (0.1, 0) if quantized else None)
    quant = (0.1, 0) if quantized else None
    mixed = model.op("Transpose", [mixed], "back", quant, perm=[0, 2, 1, 3])
    joined = model.constant("join", np.array([1, 6, 8], np.int64))
    return model, model.op("Reshape", [mixed, joined], "out", quant)


@pytest.mark.parametrize("quantized", [True, False])
def test_heads(quantized: bool) -> None:
    """Keys are read as transposed: the same move as for queries and values, and none for the scores."""
    model, out = attention(quantized=quantized)
    source = model.output(out).bytes()
    converted = assert_int8(source, lsb=2) if quantized else assert_float(source, relative=1e-5)
    counts = converted.plan.statistics()["by_type"]
    assert counts["TRANSPOSE"] == counts["RESHAPE"] == 4
    products = [op for op in converted.plan.ops if op.op == "BATCH_MATMUL"]
    assert [(op.options["AdjX"], op.options["AdjY"]) for op in products] == [
        (False, True),
        (False, False),
    ]
    assert "right as transposed" in products[0].reason
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize(
    "moves", [["Transpose"], ["Transpose", "Identity"], ["Flat", "Wide", "Transpose"]]
)
def test_moves_that_nobody_rounds_behind_keep_the_product_in_integers(moves: list[str]) -> None:
    """Keys transposed between DequantizeLinear and MatMul, as fake-quantized modules are exported."""
    model = OnnxModel()
    x, y = model.input("left", (2, 9, 16), LEFT), model.input("right", (2, 8, 16), RIGHT)
    shapes = {"Flat": (16, 16), "Wide": (2, 8, 16)}
    for move in moves:
        if move == "Transpose":
            y = model.op("Transpose", [y], "turned", perm=[0, 2, 1])
        elif move == "Identity":
            y = model.op("Identity", [y], "same")
        else:
            shape = model.constant(f"{move}/shape", np.array(shapes[move], np.int64))
            y = model.op("Reshape", [y, shape], move)
    source = model.output(model.op("MatMul", [x, y], "out", fitting(16))).bytes()
    converted = assert_int8(source, lsb=1)
    assert [op.op for op in converted.plan.ops] == ["BATCH_MATMUL"]
    assert [q.name for q in converted.quantizers] == ["left", "right", "out"]


def test_bridges_are_made_once_and_before_the_move() -> None:
    model, out = attention(quantized=True, key=(0.0213, 9))
    converted = assert_int8(model.output(out).bytes(), lsb=5)
    bridges = [t.name for t in converted.plan.tensors if t.name.endswith(":symmetric")]
    assert bridges == ["k:symmetric", "v:symmetric"]


def test_both_sides_transposed_in_memory() -> None:
    model = OnnxModel()
    x = model.input("left", (16, 9), LEFT)
    y = model.input("right", (8, 16), RIGHT)
    x = model.op("Transpose", [x], "x", LEFT, perm=[1, 0])
    y = model.op("Transpose", [y], "y", RIGHT, perm=[1, 0])
    source = model.output(model.op("MatMul", [x, y], "out", fitting(16))).bytes()
    converted = assert_int8(source, lsb=1)
    (op,) = converted.plan.ops
    assert (op.op, op.options["AdjX"], op.options["AdjY"]) == ("BATCH_MATMUL", True, True)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_a_number_between_integers_and_floats() -> None:
    """An operand that is not quantized: the product runs in float."""
    model = OnnxModel()
    x = model.input("left", (2, 9, 16), LEFT)
    y = model.input("right", (2, 16, 8))
    source = model.output(model.op("MatMul", [x, y], "out", (0.05, 0))).bytes()
    converted = assert_int8(source, lsb=1)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", "BATCH_MATMUL", "QUANTIZE"]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("shape", [(6, 5), (2, 6, 5), (1, 2, 6, 5)])
def test_constant_left(shape: tuple[int, ...], per_channel: bool) -> None:
    """Mixing along the rows (MLP-Mixer): the transposed product as FULLY_CONNECTED."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", shape, LEFT)
    integers = rng.integers(-127, 128, (9, 6)).astype(np.int8)
    scales = rng.uniform(0.002, 0.02, 9) if per_channel else np.float32(0.01)
    w = model.weight("w", integers, scales, 0 if per_channel else None)
    source = model.output(model.op("MatMul", [w, x], "out", (0.05, 3))).bytes()
    converted = assert_int8(source, lsb=1)
    assert converted.plan.statistics()["by_type"]["FULLY_CONNECTED"] == 1
    assert delegation(converted.files[".tflite"]).outside == ()
    run_onnx(source, random_inputs(converted, 0)[1])


def test_constant_left_in_float_with_a_clamp() -> None:
    model = OnnxModel()
    x = model.input("input", (2, 6, 5))
    w = model.constant("w", np.random.default_rng(0).normal(0, 1, (9, 6)).astype(np.float32))
    y = model.op("Relu", [model.op("MatMul", [w, x], "product")], "out")
    converted = assert_float(model.output(y).bytes(), relative=1e-5)
    assert converted.plan.statistics()["by_type"] == {"FULLY_CONNECTED": 1, "TRANSPOSE": 2}


@pytest.mark.parametrize("opset", [11, 13])
def test_opsets(opset: int) -> None:
    model = OnnxModel(opset)
    x, y = model.input("left", (2, 9, 16), LEFT), model.input("right", (2, 16, 8), RIGHT)
    assert_int8(model.output(model.op("MatMul", [x, y], "out", fitting(16))).bytes(), lsb=1)


def test_versions_are_the_lowest() -> None:
    model, out = attention(quantized=True)
    plan = plan_model(model.output(out).bytes(), "tflite")
    assert {op.version for op in plan.ops if op.op == "BATCH_MATMUL"} == {2}
    model, out = attention(quantized=False)
    plan = plan_model(model.output(out).bytes(), "tflite")
    assert {op.version for op in plan.ops if op.op == "BATCH_MATMUL"} == {1}


def test_refusals_name_the_value() -> None:
    model = OnnxModel()
    x = model.input("a", (1, 1, 1, 1, 3, 4))
    y = model.op("MatMul", [x, model.input("b", (4, 5))], "out")
    with pytest.raises(
        UnsupportedError, match=r"must have 2 to 5 dimensions, constants 2, got \(6, 2\)"
    ):
        plan_model(model.output(y).bytes(), "tflite")
    model = OnnxModel()
    w = model.weight("w", np.ones((9, 6), np.int8), np.float32(0.01), None, zero=4)
    y = model.op("MatMul", [w, model.input("a", (6, 5), LEFT)], "out", (0.05, 0))
    with pytest.raises(UnsupportedError, match="the weight 'w' has zero point 4"):
        plan_model(model.output(y).bytes(), "tflite")
