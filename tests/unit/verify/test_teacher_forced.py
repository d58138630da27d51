"""Every tensor alone: what is known, what correct kernels reach, and what fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import OnnxModel, conv_weights, small_resnet

from edgecv.errors import InputError
from edgecv.verify.teacher_forced import (
    KERNELS,
    TensorError,
    failures,
    lessons,
    teacher_forced,
)
from edgecv_converters import convert_model, plan_model

EXACT = TensorError("t", ("CONV_2D",), 10_000, 0, 0.0)


def pictures(*shape: int, count: int = 2) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"input": rng.uniform(0, 1, shape).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize(
    ("kernels", "error", "passed"),
    [
        ("xnnpack", EXACT, True),
        ("xnnpack", replace(EXACT, max_lsb=1, mean_lsb=1e-3), True),
        ("xnnpack", replace(EXACT, max_lsb=1, mean_lsb=3e-3), False),
        ("xnnpack", replace(EXACT, max_lsb=2), False),
        ("xnnpack", replace(EXACT, max_lsb=2, roundings=2), True),
        ("xnnpack", replace(EXACT, max_lsb=3, roundings=2), False),
        ("builtin", replace(EXACT, max_lsb=1, mean_lsb=0.04), True),
        ("builtin", replace(EXACT, max_lsb=1, mean_lsb=0.2), False),
        # one of five elements that rounds the other way is no fault
        ("xnnpack", replace(EXACT, elements=5, max_lsb=1, mean_lsb=0.2), False),
        ("xnnpack", replace(EXACT, elements=100, max_lsb=1, mean_lsb=0.01), True),
        # what lies halfway may become either; the builtin kernels round twice
        ("xnnpack", replace(EXACT, max_lsb=1, mean_lsb=0.2, ties=0.25), True),
        ("xnnpack", replace(EXACT, max_lsb=1, mean_lsb=0.39, ties=0.25), False),
        ("xnnpack", replace(EXACT, max_lsb=2, mean_lsb=0.2, ties=0.25), False),
        ("builtin", replace(EXACT, max_lsb=1, mean_lsb=0.39, ties=0.25), True),
        ("xnnpack", replace(EXACT, max_lsb=1, mean_lsb=0.04, averages=True), True),
        ("xnnpack", replace(EXACT, max_lsb=1, mean_lsb=0.1, averages=True), False),
        ("builtin", replace(EXACT, operators=("MEAN",), max_lsb=1, mean_lsb=0.36), True),
        # a bias that was rounded to its grid
        ("xnnpack", replace(EXACT, max_lsb=1, mean_lsb=0.01, slack=0.01), True),
        # an operand that was rounded once more
        ("xnnpack", replace(EXACT, max_lsb=4, mean_lsb=0.8, bridged=True), True),
        ("xnnpack", replace(EXACT, max_lsb=4, mean_lsb=1.1, bridged=True), False),
        ("xnnpack", replace(EXACT, max_lsb=7, mean_lsb=0.8, bridged=True), False),
        ("xnnpack", replace(EXACT, fault="shape [1, 2] instead of [1, 3]"), False),
    ],
)  # fmt: skip
def test_limits(kernels: str, error: TensorError, passed: bool) -> None:
    assert failures([error], kernels=kernels) == ([] if passed else [error])


def test_a_fault_says_why() -> None:
    said = str(replace(EXACT, fault="LiteRT cannot load it"))
    assert said == "t (CONV_2D): LiteRT cannot load it"


def test_every_operator_is_in_a_lesson() -> None:
    source = small_resnet().bytes()
    plan = plan_model(source, "tflite")
    found = [*lessons(plan, source, pictures(1, 3, 20, 16))]
    assert {place for lesson in found for place in lesson.positions} == set(range(len(plan.ops)))
    assert [lesson.comparison.tensor for lesson in found] == [
        "act1", "maxpool", "layer1.act1", "layer1.bn2", "layer1.act2", "global_pool.pool", "logits",
    ]  # fmt: skip
    assert [lesson.comparison.averages for lesson in found] == [False] * 5 + [True, False]


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_float_input_is_given_as_it_is(kernels: str) -> None:
    """Only what follows is quantized: the first convolution is an island that reads the picture."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8))
    weight = model.constant("w", rng.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32))
    x = model.op("Conv", [x, weight], "first", (0.02, 0))
    weight, bias, scale = conv_weights(rng, model, "second", (4, 4, 1, 1), 0.02)
    source = model.output(model.op("Conv", [x, weight, bias], "y", (scale, 0))).bytes()
    plan = plan_model(source, "tflite")
    errors = teacher_forced(plan, source, pictures(1, 3, 8, 8), kernels=kernels)
    assert [e.tensor for e in errors] == ["first", "y"]
    assert failures(errors, kernels=kernels) == []


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_an_integer_input(dtype: str) -> None:
    model = OnnxModel(activation=dtype)
    kind = TensorProto.INT8 if dtype == "int8" else TensorProto.UINT8
    model.inputs.append(helper.make_tensor_value_info("x", kind, (1, 4, 6, 6)))
    model.constant("x/scale", np.float32(0.05))
    model.constant("x/zero_point", np.array(3 if dtype == "int8" else 131, dtype))
    inputs = ["x", "x/scale", "x/zero_point"]
    model.nodes.append(helper.make_node("DequantizeLinear", inputs, ["x/dq"]))
    weight, bias, scale = conv_weights(np.random.default_rng(0), model, "w", (4, 4, 3, 3), 0.05)
    source = model.output(model.op("Conv", ["x/dq", weight, bias], "y", (scale, 0))).bytes()
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    x = rng.integers(limits.min, limits.max + 1, (1, 4, 6, 6)).astype(dtype)
    errors = teacher_forced(plan_model(source, "tflite"), source, [{"x": x}])
    assert [e.tensor for e in errors] == ["y"]
    assert failures(errors) == []


