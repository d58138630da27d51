"""Layer normalization against ONNX Runtime, as one operator and as the nine that older exporters write."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel, conv_weights

from edgecv.errors import UnsupportedError
from edgecv.verify.teacher_forced import KERNELS, failures, teacher_forced
from edgecv_converters import convert_model, plan_model
from edgecv_converters.ir import Graph
from edgecv_converters.passes import PIPELINE, PassContext, run
from edgecv_converters.reader import read
from edgecv_converters.tflite.rules import default_registry

SHAPES = [(1, 8), (1, 5, 16), (1, 3, 4, 24), (9,), (1, 2, 3, 2, 8)]
ISLAND = ["MEAN", "SUB", "MUL", "MEAN", "ADD", "RSQRT", "MUL", "MUL", "ADD"]


def vectors(rng: np.random.Generator, columns: int) -> tuple[np.ndarray, np.ndarray]:
    gamma = rng.uniform(0.5, 1.5, columns) * rng.choice([-1, 1], columns)
    return gamma.astype(np.float32), rng.normal(0, 0.3, columns).astype(np.float32)


def constants(model: OnnxModel, kind: str, columns: int, seed: int = 0) -> list[str]:
    """Scale and bias: float, behind DequantizeLinear with or without a zero point, or no bias."""
    gamma, beta = vectors(np.random.default_rng(seed), columns)
    if kind in ("float", "no bias"):
        names = [model.constant("gamma", gamma), model.constant("beta", beta)]
        return names[:1] if kind == "no bias" else names
    zero = {"symmetric": 0, "zero point": 13}[kind]
    return [
        model.weight(name, np.clip(np.rint(v / 0.015) + zero, -128, 127).astype(np.int8), np.float32(0.015), None, zero)
        for name, v in (("gamma", gamma), ("beta", beta))
    ]  # fmt: skip


@given(
    st.sampled_from(SHAPES), st.sampled_from(["float", "symmetric", "zero point", "no bias"]),
    st.floats(0.01, 0.1), st.integers(-128, 127), st.integers(-128, 127), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_int8(
    shape: tuple[int, ...], kind: str, scale: float, zero: int, out_zero: int, seed: int
) -> None:
    model = OnnxModel()
    x = model.input("input", shape, (float(np.float32(scale)), zero))
    inputs = [x, *constants(model, kind, shape[-1], seed)]
    y = model.op("LayerNormalization", inputs, "out", (0.031, out_zero), axis=-1, epsilon=1e-6)
    converted = assert_int8(model.output(y).bytes(), lsb=1, seed=seed)
    ops = [op.op for op in converted.plan.ops if op.op not in ("TRANSPOSE", "RESHAPE")]
    assert ops == ["DEQUANTIZE", *ISLAND[: 8 if kind == "no bias" else 9], "QUANTIZE"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["float", "no bias", "zero point"])
def test_float(shape: tuple[int, ...], kind: str) -> None:
    model = OnnxModel()
    inputs = [model.input("input", shape), *constants(model, kind, shape[-1])]
    y = model.op("LayerNormalization", inputs, "out", axis=len(shape) - 1)
    converted = assert_float(model.output(y).bytes(), relative=2e-6)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("quantized", [False, True])
def test_channels_last_between_convolutions_is_not_transposed(quantized: bool) -> None:
    """ConvNeXt: NCHW, transposed to NHWC, normalized, transposed back; in memory all of it is NHWC."""
    rng = np.random.default_rng(0)
    model = OnnxModel()

    def quant(scale: float) -> tuple[float, int] | None:
        return (float(np.float32(scale)), 3) if quantized else None

    def weights(name: str, scale: float) -> list[str]:
        if quantized:
            return list(conv_weights(rng, model, name, (16, 16, 1, 1), scale)[:2])
        return [model.constant(name, rng.normal(0, 0.3, (16, 16, 1, 1)).astype(np.float32))]

    x = model.input("input", (1, 16, 3, 5), quant(0.05))
    x = model.op("Conv", [x, *weights("first", 0.05)], "conv", quant(0.3))
    x = model.op("Transpose", [x], "nhwc", quant(0.3), perm=[0, 2, 3, 1])
    x = model.op("LayerNormalization", [x, *constants(model, "float", 16)], "norm", quant(0.03))
    x = model.op("Transpose", [x], "nchw", quant(0.03), perm=[0, 3, 1, 2])
    x = model.op("Conv", [x, *weights("second", 0.03)], "out", quant(0.3))
    source = model.output(x).bytes()
    converted = convert_model(source, "tflite")
    assert not {op.op for op in converted.plan.ops} & {"TRANSPOSE", "RESHAPE"}
    if quantized:
        # rounding flips of the first convolution go through everything behind it
        samples = [{"input": rng.normal(0, 2, (1, 16, 3, 5)).astype(np.float32)}]
        for kernels in KERNELS:
            errors = teacher_forced(converted.plan, source, samples, kernels=kernels)
            assert {e.tensor for e in errors} >= {"conv", "norm", "out"}
            assert failures(errors, kernels=kernels) == []
    else:
        assert_float(source, relative=1e-5)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"axis": 1}, "axis must be the last of 3, got 1"),
    ({"axis": -2}, "axis must be the last of 3, got -2"),
]


@pytest.mark.parametrize(("attributes", "said"), REFUSALS)
def test_other_axes_are_refused(attributes: dict[str, Any], said: str) -> None:
    model = OnnxModel()
    gamma = model.constant("gamma", np.ones((5, 16), np.float32))
    y = model.op("LayerNormalization", [model.input("x", (1, 5, 16)), gamma], "out", **attributes)
    with pytest.raises(UnsupportedError, match=said):
        plan_model(model.output(y).bytes(), "tflite")


def test_a_computed_scale_is_refused() -> None:
    model = OnnxModel()
    x, gamma = model.input("x", (1, 5, 16)), model.input("gamma", (16,))
    y = model.op("LayerNormalization", [x, gamma], "out")
    with pytest.raises(
        UnsupportedError, match="the scale must be a constant, got the activation 'gamma'"
    ):
        plan_model(model.output(y).bytes(), "tflite")


def test_a_scale_of_one_element_is_refused() -> None:
    model = OnnxModel()
    gamma = model.constant("gamma", np.ones((1,), np.float32))
    y = model.op("LayerNormalization", [model.input("x", (1, 5, 16)), gamma], "out")
    with pytest.raises(UnsupportedError, match="the scale must have 16 elements, got 1"):
        plan_model(model.output(y).bytes(check=False), "tflite")


def test_a_read_mean_is_refused() -> None:
    model = OnnxModel()
    x, gamma = model.input("x", (1, 5, 16)), model.constant("gamma", np.ones(16, np.float32))
    model.op("LayerNormalization", [x, gamma], "out")
    model.nodes[-1].output.append("mean")
    model.output("out").output("mean")
    with pytest.raises(
        UnsupportedError, match="only the first output may be read, got a reader of 'mean'"
    ):
        plan_model(model.bytes(), "tflite")


def chain(
    model: OnnxModel, x: str, columns: int, *, square: str = "Pow", swap: bool = False, affine: str = "both",
    quant: tuple[float, int] | None = None, axis: int = -1, rounded: str = "", prefix: str = "",
    gamma_shape: tuple[int, ...] = (-1,),
) -> str:  # fmt: skip
    """ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add, as torch.onnx writes them at opset 11 to 16."""
    gamma, beta = vectors(np.random.default_rng(3), columns)
    p = prefix

    def op(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        last = "shifted" if affine == "both" else "scaled" if affine == "scale" else "normal"
        grid = quant if name == last else (0.05, 0) if name == rounded else None
        return model.op(kind, inputs, p + name, grid, **attributes)

    def reduce(source: str, name: str) -> str:
        if model.opset >= 18:
            axes = model.constant(f"{p}{name}/axes", np.array([axis], np.int64))
            return op("ReduceMean", [source, axes], name)
        return op("ReduceMean", [source], name, axes=[axis])

    mean = reduce(x, "mean")
    centered = op("Sub", [x, mean], "centered")
    two = model.constant(f"{p}two", np.float32(2))
    squared = op(square, [centered, centered if square == "Mul" else two], "square")
    variance = reduce(squared, "variance")
    eps = model.constant(f"{p}eps", np.float32(1e-5))
    steady = op("Add", [eps, variance] if swap else [variance, eps], "steady")
    y = op("Div", [centered, op("Sqrt", [steady], "root")], "normal")
    if affine in ("both", "scale"):
        g = model.constant(f"{p}gamma", gamma.reshape(gamma_shape))
        y = op("Mul", [g, y] if swap else [y, g], "scaled")
    if affine == "both":
        b = model.constant(f"{p}beta", beta)
        y = op("Add", [b, y] if swap else [y, b], "shifted")
    return y


@pytest.mark.parametrize("shape", [(1, 8), (1, 5, 16), (1, 3, 4, 24)])
@pytest.mark.parametrize(
    "form", [{}, {"square": "Mul"}, {"swap": True}, {"affine": "scale"}, {"affine": "none"}, {"axis": "last"},
             {"gamma_shape": (1, -1)}],
)  # fmt: skip
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_decomposed_float(shape: tuple[int, ...], form: dict[str, Any], opset: int) -> None:
    model = OnnxModel(opset)
    form = {**form, "axis": len(shape) - 1} if "axis" in form else form
    y = chain(model, model.input("input", shape), shape[-1], **form)
    converted = assert_float(model.output(y).bytes(), relative=5e-6)
    count = {"scale": 8, "none": 7}.get(str(form.get("affine")), 9)
    ops = [op.op for op in converted.plan.ops if op.op not in ("TRANSPOSE", "RESHAPE")]
    assert ops == ISLAND[:count]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert all(
        op.rule == "layer_norm.LayerNormalization" for op in converted.plan.ops if op.op in ISLAND
    )


def test_decomposed_between_quantizers() -> None:
    """The value before and the result are rounded, nothing in between."""
    model = OnnxModel()
    x = model.input("input", (1, 5, 16), (0.05, 3))
    y = chain(model, x, 16, quant=(0.03, -5))
    converted = assert_int8(model.output(y).bytes(), lsb=1)
    assert [op.op for op in converted.plan.ops] == ["DEQUANTIZE", *ISLAND, "QUANTIZE"]


def test_two_in_a_row_keep_their_constants_names() -> None:
    model = OnnxModel()
    x = chain(model, model.input("input", (1, 5, 16)), 16, prefix="a/")
    x = chain(model, x, 16, prefix="b/")
    converted = assert_float(model.output(x).bytes(), relative=5e-6)
    names = {t.name for t in converted.plan.tensors if t.data is not None and t.dtype == "float32"}
    assert names == {f"{p}/{n}" for p in "ab" for n in ("eps", "gamma", "beta")}
    sources = converted.plan.ops[0].sources
    assert sources[0] == "node:a/mean"
    assert len(sources) == 9


def passed(model: OnnxModel) -> Graph:
    """The graph that rules would see."""
    return run(PIPELINE[:-1], read(model.bytes()), PassContext(default_registry()))


@pytest.mark.parametrize(
    "form", [{"rounded": "centered"}, {"rounded": "normal"}, {"axis": 1}, {"rounded": "steady"}]
)
def test_chains_that_are_not_fused(form: dict[str, Any]) -> None:
    """Rounded inside, or over another dimension: what remains is lowered one by one (test_power.py)."""
    model = OnnxModel()
    y = chain(model, model.input("input", (1, 16, 16), (0.05, 3)), 16, quant=(0.03, -5), **form)
    graph = passed(model.output(y))
    fused = [n for n in graph.nodes if n.op == "LayerNormalization"]
    # rounded after the division, the chain before it is one still
    assert len(fused) == (1 if form.get("rounded") == "normal" else 0)


def test_a_value_inside_that_is_read_elsewhere_is_not_fused() -> None:
    model = OnnxModel()
    y = chain(model, model.input("input", (1, 5, 16)), 16)
    model.output(y).output("root")
    graph = passed(model)
    assert [n.op for n in graph.nodes].count("LayerNormalization") == 0


@pytest.mark.parametrize("opset", [14, 17])
def test_what_torch_exports(opset: int) -> None:
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(16, 12), torch.nn.LayerNorm(12), torch.nn.Sigmoid())
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.rand(1, 6, 16),), stream, dynamo=False, opset_version=opset,
            input_names=["input"], output_names=["out"],
        )  # fmt: skip
    converted = assert_float(stream.getvalue(), relative=1e-5)
    assert [op.op for op in converted.plan.ops] == ["FULLY_CONNECTED", *ISLAND, "LOGISTIC"]
