"""PRelu against ONNX Runtime: slopes of every shape that repeats along the input, float and between quantizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel, conv_weights
from verified_nets import Verified

from edgecv.errors import UnsupportedError
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import Converted, convert_model, plan_model

Shape = tuple[int, ...]
GRID = (0.0517, 3)
#: Shapes of an input and of its slope.
SHAPES: list[tuple[Shape, Shape]] = [
    ((1, 6, 4, 5), (6, 1, 1)),
    ((1, 6, 4, 5), (1, 6, 1, 1)),
    ((1, 6, 4, 5), (1,)),
    ((1, 6, 4, 5), ()),
    ((1, 6, 4, 5), (5,)),
    ((1, 6, 4, 5), (4, 1)),
    ((1, 6, 4, 5), (6, 4, 5)),
    ((2, 6, 4, 5), (6, 1, 5)),
    ((1, 6), (6,)),
    ((2, 3, 6), (3, 1)),
    ((7,), (7,)),
    ((1, 2, 3, 4, 5), (2, 1, 1, 1)),
    ((1, 2, 3, 4, 5), (2, 3, 4, 5)),
    ((1, 2, 3, 2, 3, 2), (1,)),
]


def slopes(shape: Shape, seed: int = 0) -> Any:
    """Of both signs."""
    return np.random.default_rng(seed).uniform(-0.5, 1.5, shape).astype(np.float32)


def model_of(
    shapes: tuple[Shape, Shape], grids: tuple[tuple[float, int], tuple[float, int]] | None, *,
    opset: int = 17, slope: str = "plain", seed: int = 0,
) -> bytes:  # fmt: skip
    """PRelu alone; a *slope* that is ``"plain"`` float or ``"quantized"``."""
    model = OnnxModel(opset)
    x = model.input("input", shapes[0], grids[0] if grids else None)
    if slope == "plain":
        a = model.constant("slope", slopes(shapes[1], seed))
    else:
        integers = np.random.default_rng(seed).integers(-128, 128, shapes[1]).astype(np.int8)
        a = model.weight("slope", integers, np.float32(0.01), None, zero=-5)
    return model.output(model.op("PRelu", [x, a], "out", grids[1] if grids else None)).bytes()


def kinds(converted: Converted) -> list[str]:
    return [op.op for op in converted.plan.ops if op.op != "RESHAPE"]


@given(
    st.sampled_from(SHAPES), st.sampled_from(["plain", "quantized"]), st.floats(0.01, 0.1), st.floats(0.5, 2),
    st.integers(-128, 127), st.integers(-128, 127), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_island(
    shapes: tuple[Shape, Shape], slope: str, scale: float, factor: float, zero: int, out_zero: int, seed: int
) -> None:  # fmt: skip
    """One rounding: float arithmetic is the same everywhere."""
    grids = [(float(np.float32(s)), z) for s, z in ((scale, zero), (scale * factor, out_zero))]
    source = model_of(shapes, (grids[0], grids[1]), slope=slope, seed=seed)
    converted = assert_int8(source, lsb=1, seed=seed)
    assert kinds(converted) == ["DEQUANTIZE", "PRELU", "QUANTIZE"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("shape", [(16, 1, 1), (1,)])
def test_island_on_every_integer(shape: Shape) -> None:
    source = model_of(((1, 16, 32, 32), shape), ((0.0625 - 1e-4, 5), (0.03, -7)))
    assert_int8(source, lsb=0)


@pytest.mark.parametrize("shapes", SHAPES)
def test_float(shapes: tuple[Shape, Shape]) -> None:
    converted = assert_float(model_of(shapes, None), relative=1e-7)
    assert kinds(converted) == ["PRELU"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("quantized", [False, True])
def test_a_slope_that_would_repeat_over_too_many_groups_as_the_input_lies(quantized: bool) -> None:
    """Five in the transposed tensor, two in logical order."""
    model, grid = OnnxModel(), GRID if quantized else None
    x = model.input("input", (2, 3, 2, 3, 2), grid)
    x = model.op("Transpose", [x], "turned", grid, perm=[0, 2, 4, 1, 3])
    x = model.op("PRelu", [x, model.constant("slope", slopes((3, 3)))], "out", grid)
    source = model.output(x).bytes()
    converted = assert_int8(source, lsb=1) if quantized else assert_float(source, relative=1e-7)
    assert kinds(converted).count("TRANSPOSE") == 1
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("opset", [11, 15, 16, 21])
def test_opsets(opset: int) -> None:
    """The definition of opset 16 has more types."""
    assert_float(model_of(SHAPES[0], None, opset=opset), relative=1e-7)
    assert_int8(model_of(SHAPES[0], (GRID, (0.04, -9)), opset=max(opset, 13)), lsb=0)


def between(*, quantized: bool, turned: bool = False) -> OnnxModel:
    """Two convolutions with a PRelu behind each; both share one slope."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    slope = model.constant("slope", slopes((4, 1, 1)))
    x = model.input("input", (1, 4, 3, 5), GRID if quantized else None)
    for name in ("first", "second"):
        if quantized:
            weight, bias, scale = conv_weights(rng, model, name, (4, 4, 1, 1), GRID[0])
            x = model.op("Conv", [x, weight, bias], name, (scale, 3))
            x = model.op("PRelu", [x, slope], f"{name}.act", GRID)
        else:
            weight = model.constant(f"{name}.w", rng.normal(0, 0.5, (4, 4, 1, 1)).astype("f4"))
            x = model.op("PRelu", [model.op("Conv", [x, weight], name), slope], f"{name}.act")
    if turned:
        x = model.op("Transpose", [x], "turned", GRID if quantized else None, perm=[0, 2, 3, 1])
        each = model.constant("each", slopes((3, 5, 4), 1))
        x = model.op("PRelu", [x, each], "third", GRID if quantized else None)
    return model.output(x)


