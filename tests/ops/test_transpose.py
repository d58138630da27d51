"""Transposes alone and with reshapes: exact, and together at most one TRANSPOSE."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model

GRID = (0.05, 3)
OTHER = (0.07, -9)


class Mover:
    """A chain of moves over one quantized input, every step rounded to the same grid."""

    def __init__(self, shape: tuple[int, ...], *, quantized: bool = True, opset: int = 17) -> None:
        self.model = OnnxModel(opset)
        self.quant = GRID if quantized else None
        self.name = self.model.input("input", shape, self.quant)
        self.steps = 0

    def op(self, op: str, inputs: list[object] = [], **attributes: object) -> Mover:  # noqa: B006
        """One operator; *inputs* are integers of constants behind the moved tensor."""
        self.steps += 1
        constants = [
            self.model.constant(f"step{self.steps}/{i}", np.array(values, np.int64))
            for i, values in enumerate(inputs)
        ]
        name = f"step{self.steps}"
        self.name = self.model.op(op, [self.name, *constants], name, self.quant, **attributes)
        return self

    def reshape(self, *shape: int) -> Mover:
        return self.op("Reshape", [shape])

    def transpose(self, *perm: int) -> Mover:
        return self.op("Transpose", perm=perm)

    def bytes(self) -> bytes:
        return self.model.output(self.name).bytes()


@st.composite
def moves(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[str, tuple[int, ...]]]]:
    """A shape, and reshapes and transposes that fit it."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=2, max_size=5)))
    first, size = shape, prod(shape)
    steps: list[tuple[str, tuple[int, ...]]] = []
    for kind in draw(st.lists(st.sampled_from(["reshape", "transpose"]), min_size=1, max_size=5)):
        if kind == "transpose":
            perm = tuple(draw(st.permutations(range(len(shape)))))
            shape = tuple(shape[axis] for axis in perm)
            steps.append((kind, perm))
        else:
            rest, new = size, []
            while rest > 1 and len(new) < 3:
                new.append(draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0])))
                rest //= new[-1]
            shape = (*new, rest)
            steps.append((kind, shape))
    return first, steps


