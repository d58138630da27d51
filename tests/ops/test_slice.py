"""Slices, splits and regular gathers: exact, inside XNNPACK, nothing moved before a consumer asks."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model

GRID = (0.0517, 3)
OTHER = (0.0713, -9)


def ints(model: OnnxModel, name: str, values: object) -> str:
    return model.constant(name, np.array(values, np.int64))


def sliced(
    model: OnnxModel, x: str, name: str, cuts: list[tuple[int, int, int, int]], quant: tuple[float, int] | None
) -> str:  # fmt: skip
    """*cuts* are (axis, start, end, step)."""
    columns = list(zip(*cuts, strict=True))
    inputs = [
        ints(model, f"{name}/{what}", columns[i])
        for what, i in (("starts", 1), ("ends", 2), ("axes", 0), ("steps", 3))
    ]
    return model.op("Slice", [x, *inputs], name, quant)


@st.composite
def slices(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[int, int, int, int]]]:
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=2, max_size=5)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    cuts = []
    for axis in axes:
        extent = shape[axis]
        start = draw(st.integers(-extent, extent - 1))
        first = start % extent
        last = draw(st.integers(first + 1, extent + 3))
        end = last - extent if last < extent and draw(st.booleans()) else last
        signed = axis - len(shape) if draw(st.booleans()) else axis
        cuts.append((signed, start, end if end else 0, draw(st.integers(1, 3))))
    return shape, cuts


@given(slices(), st.booleans(), st.booleans(), st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_slice(
    case: tuple[tuple[int, ...], list[tuple[int, int, int, int]]], other: bool, add: bool, seed: int
) -> None:  # fmt: skip
    """Any starts, ends and steps, also of extents that are no multiple of the step."""
    shape, cuts = case
    model = OnnxModel()
    x = model.input("input", shape, GRID)
    y = sliced(model, x, "cut", cuts, OTHER if other else GRID)
    if add or all((s, e, k) == (0, shape[a], 1) for a, s, e, k in cuts):
        y = model.op("Add", [y, y], "out", (0.111, 0))
        converted = assert_int8(model.output(y).bytes(), lsb=2 if other else 1, seed=seed)
    elif not other and not plan_ops(model.output(y).bytes()):
        return
    else:
        model.outputs.clear()
        converted = assert_int8(model.output(y).bytes(), lsb=int(other), seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


def plan_ops(source: bytes) -> list[str]:
    """Operators of the plan; none where the slice takes everything."""
    try:
        return [op.op for op in plan_model(source, "tflite").ops]
    except UnsupportedError as error:
        assert "is the input itself" in str(error)  # noqa: PT017
        return []


@given(slices(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_slice_in_float(
    case: tuple[tuple[int, ...], list[tuple[int, int, int, int]]], seed: int
) -> None:
    shape, cuts = case
    model = OnnxModel()
    y = sliced(model, model.input("input", shape), "cut", cuts, None)
    y = model.op("Relu", [y], "out")
    assert_float(model.output(y).bytes(), relative=0.0, seed=seed)


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4), st.sampled_from([1, 2, -1]), st.sampled_from([13, 18]),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_split(sizes: list[int], axis: int, opset: int, picture: bool, seed: int) -> None:
    model = OnnxModel(opset)
    rank = 4 if picture else 3
    shape = [2] * rank if not picture else [1, 3, 4, 5]
    shape[axis] = sum(sizes)
    x = model.input("input", tuple(shape), GRID)
    names = [f"part{i}" for i in range(len(sizes))]
    split(model, x, names, ints(model, "sizes", sizes), axis)
    converted = assert_int8(model.bytes(), lsb=1, seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.plan.statistics()["by_type"]["SLICE"] == len(sizes)


def split(
    model: OnnxModel, x: str, names: list[str], sizes: str | None, axis: int, **attributes: object
) -> None:
    """A Split whose parts are rounded, added to themselves and given out."""
    from onnx import helper

    inputs = [x] if sizes is None else [x, sizes]
    model.nodes.append(
        helper.make_node(
            "Split", inputs, [f"{n}/float" for n in names], name="split", axis=axis, **attributes
        )
    )
    for name in names:
        model._pair(f"{name}/float", f"{name}/int", name, name, GRID)
        model.output(model.op("Add", [name, name], f"{name}/out", (0.111, 0)))


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_split_of_every_definition(opset: int) -> None:
    model = OnnxModel(opset)
    x = model.input("input", (1, 7, 4, 5), GRID)
    sizes, attributes = None, {}
    if opset == 11:
        attributes = {"split": [3, 4]}
    elif opset == 13:
        sizes = ints(model, "sizes", [3, 4])
    else:
        # the last part is the smaller one
        attributes = {"num_outputs": 2}
    split(model, x, ["a", "b"], sizes, 1, **attributes)
    assert_int8(model.bytes(), lsb=1)


GATHERS: list[tuple[tuple[int, ...], int, object]] = [
    ((3, 2, 5, 4), 0, 1), ((3, 2, 5, 4), 0, -1), ((1, 6, 4, 5), 1, [0]), ((1, 6, 4, 5), 1, [1, 2, 3]),
    ((1, 6, 4, 5), 1, [0, 2, 4]), ((1, 6, 4, 5), 1, [-3, -1]), ((1, 6, 4, 5), 3, [0, 2, 4]), ((1, 6, 4, 5), 2, 3),
    ((1, 5, 6), -2, 0), ((1, 5, 6), 1, [[1, 2]]), ((1, 5, 6), 1, [[3]]),
]  # fmt: skip


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(("shape", "axis", "index"), GATHERS)
def test_gather(shape: tuple[int, ...], axis: int, index: object, opset: int) -> None:
    model = OnnxModel(opset)
    x = model.input("input", shape, GRID)
    y = model.op("Gather", [x, ints(model, "index", index)], "picked", GRID, axis=axis)
    y = model.op("Add", [y, y], "out", (0.111, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_channels_of_a_picture_are_one_slice() -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 8, 6, 5), GRID)
    y = sliced(model, x, "half", [(1, 4, 8, 1)], GRID)
    w = model.weight(
        "w", rng.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8), np.full(4, 0.01, np.float32), 0
    )
    converted = assert_int8(model.output(model.op("Conv", [y, w], "out", (0.4, 0))).bytes(), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["SLICE", "CONV_2D"]


def test_focus_is_four_slices_of_the_picture() -> None:
    """YOLO's stem: every second pixel, four times, side by side."""
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 6), GRID)
    parts = []
    for i, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        part = sliced(model, x, f"rows{i}", [(2, row, 8, 2)], GRID)
        parts.append(sliced(model, part, f"part{i}", [(3, column, 6, 2)], GRID))
    y = model.op("Concat", parts, "out", GRID, axis=1)
    converted = assert_int8(model.output(y).bytes(), lsb=0)
    counts = converted.plan.statistics()["by_type"]
    assert counts["SLICE"] == 4
    assert "TRANSPOSE" not in counts
    assert delegation(converted.files[".tflite"]).outside == ()


