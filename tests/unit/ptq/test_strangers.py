"""Post-training quantization of float ONNX files that strangers wrote: taken, or refused in one error."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_reading import constants, run
from strangers import CONV, HEAD, RELU, VARIANTS, original, stranger
from torch_nets import pictures

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv.spec import activation_params
from edgecv_converters.ptq import annotate, quantize_onnx, read_float_graph


@pytest.mark.parametrize("name", VARIANTS)
def test_a_strangers_file_is_quantized(name: str) -> None:
    model = stranger(VARIANTS[name]())
    x = pictures(6, (8, 8)).numpy()
    quantized = quantize_onnx(model, [x])
    expected = original(model, x)
    found = run(quantized, x)
    step = float(constants(quantized)["logits/scale"])
    assert np.abs(found - expected).max() <= max(4 * step, 0.03 * np.abs(expected).max())
    graph = onnx.load_model_from_string(quantized).graph
    assert [graph.input[0].name, graph.output[0].name] == ["input", "logits"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_strangers_names_are_kept_inside() -> None:
    nodes = annotate(stranger(VARIANTS["plain"]()))
    assert [n.output for n in nodes] == ["input", "/conv/out", "act", "gap", "flat", "logits"]
    assert nodes[1].weight == "w0"


def test_the_names_of_the_ends_are_free_for_nobody_else() -> None:
    clash = [
        helper.make_node("Conv", ["pixel_values", "w0", "b0"], ["input"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["input"], ["logits"]),
        helper.make_node("GlobalAveragePool", ["logits"], ["gap"]),
        *HEAD[1:],
    ]
    found = [n.output for n in annotate(stranger(clash))]
    assert found == ["input", "input_1", "logits_1", "gap", "flat", "logits"]


def test_a_range_follows_the_strangers_values() -> None:
    model = stranger(VARIANTS["plain"]())
    x = pictures(4, (8, 8)).numpy()
    logits = original(model, x)
    params = activation_params(float(logits.min()), float(logits.max()))
    found = constants(quantize_onnx(model, [x]))
    assert float(found["logits/scale"]) == pytest.approx(params.scale, rel=1e-5)


REFUSED: dict[str, tuple[list[onnx.NodeProto], str]] = {
    "all of them": (
        [
            CONV,
            helper.make_node("Erf", ["/conv/out"], ["s"], name="curve"),
            helper.make_node("Div", ["s", "/conv/out"], ["act"]),
            *HEAD,
        ],
        r"2 operators are not supported: curve: Erf .*; act: Div",
    ),
    "lone batch norm": (
        [
            helper.make_node("GlobalAveragePool", ["pixel_values"], ["g"]),
            helper.make_node("Conv", ["g", "w0"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node(
                "BatchNormalization", ["r", "gamma", "beta", "mean", "var"], ["act"], name="bn"
            ),
            *HEAD,
        ],
        r"bn: BatchNormalization \(not behind a convolution\)",
    ),
    "batch norm on a shared convolution": (
        [
            CONV,
            helper.make_node(
                "BatchNormalization", ["/conv/out", "gamma", "beta", "mean", "var"], ["b"]
            ),
            helper.make_node("Add", ["b", "/conv/out"], ["act"]),
            *HEAD,
        ],
        "its convolution has other readers",
    ),
    "auto_pad": (
        [
            helper.make_node("Conv", ["pixel_values", "w0"], ["act"], auto_pad="SAME_UPPER"),
            *HEAD,
        ],
        "auto_pad=SAME_UPPER",
    ),
    "constant addend": (
        [
            CONV,
            helper.make_node("Add", ["/conv/out", "six"], ["act"]),
            *HEAD,
        ],
        "'six' is a constant",
    ),
    "gemm": (
        [CONV, RELU, *HEAD[:2], helper.make_node("Gemm", ["flat", "w1"], ["scores"], alpha=2.0)],
        "alpha, beta or transA",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_said_in_one_error(name: str) -> None:
    nodes, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        annotate(stranger(nodes))


def test_limits_other_than_zero_and_six_are_refused() -> None:
    nodes = [CONV, helper.make_node("Clip", ["/conv/out", "zero", "b1max"], ["act"]), *HEAD]
    model = stranger(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(3).reshape(()), "b1max"))
    with pytest.raises(UnsupportedError, match=r"limits \[0\.0, 3\.0\]"):
        annotate(model)


def test_a_weight_used_twice_is_refused() -> None:
    nodes = [
        helper.make_node("Conv", ["pixel_values", "k"], ["a"]),
        helper.make_node("Conv", ["a", "k"], ["b"]),
        helper.make_node("Conv", ["b", "w0"], ["act"], pads=[1, 1, 1, 1]),
        *HEAD,
    ]
    model = stranger(nodes)
    kernel = np.ones((3, 3, 1, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "k"))
    with pytest.raises(UnsupportedError, match="'k' is used twice"):
        annotate(model)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("n", 3, "h", "w"), "dimension 2 of the input 'pixel_values' is h"),
        (("n", 1, 8, 8), r"\[1, 1, 8, 8\]"),
    ],
)
def test_an_input_that_is_no_static_color_picture_is_refused(
    dims: tuple[object, ...], message: str
) -> None:
    model = stranger(VARIANTS["plain"](), dims=dims)
    with pytest.raises((UnsupportedError, ModelLoadError), match=message):
        read_float_graph(model)


def test_an_old_operator_set_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="operator set 8"):
        annotate(stranger(VARIANTS["plain"](), opset=8))