@given(moves(), st.booleans(), st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_any_chain_is_exact(
    chain: tuple[tuple[int, ...], list[tuple[str, tuple[int, ...]]]], quantized: bool, seed: int
) -> None:
    shape, steps = chain
    mover = Mover(shape, quantized=quantized)
    for kind, numbers in steps:
        mover = mover.transpose(*numbers) if kind == "transpose" else mover.reshape(*numbers)
    source = mover.op("Reshape", [(prod(shape),)]).bytes()
    if quantized:
        # something is computed, so that the output is not the input itself
        converted = assert_int8(source, lsb=0, seed=seed) if _moves(source) else None
    else:
        converted = assert_float(source, relative=0.0, seed=seed) if _moves(source) else None
    if converted is not None:
        assert delegation(converted.files[".tflite"]).outside == ()


def _moves(source: bytes) -> bool:
    try:
        return bool(plan_model(source, "tflite").ops)
    except UnsupportedError as error:
        assert "is the input itself" in str(error)  # noqa: PT017
        return False


@given(st.permutations(range(4)), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_picture(perm: list[int], other_scale: bool, seed: int) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), GRID)
    y = model.op("Transpose", [x], "moved", OTHER if other_scale else GRID, perm=perm)
    y = model.op("Add", [y, y], "out", (0.11, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=2 if other_scale else 1, seed=seed)
    assert converted.plan.statistics()["by_type"].get("QUANTIZE", 0) == int(other_scale)


def unfold(*, quantized: bool) -> Mover:
    """MobileViT's unfold as timm writes it: [B, C, H, W] to [B*4, patches, C]."""
    batch, channels, height, width = 1, 6, 8, 4
    rows, columns = height // 2, width // 2
    mover = Mover((batch, channels, height, width), quantized=quantized)
    mover.reshape(batch * channels * rows, 2, columns, 2).transpose(0, 2, 1, 3)
    mover.reshape(batch, channels, rows * columns, 4).transpose(0, 3, 2, 1)
    return mover.reshape(batch * 4, rows * columns, channels)


def fold(mover: Mover) -> Mover:
    """And back."""
    batch, channels, height, width = 1, 6, 8, 4
    rows, columns = height // 2, width // 2
    mover.reshape(batch, 4, rows * columns, channels).transpose(0, 3, 2, 1)
    mover.reshape(batch * channels * rows, columns, 2, 2).transpose(0, 2, 1, 3)
    return mover.reshape(batch, channels, height, width)


def linear(model: OnnxModel, x: str, quantized: bool) -> str:
    rng = np.random.default_rng(0)
    if not quantized:
        w = model.constant("w", rng.normal(0, 1, (6, 6)).astype(np.float32))
        return model.op("MatMul", [x, w], "tokens")
    integers = rng.integers(-127, 128, (6, 6)).astype(np.int8)
    w = model.weight("w", integers, np.full(6, 0.003, np.float32), 1)
    return model.op("MatMul", [x, w], "tokens", GRID)


@pytest.mark.parametrize("quantized", [True, False])
def test_unfold_is_one_transpose(quantized: bool) -> None:
    mover = unfold(quantized=quantized)
    source = mover.model.output(linear(mover.model, mover.name, quantized)).bytes()
    converted = assert_int8(source, lsb=1) if quantized else assert_float(source, relative=1e-5)
    assert [op.op for op in converted.plan.ops] == [
        "RESHAPE",
        "TRANSPOSE",
        "RESHAPE",
        "FULLY_CONNECTED",
    ]
    transpose = converted.plan.ops[1]
    assert len(converted.plan.tensors[transpose.outputs[0]].shape) == 5
    assert transpose.version == 4
    assert delegation(converted.files[".tflite"]).outside == ()


def test_fold_is_one_transpose_and_a_residual_meets_it() -> None:
    """Unfold, a linear layer, fold, and the picture added again: two transposes, none for the sum."""
    mover = unfold(quantized=True)
    mover.name = linear(mover.model, mover.name, True)
    fold(mover)
    model = mover.model
    converted = assert_int8(
        model.output(model.op("Add", ["input/dq", mover.name], "out", (0.11, 0))).bytes(), lsb=2
    )
    counts = converted.plan.statistics()["by_type"]
    assert counts == {"RESHAPE": 4, "TRANSPOSE": 2, "FULLY_CONNECTED": 1, "ADD": 1}
    assert delegation(converted.files[".tflite"]).outside == ()


def test_heads_keep_their_shape() -> None:
    """[B, N, h*d] to [B, h, N, d] and back: one TRANSPOSE each, and only the reshapes that split and join."""
    mover = Mover((1, 5, 6)).reshape(1, 5, 2, 3).transpose(0, 2, 1, 3)
    mover.name = mover.model.op("Add", [mover.name, mover.name], "sum", (0.11, 0))
    source = mover.transpose(0, 2, 1, 3).reshape(1, 5, 6)
    source.name = linear(source.model, source.name, True)
    assert_int8(source.bytes(), lsb=255)


def test_channel_shuffle_is_one_transpose() -> None:
    mover = Mover((1, 6, 4, 5)).reshape(1, 2, 3, 4, 5).transpose(0, 2, 1, 3, 4).reshape(1, 6, 4, 5)
    mover.name = mover.model.op("Add", [mover.name, "input/dq"], "out", (0.11, 0))
    converted = assert_int8(mover.bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"]["TRANSPOSE"] == 1
    assert delegation(converted.files[".tflite"]).outside == ()


def test_nhwc_source_needs_no_transpose() -> None:
    """A file that keeps its pictures in NHWC between transposes (TensorFlow exporters)."""
    rng = np.random.default_rng(0)
    mover = Mover((1, 3, 8, 8)).transpose(0, 2, 3, 1).transpose(0, 3, 1, 2)
    model = mover.model
    w = model.weight(
        "w", rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), np.full(4, 0.01, np.float32), 0
    )
    y = model.op("Conv", [mover.name, w], "out", (0.1, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"] == {"CONV_2D": 1}


def scattered(model: OnnxModel, name: str, shape: tuple[int, ...], out: tuple[int, ...]) -> str:
    """An input whose first two dimensions are exchanged, and then split elsewhere."""
    x = model.input(name, shape, GRID)
    perm = [1, 0, *range(2, len(shape))]
    x = model.op("Transpose", [x], f"{name}/turned", GRID, perm=perm)
    sizes = model.constant(f"{name}/shape", np.array(out, np.int64))
    return model.op("Reshape", [x, sizes], f"{name}/split", GRID)


def test_operands_that_are_scattered_differently_meet_in_logical_order() -> None:
    model = OnnxModel()
    x = scattered(model, "x", (6, 4), (2, 12))
    y = scattered(model, "y", (4, 6), (2, 12))
    converted = assert_int8(model.output(model.op("Add", [x, y], "out", (0.11, 0))).bytes(), lsb=1)
    assert converted.plan.statistics()["by_type"]["TRANSPOSE"] == 2
    assert delegation(converted.files[".tflite"]).outside == ()


def test_an_operand_that_repeats_and_is_scattered_differently() -> None:
    model = OnnxModel()
    x = scattered(model, "x", (6, 4, 5), (2, 12, 5))
    y = scattered(model, "y", (4, 6), (2, 12, 1))
    converted = assert_int8(model.output(model.op("Mul", [x, y], "out", (0.11, 0))).bytes(), lsb=1)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_a_slice_across_the_pieces_of_a_dimension() -> None:
    model = OnnxModel()
    x = scattered(model, "x", (4, 6), (24,))
    cuts = [model.constant(n, np.array([v], np.int64)) for n, v in (("from", 3), ("to", 15))]
    y = model.op("Slice", [x, *cuts], "out", GRID)
    converted = assert_int8(model.output(y).bytes(), lsb=0)
    counts = converted.plan.statistics()["by_type"]
    assert counts == {"RESHAPE": 1, "SLICE": 1, "TRANSPOSE": 1}


@pytest.mark.parametrize("opset", [11, 13, 21])
def test_opsets(opset: int) -> None:
    assert_int8(Mover((2, 3, 4), opset=opset).transpose(2, 0, 1).bytes(), lsb=0)
    # no permutation: the dimensions in reverse
    assert_int8(Mover((2, 3, 4), opset=opset).op("Transpose").bytes(), lsb=0)


def test_six_dimensions_stay_inside_and_seven_are_refused() -> None:
    mover = Mover((2, 3, 2, 3, 2, 3)).transpose(5, 4, 3, 2, 1, 0).reshape(6, 36)
    converted = assert_int8(mover.bytes(), lsb=0)
    assert [op.version for op in converted.plan.ops if op.op == "TRANSPOSE"] == [6]
    assert delegation(converted.files[".tflite"]).outside == ()
    source = Mover((2,) * 7).transpose(*range(6, -1, -1)).reshape(128).bytes()
    with pytest.raises(UnsupportedError, match="at most 6 dimensions may part, got 7"):
        plan_model(source, "tflite")


def test_transposes_that_together_scatter_too_much_are_two() -> None:
    mover = Mover((2, 2, 2, 16)).transpose(3, 2, 1, 0).reshape(2, 2, 2, 2, 8)
    mover.transpose(4, 3, 2, 1, 0).reshape(128)
    converted = assert_int8(mover.bytes(), lsb=0)
    assert converted.plan.statistics()["by_type"]["TRANSPOSE"] == 2
    assert delegation(converted.files[".tflite"]).outside == ()
