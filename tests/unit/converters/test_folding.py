"""Operators that compute shapes and scales are computed at conversion; nothing else of a file changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from differential import run_onnx
from engines import convert_and_run
from onnx import TensorProto, numpy_helper
from onnx_models import OnnxModel, conv_weights

from edgecv.errors import MissingExtraError, UnsupportedError
from edgecv_converters import (
    TARGETS,
    ReadOptions,
    convert_model,
    folding,
    plan_model,
    prepare_source,
)

PIXEL = (float(np.float32(1 / 255)), -128)
GRID = (0.05, 3)


def integers(model: OnnxModel, name: str, *values: int) -> str:
    return model.constant(name, np.array(values, np.int64))


def reshape_by_shape(
    *, quantized: bool = True, batch: int | str = "N", size: int | str = 8
) -> OnnxModel:
    """A convolution, then Reshape to (batch, channels, -1) as torch writes view(x.size(0), x.size(1), -1)."""
    model = OnnxModel()
    rng = np.random.default_rng(0)
    x = model.input("input", (batch, 3, size, size), PIXEL if quantized else None)
    if quantized:
        weight, bias, _ = conv_weights(rng, model, "conv", (4, 3, 3, 3), PIXEL[0])
    else:
        weight = model.constant("conv.weight", rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32))
        bias = model.constant("conv.bias", rng.normal(0, 0.3, 4).astype(np.float32))
    x = model.op("Conv", [x, weight, bias], "conv", GRID if quantized else None, pads=[1] * 4)
    shape = model.op("Shape", [x], "shape")
    dims = []
    for axis in range(2):
        index = model.constant(f"index{axis}", np.array(axis, np.int64))
        dim = model.op("Gather", [shape, index], f"dim{axis}", axis=0)
        dims.append(model.op("Unsqueeze", [dim, integers(model, f"at{axis}", 0)], f"dim{axis}/1"))
    sizes = model.op("Concat", [*dims, integers(model, "rest", -1)], "sizes", axis=0)
    y = model.op("Reshape", [x, sizes], "flat", GRID if quantized else None)
    return model.output(y, (batch, 4, "rest"))


@pytest.mark.parametrize("quantized", [True, False])
def test_shapes(quantized: bool, tmp_path: Path) -> None:
    source = reshape_by_shape(quantized=quantized, size="S").bytes(check=False)
    x = (np.random.default_rng(1).integers(0, 256, (2, 3, 8, 8)) / 255).astype(np.float32)
    wanted = run_onnx(source, {"input": x})[0]
    options = ReadOptions(shapes={"input": x.shape})
    for target, (result, y) in convert_and_run(source, tmp_path, x, read=options).items():
        assert y.shape == (2, 4, 64), target
        limit = GRID[0] * 1.01 if quantized else 1e-5
        assert np.abs(y - wanted).max() <= limit
        assert not {"Shape", "Gather", "Unsqueeze", "Concat"} & set(
            result.plan.statistics()["by_type"]
        )


def test_only_those_operators_go() -> None:
    """Every rounding and every constant beside the chain is in the file as it was, byte for byte."""
    source = reshape_by_shape(batch=1).bytes(check=False)
    before = onnx.ModelProto.FromString(source).graph
    after = onnx.ModelProto.FromString(prepare_source(source)).graph
    stays = ("QuantizeLinear", "DequantizeLinear", "Conv", "Reshape")
    kept = [n for n in before.node if n.op_type in stays]
    assert list(after.node) == kept
    assert sum(n.op_type == "DequantizeLinear" for n in kept) == 5
    old = {t.name: t for t in before.initializer}
    new = {t.name: t for t in after.initializer}
    assert numpy_helper.to_array(new.pop("sizes")).tolist() == [1, 4, -1]
    assert set(old) - set(new) == {"index0", "index1", "at0", "at1", "rest"}
    assert all(new[name] == old[name] for name in new)
    onnx.checker.check_model(onnx.ModelProto.FromString(prepare_source(source)), full_check=True)


def test_weights_behind_a_chain_keep_their_roundings() -> None:
    """DequantizeLinear and QuantizeLinear are never computed, not even between constants."""
    model = OnnxModel()
    x = model.input("input", (1, 4), GRID)
    raw = model.constant("w", np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))
    turned = model.op("Transpose", [raw], "w/turned", perm=[1, 0])
    w = model._pair(turned, "w/int", "w/dq", "w", (0.01, 0))
    source = model.output(model.op("MatMul", [x, w], "out", GRID)).bytes()
    prepared = prepare_source(source)
    ops = [n.op_type for n in onnx.ModelProto.FromString(prepared).graph.node]
    assert ops.count("QuantizeLinear") == 3
    assert ops.count("DequantizeLinear") == 3
    assert "Transpose" not in ops
    x_value = np.linspace(-2, 2, 4, dtype=np.float32).reshape(1, 4)
    np.testing.assert_array_equal(*[run_onnx(s, {"input": x_value})[0] for s in (source, prepared)])


def scale_of_attention() -> bytes:
    """torch's scaled_dot_product_attention: the root of the head's size, from its shape."""
    model = OnnxModel()
    x = model.input("input", (1, 2, 5, 16))
    shape = model.op("Shape", [x], "shape")
    last = [integers(model, "from", -1), integers(model, "to", 2**63 - 1)]
    size = model.op("Slice", [shape, *last], "size")
    size = model.op("Cast", [size], "size/float", to=TensorProto.FLOAT)
    one = model.constant("one", np.array([1], np.float32))
    scale = model.op("Div", [one, model.op("Sqrt", [size], "root")], "scale")
    half = model.op("Sqrt", [scale], "half")
    return model.output(model.op("Mul", [x, half], "out")).bytes()


def test_a_computed_scale(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (1, 2, 5, 16)).astype(np.float32)
    for target, (result, y) in convert_and_run(scale_of_attention(), tmp_path, x).items():
        if target == "tflite":
            y = y.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(y, x / 2, rtol=1e-6)
        assert sum(result.plan.statistics()["by_type"].values()) == 1, target


def test_masks_and_ranges() -> None:
    """ConstantOfShape, Range, Where, Equal, Expand: a mask is one constant."""
    model = OnnxModel()
    x = model.input("input", (1, 4, 6))
    count = model.op(
        "Gather", [model.op("Shape", [x], "shape"), model.constant("two", np.array(2))], "count"
    )
    zero, one = model.constant("zero", np.array(0)), model.constant("step", np.array(1))
    numbers = model.op("Range", [zero, count, one], "numbers")
    nothing = numpy_helper.from_array(np.array([0]))
    zeros = model.op("ConstantOfShape", [integers(model, "len", 6)], "zeros", value=nothing)
    odd = model.op("Mod", [numbers, model.constant("m", np.array(2))], "odd")
    even = model.op("Equal", [odd, zeros], "even")
    low, high = (
        model.constant(n, np.array(v, np.float32)) for n, v in (("low", -1.0), ("high", 1.0))
    )
    mask = model.op("Where", [even, high, low], "mask")
    mask = model.op("Expand", [mask, integers(model, "wide", 4, 6)], "mask/wide")
    source = model.output(model.op("Mul", [x, mask], "out"), (1, 4, 6)).bytes()  # fmt: skip
    converted = convert_model(source, "tflite")
    assert converted.plan.statistics()["by_type"] == {"MUL": 1}
    (constant,) = [t for t in converted.plan.tensors if t.role == "weight"]
    assert constant.data is not None
    np.testing.assert_array_equal(
        constant.data.reshape(-1, 6), np.tile([1, -1], (constant.data.size // 6, 3))
    )


def test_operators_in_any_order() -> None:
    source = onnx.ModelProto.FromString(reshape_by_shape(batch=1).bytes(check=False))
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in source.graph.node]
    del source.graph.node[:]
    source.graph.node.extend(reversed(nodes))
    assert plan_model(source.SerializeToString(), "tflite").statistics()["by_type"]["CONV_2D"] == 1


@pytest.mark.parametrize("target", TARGETS)
def test_a_constant_output_is_refused(target: str) -> None:
    model = reshape_by_shape(batch=1)
    model.outputs.append(onnx.helper.make_tensor_value_info("sizes", TensorProto.INT64, (3,)))
    source = model.bytes(check=False)
    with pytest.raises(UnsupportedError, match="the output 'sizes' is a constant"):
        plan_model(source, target)


@pytest.mark.parametrize("target", TARGETS)
def test_large_results_are_not_made(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may ask for gigabytes; then the operator stays, and is refused or left to the engine."""
    monkeypatch.setattr(folding, "_computed", lambda *_: pytest.fail("computed"))
    model = OnnxModel()
    x = model.input("input", (1, 1))
    zeros = model.op("ConstantOfShape", [integers(model, "len", 1, 2**30)], "zeros")
    source = model.output(model.op("Add", [x, zeros], "out"), (1, 2**30)).bytes()
    if target == "tflite":
        with pytest.raises(UnsupportedError, match="ConstantOfShape 'node:zeros'"):
            plan_model(source, target)
    else:
        assert plan_model(source, target).statistics()["by_type"] == {"Add": 1, "ConstantOfShape": 1}  # fmt: skip