def test_shuffle_unit() -> None:
    """ShuffleNet: split, a convolution on one half, concatenation, shuffle by a transpose."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 8, 6, 5), GRID)
    left = sliced(model, x, "left", [(1, 0, 4, 1)], GRID)
    right = sliced(model, x, "right", [(1, 4, 8, 1)], GRID)
    w = model.weight(
        "w", rng.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8), np.full(4, 0.01, np.float32), 0
    )
    right = model.op("Conv", [right, w], "conv", (0.1, 0))
    y = model.op("Concat", [left, right], "both", (0.1, 0), axis=1)
    y = model.op("Reshape", [y, ints(model, "s1", [1, 2, 4, 6, 5])], "r1", (0.1, 0))
    y = model.op("Transpose", [y], "t1", (0.1, 0), perm=[0, 2, 1, 3, 4])
    y = model.op("Reshape", [y, ints(model, "s2", [1, 8, 6, 5])], "out", (0.1, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=2)
    counts = converted.plan.statistics()["by_type"]
    assert counts["TRANSPOSE"] == 1
    assert counts["SLICE"] == 2
    assert delegation(converted.files[".tflite"]).outside == ()


def test_part_of_a_part_of_a_moved_tensor() -> None:
    """Slices of what was reshaped and permuted: only as much is laid out as one SLICE cannot read."""
    model = OnnxModel()
    x = model.input("input", (1, 5, 24), GRID)
    y = model.op("Reshape", [x, ints(model, "s1", [5, 3, 2, 4])], "r1", GRID)
    y = model.op("Transpose", [y], "t1", GRID, perm=[1, 2, 0, 3])
    y = model.op("Gather", [y, ints(model, "i1", 1)], "q", GRID, axis=0)
    y = sliced(model, y, "part", [(1, 1, 4, 1), (2, 0, 4, 2)], GRID)
    y = model.op("Reshape", [y, ints(model, "s2", [2, 6])], "r2", GRID)
    y = sliced(model, y, "odd", [(1, 1, 6, 2)], GRID)
    y = model.op("Add", [y, y], "out", (0.111, 0))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert delegation(converted.files[".tflite"]).outside == ()


def test_two_outputs_of_the_same_elements() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 6), GRID)
    y = model.op("Add", [x, x], "first", (0.111, 0))
    z = model.op("Reshape", [y, ints(model, "shape", [1, 6])], "second", (0.111, 0))
    converted = assert_int8(model.output(y).output(z).bytes(), lsb=1)
    assert [spec.name for spec in converted.outputs] == ["first", "second"]


@pytest.mark.parametrize("opset", [11, 13])
def test_slice_without_axes_and_steps(opset: int) -> None:
    model = OnnxModel(opset)
    x = model.input("input", (3, 4, 5), GRID)
    inputs = [ints(model, "starts", [1, 0]), ints(model, "ends", [3, -1])]
    assert_int8(model.output(model.op("Slice", [x, *inputs], "out", GRID)).bytes(), lsb=0)


def test_refusals_name_the_value() -> None:
    def message(build: object) -> str:
        model = OnnxModel()
        x = model.input("input", (1, 6, 4, 5))
        y = build(model, x)  # type: ignore[operator]
        with pytest.raises(UnsupportedError) as caught:
            plan_model(model.output(y).bytes(), "tflite")
        return str(caught.value)

    backward = message(lambda m, x: sliced(m, x, "out", [(1, -1, -7, -1)], None))
    assert "steps must be at least 1, got [-1]" in backward
    shuffled = message(lambda m, x: m.op("Gather", [x, ints(m, "i", [0, 2, 1])], "out", axis=1))
    assert "the index must rise by equal steps, got [0, 2, 1]" in shuffled
    repeated = message(lambda m, x: m.op("Gather", [x, ints(m, "i", [1, 1])], "out", axis=1))
    assert "the index must rise by equal steps, got [1, 1]" in repeated
    many = message(lambda m, x: m.op("Gather", [x, ints(m, "i", [0] * 9)], "out", axis=1))
    assert "got [0, 0, 0, 0, 0, 0, …] (9 numbers)" in many
    beyond = message(lambda m, x: m.op("Gather", [x, ints(m, "i", [7])], "out", axis=1))
    assert "the index must lie in a dimension of 6, got [7]" in beyond