def test_a_picture_is_not_transposed() -> None:
    converted = assert_float(between(quantized=False).bytes(), relative=1e-6)
    assert kinds(converted) == ["CONV_2D", "PRELU"] * 2
    assert "RESHAPE" not in {op.op for op in converted.plan.ops}
    assert delegation(converted.files[".tflite"]).partitions == 1


def test_one_partition_of_integers() -> None:
    converted = assert_int8(between(quantized=True).bytes(), lsb=2)
    assert kinds(converted) == ["CONV_2D", "DEQUANTIZE", "PRELU", "QUANTIZE"] * 2
    taken = delegation(converted.files[".tflite"])
    assert (taken.partitions, taken.outside) == (1, ())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
def test_verification_holds_the_slope(quantized: bool, turned: bool, tmp_path: Path) -> None:
    """Each gate of ``edgecv convert`` passes, and a slope that is another one is named."""
    made = Verified(tmp_path, between(quantized=quantized, turned=turned))
    for target in made.artifacts:
        assert made.compare(made.copy(target)) == []
    copy = made.copy("tflite")
    copy.array("slope").reshape(-1)[2] += np.float32(1e-3)
    copy.save()
    assert [m.tensor for m in made.compare(copy)] == ["slope"]


@pytest.mark.parametrize(
    ("shapes", "slope"), [(s, k) for s in SHAPES for k in ("plain", "quantized")]
)
def test_verification_finds_every_arrangement(
    shapes: tuple[Shape, Shape], slope: str, tmp_path: Path
) -> None:
    source = model_of(shapes, (GRID, (0.04, -9)), slope=slope)
    path = tmp_path / "model.tflite"
    path.write_bytes(convert_model(source, "tflite").files[".tflite"])
    assert compare_parameters(path, source) == []


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (((1, 6, 4, 5), (6,)), r"must broadcast to \[1, 6, 4, 5\], got \[6\]"),
        (((1, 6, 4, 5), (2, 1, 1, 1)), r"must broadcast to \[1, 6, 4, 5\], got \[2, 1, 1, 1\]"),
        (((6, 4), (1, 6, 4)), r"must broadcast to \[6, 4\], got \[1, 6, 4\]"),
        (((2, 3, 2, 3, 2), (2, 1, 2, 1, 2)), r"over 4 groups of dimensions, got 5 in \[2, 1, 2, 1, 2\]"),
    ],
)  # fmt: skip
def test_slopes_that_are_refused(shapes: tuple[Shape, Shape], said: str) -> None:
    with pytest.raises(UnsupportedError, match=f"PRelu 'node:out'.*{said}; nearest: PRelu of"):
        plan_model(model_of(shapes, None), "tflite")


def test_a_computed_slope_is_refused() -> None:
    model = OnnxModel()
    x, y = (model.input(name, (1, 6)) for name in ("input", "other"))
    source = model.output(model.op("PRelu", [x, y], "out")).bytes()
    with pytest.raises(
        UnsupportedError, match="slope must be a constant, got the computed 'other'"
    ):
        plan_model(source, "tflite")


def test_a_constant_input_is_refused() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 6))
    y = model.op(
        "PRelu", [model.constant("c", slopes((1, 6))), model.constant("s", slopes((6,)))], "y"
    )
    source = model.output(model.op("Add", [x, y], "out")).bytes()
    with pytest.raises(UnsupportedError, match="input must be computed, got the constant 'c'"):
        plan_model(source, "tflite")
