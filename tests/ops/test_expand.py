"""Expand, and moves of constants before they are used: carried out at conversion, verified in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differential import assert_float, assert_int8
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import Converted, plan_model

GRID = (0.0517, 3)


def ints(model: OnnxModel, name: str, *values: int) -> str:
    return model.constant(name, np.array(values, np.int64))


def verified(converted: Converted, source: bytes, folder: Path) -> dict[str, int]:
    """Operators by type, of a file whose parameters are the source's."""
    path = folder / "model.tflite"
    path.write_bytes(converted.files[".tflite"])
    assert compare_parameters(path, source) == []
    counts: dict[str, int] = converted.plan.statistics()["by_type"]
    return counts


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 1, 1), (1, 1, 3, 1, 1)])
def test_expand_that_repeats_nothing(shape: tuple[int, ...], opset: int, tmp_path: Path) -> None:
    model = OnnxModel(opset)
    x = model.input("input", (1, 3, 4, 5), GRID)
    y = model.op("Expand", [x, ints(model, "shape", *shape)], "same", GRID)
    axes = tuple(range(4)) if len(shape) < 5 else tuple(range(5))
    if len(shape) == 5:
        # a dimension is added in front, [1, 1, 3, 4, 5]
        y = model.op("Expand", [y, ints(model, "more", 1, 1, 1, 1, 1)], "same5", GRID)
    y = model.op("Transpose", [y], "out", GRID, perm=list(reversed(axes)))
    source = model.output(y).bytes()
    counts = verified(assert_int8(source, lsb=0), source, tmp_path)
    assert set(counts) <= {"TRANSPOSE", "RESHAPE"}


def test_a_computed_tensor_is_not_repeated() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 1, 1))
    y = model.op("Expand", [x, ints(model, "shape", 1, 3, 4, 4)], "out")
    said = r"must not be repeated, got \[1, 3, 1, 1\] to \[1, 3, 4, 4\]; nearest: .*broadcast by themselves"
    with pytest.raises(UnsupportedError, match=said):
        plan_model(model.output(y).bytes(), "tflite")


@pytest.mark.parametrize("quantized", [True, False])
def test_class_token_of_a_batch(quantized: bool, tmp_path: Path) -> None:
    """A constant repeated over the batch and put in front of the tokens."""
    model = OnnxModel()
    x = model.input("input", (2, 5, 6), GRID if quantized else None)
    rng = np.random.default_rng(0)
    if quantized:
        integers = rng.integers(-128, 128, (1, 1, 6)).astype(np.int8)
        token = model.weight("token", integers, np.float32(0.03), None, zero=-4)
    else:
        token = model.constant("token", rng.normal(0, 1, (1, 1, 6)).astype(np.float32))
    token = model.op("Expand", [token, ints(model, "shape", 2, 1, 6)], "tokens")
    y = model.op("Concat", [token, x], "out", GRID if quantized else None, axis=1)
    source = model.output(y).bytes()
    converted = assert_int8(source, lsb=0) if quantized else assert_float(source, relative=0.0)
    assert verified(converted, source, tmp_path) == {"CONCATENATION": 1}


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_weight_that_is_transposed_behind_its_dequantize_linear(
    per_channel: bool, transposed: bool, tmp_path: Path
) -> None:
    """As fake-quantized torch modules are exported: the weight is rounded as [out, in], then turned."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (2, 6), GRID)
    integers = rng.integers(-127, 128, (4, 6)).astype(np.int8)
    scales = rng.uniform(0.002, 0.02, 4) if per_channel else np.float32(0.01)
    w = model.weight("w", integers, scales, 0 if per_channel else None)
    w = model.op("Transpose", [w], "w/turned", perm=[1, 0])
    if transposed:
        w = model.op("Transpose", [w], "w/back", perm=[1, 0])
    y = model.op("Gemm", [x, w], "out", (0.05, 0), transB=int(transposed))
    source = model.output(y).bytes()
    counts = verified(assert_int8(source, lsb=1), source, tmp_path)
    assert counts == {"FULLY_CONNECTED": 1}


def test_operand_that_is_reshaped_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5), GRID)
    c = model.weight(
        "c", rng.integers(-128, 128, 3).astype(np.int8), np.float32(0.02), None, zero=5
    )
    c = model.op("Reshape", [c, ints(model, "shape", 1, 3, 1, 1)], "c/wide")
    c = model.op("Unsqueeze", [c, ints(model, "axes", 0)], "c/wider")
    c = model.op("Squeeze", [c, ints(model, "axis", 0)], "c/back")
    source = model.output(model.op("Mul", [x, c], "out", (0.09, 0))).bytes()
    counts = verified(assert_int8(source, lsb=1), source, tmp_path)
    assert counts == {"MUL": 1}


def test_scales_per_channel_do_not_follow_a_reshape() -> None:
    model = OnnxModel()
    x = model.input("input", (2, 6), GRID)
    w = model.weight("w", np.ones((2, 3, 4), np.int8), np.array([0.1, 0.2]), 0)
    w = model.op("Reshape", [w, ints(model, "shape", 6, 4)], "w/flat")
    y = model.op("MatMul", [x, w], "out", (0.05, 0))
    with pytest.raises(UnsupportedError, match="the input must be computed, got the constant 'w'"):
        plan_model(model.output(y).bytes(), "tflite")
