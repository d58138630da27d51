"""Which products of a source are quantized, and what a loaded file multiplies."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import OnnxModel, conv_weights, small_resnet
from verified_nets import separable

from edgecv.errors import ModelLoadError
from edgecv.verify.litert import KERNELS, Interpreter
from edgecv.verify.products import crooked_products, quantized_products
from edgecv_converters import convert_model


def model_of(kind: str) -> bytes:
    """A convolution behind a quantized input, spelled in one of many ways."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("x", (1, 3, 8, 8), (0.02, 0))
    weight, bias, scale = conv_weights(rng, model, "w", (4, 3, 1, 1), 0.02)
    grid = (scale, 0)
    if kind == "float weight":
        weight = model.constant("plain", rng.normal(0, 1, (4, 3, 1, 1)).astype(np.float32))
    if kind == "float input":
        x = model.op("Identity", [x], "same")
    if kind in ("computed bias", "float bias"):
        last = (
            bias if kind == "computed bias" else model.constant("b", np.ones((4, 1, 1), np.float32))
        )
        y = model.op("Conv", [x, weight], "c")
        if kind == "computed bias":
            last = model.op("Unsqueeze", [last, model.constant("axes", np.array([1, 2]))], "wide")
        y = model.op("Relu", [model.op("Add", [y, last], "sum")], "y", grid)
    elif kind == "residual":
        arm = model.op("Conv", [x, weight, bias], "c", grid)
        y = model.op("Add", [model.op("Conv", [x, weight, bias], "d"), arm], "y", grid)
    elif kind == "two readers":
        y = model.op("Conv", [x, weight, bias], "c")
        y = model.op("Sub", [model.op("Relu", [y], "r", grid), y], "y", grid)
    elif kind == "float output":
        y = model.op("Conv", [x, weight, bias], "y")
    else:
        y = model.op("Conv", [x, weight, bias], "y", grid)
    return model.output(y).bytes(check=False)


@pytest.mark.parametrize(
    ("kind", "quantized"),
    [
        ("plain", {"node:y": True}),
        ("float weight", {"node:y": False}),
        ("float input", {"node:y": False}),
        ("float bias", {"node:c": True}),
        ("computed bias", {"node:c": False}),
        ("residual", {"node:c": True, "node:d": False}),
        ("two readers", {"node:c": False}),
        ("float output", {"node:y": False}),
    ],
)
def test_what_counts_as_quantized(kind: str, quantized: dict[str, bool]) -> None:
    assert quantized_products(model_of(kind)) == quantized


def test_products_of_whole_networks() -> None:
    assert [*quantized_products(small_resnet().bytes()).values()] == [True] * 4
    assert [*quantized_products(small_resnet(quantized=False).bytes()).values()] == [False] * 4
    # MatMul and its bias, an average that is none
    assert [*quantized_products(separable().bytes()).values()] == [True] * 4


@pytest.mark.parametrize("activation", ["uint8", "int8"])
def test_products_with_a_zero_point_on_the_right(activation: str) -> None:
    """In int8 terms, behind moves, and never for a constant."""
    model = OnnxModel(activation=activation)
    x, y = model.input("x", (2, 4, 4), (0.1, 3)), model.input("y", (2, 4, 4), (0.1, 0))
    moved = model.op("Transpose", [x], "moved", perm=[0, 2, 1])
    weight = model.weight("w", np.ones((4, 4), np.int8), np.float32(0.1), None, zero=5)
    for name, left, right in (("a", y, x), ("b", x, y), ("c", y, moved), ("d", x, weight)):
        model.output(model.op("MatMul", [left, right], name, (0.4, 0)))
    assert crooked_products(model.bytes()) == {"node:a", "node:c"}


def test_multiply_accumulates_are_counted_in_the_file() -> None:
    counted = Interpreter(
        convert_model(small_resnet().bytes(), "tflite").files[".tflite"]
    ).delegation()
    assert (counted.operators, counted.partitions, counted.outside) == (9, 1, ())
    assert [(p.operator, p.macs, p.integer) for p in counted.products] == [
        ("CONV_2D", 10 * 8 * 8 * 27, True),
        ("CONV_2D", 5 * 4 * 8 * 72, True),
        ("CONV_2D", 5 * 4 * 8 * 72, True),
        ("FULLY_CONNECTED", 8 * 5, True),
    ]
    plain = small_resnet(quantized=False).bytes()
    counted = Interpreter(convert_model(plain, "tflite").files[".tflite"]).delegation()
    assert [p.integer for p in counted.products] == [False] * 4


def test_depthwise_and_matrix_products() -> None:
    counted = Interpreter(
        convert_model(separable().bytes(), "tflite").files[".tflite"]
    ).delegation()
    macs = {p.tensor: (p.operator, p.macs) for p in counted.products}
    assert macs["dw.act"] == ("DEPTHWISE_CONV_2D", 16 * 12 * 6 * 9)
    assert macs["pool"] == ("DEPTHWISE_CONV_2D", 8 * 6 * 6 * 4)
    assert macs["grouped"] == ("CONV_2D", 8 * 6 * 4 * 3)
    model = OnnxModel()
    a, b = model.input("a", (2, 3, 5), (0.1, 0)), model.input("b", (2, 5, 7), (0.1, 0))
    source = model.output(model.op("MatMul", [a, b], "y", (0.5, 0))).bytes()
    counted = Interpreter(convert_model(source, "tflite").files[".tflite"]).delegation()
    (product,) = counted.products
    assert (product.operator, product.macs, product.integer) == (
        "BATCH_MATMUL",
        2 * 3 * 5 * 7,
        True,
    )


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_file_that_litert_refuses(kernels: str) -> None:
    data = bytearray(convert_model(small_resnet().bytes(), "tflite").files[".tflite"])
    with pytest.raises(ModelLoadError, match="LiteRT cannot load it"):
        Interpreter(bytes(data[: len(data) // 2]), kernels)
    interpreter = Interpreter(bytes(data), kernels)
    with pytest.raises(ModelLoadError, match="LiteRT failed"):
        interpreter.run([np.zeros((1, 2, 2, 3), np.int8)])