def test_many_results_have_one_budget() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 2**20))
    shape = integers(model, "len", 1, 2**20)
    for number in range(12):
        x = model.op(
            "Add", [x, model.op("ConstantOfShape", [shape], f"zeros{number}")], f"sum{number}"
        )
    source = model.output(x).bytes()  # fmt: skip
    left = onnx.ModelProto.FromString(prepare_source(source)).graph.node
    assert sum(n.op_type == "ConstantOfShape" for n in left) == 4


def test_a_result_that_depends_on_the_data_stays() -> None:
    model = OnnxModel()
    x = model.input("input", (1, 4))
    where = model.op("NonZero", [x], "where")
    sizes = model.op("Shape", [where], "sizes")
    source = model.output(model.op("Reshape", [x, sizes], "out"), ("a", "b")).bytes(check=False)
    assert prepare_source(source) is source
    with pytest.raises(UnsupportedError, match=r"NonZero 'node:where'.*\n.*Shape 'node:sizes'"):
        plan_model(source, "tflite")


def loaded_after(source: Path) -> set[str]:
    code = (
        "import sys, pathlib, edgecv_converters as c\n"
        f"c.plan_model(pathlib.Path({str(source)!r}).read_bytes(), 'tflite')\n"
        "print(*(n for n in ('onnx', 'onnx_ir', 'onnxscript', 'torch') if n in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_folder_is_loaded_only_when_needed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = OnnxModel()
    x = model.input("input", (1, 3), GRID)
    path.write_bytes(model.output(model.op("Relu", [x], "out", GRID)).bytes())
    assert loaded_after(path) == {"onnx"}
    path.write_bytes(scale_of_attention())
    assert loaded_after(path) == {"onnx", "onnx_ir", "onnxscript"}


def test_without_the_folder_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.errors.find_spec", lambda name: None if name == "onnxscript" else 1)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgecv\[fold\]'"):
        plan_model(scale_of_attention(), "tflite")