def test_a_bias_off_its_grid_has_slack() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8), (0.05, 3))
    integers = np.random.default_rng(7).integers(-100, 100, (4, 3, 1, 1)).astype(np.int8)
    weight = model.weight("w", integers, [0.01, 0.02, 0.03, 0.04], 0)
    bias = model.constant("b", np.array([0.1, -0.2, 0.3, -0.4], np.float32))
    source = model.output(model.op("Conv", [x, weight, bias], "y", (0.1, 0))).bytes()
    (lesson,) = lessons(plan_model(source, "tflite"), source, pictures(1, 3, 8, 8))
    assert lesson.comparison.slack == pytest.approx(0.05 * 0.04 / 2 / 0.1)
    source = small_resnet().bytes()
    found = lessons(plan_model(source, "tflite"), source, pictures(1, 3, 20, 16))
    assert {lesson.comparison.slack for lesson in found} == {0.0}


def powers_of_two() -> bytes:
    """Every scale a power of two, as training with such scales leaves them: ties are frequent."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 16, 16), (2.0**-7, -128))
    arms = []
    for name in ("left", "right"):
        integers = rng.integers(-127, 128, (6, 3, 3, 3)).astype(np.int8)
        weight = model.weight(f"{name}.weight", integers, np.full(6, 2.0**-8, np.float32), 0)
        arms.append(model.op("Conv", [x, weight], name, (2.0**-3, 0), pads=[1] * 4))
    y = model.op("Add", arms, "sum", (2.0**-2, 0))
    y = model.op("AveragePool", [y], "pool", (2.0**-2, 0), kernel_shape=[2, 2], strides=[2, 2])
    return model.output(model.op("GlobalAveragePool", [y], "mean", (2.0**-4, 0))).bytes()


def test_ties_are_counted_and_no_fault() -> None:
    source = powers_of_two()
    plan = plan_model(source, "tflite")
    errors = {k: teacher_forced(plan, source, pictures(1, 3, 16, 16), kernels=k) for k in KERNELS}
    ties = {e.tensor: e.ties for e in errors["xnnpack"]}
    assert ties["sum"] == pytest.approx(0.5, abs=0.05)
    assert ties["pool"] == pytest.approx(0.25, abs=0.05)
    for kernels, found in errors.items():
        assert failures(found, kernels=kernels) == []
        # without them the same kernels would look wrong
        assert failures([replace(e, ties=0.0) for e in found], kernels=kernels) != []
    plain = small_resnet().bytes()
    found = teacher_forced(plan_model(plain, "tflite"), plain, pictures(1, 3, 20, 16))
    assert max(e.ties for e in found if e.operators[-1] == "CONV_2D") < 0.01


def test_no_samples_and_unknown_kernels() -> None:
    source = small_resnet().bytes()
    plan = convert_model(source, "tflite").plan
    with pytest.raises(InputError, match="0 samples"):
        teacher_forced(plan, source, [])
    with pytest.raises(InputError, match="'gpu'"):
        teacher_forced(plan, source, pictures(1, 3, 20, 16), kernels="gpu")
