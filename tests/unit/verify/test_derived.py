"""Constants that a TFLite file holds in another form than its source: every number of them is verified.

Each network is converted with verification on (the positive control); then every constant of the file in
turn is off by the least that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel
from tampering import TFLiteCopy, copy_files

from edgecv.conversion import convert
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import convert_model

Grid = tuple[float, int]


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def normalization(model: OnnxModel, x: str, name: str, grid: Grid | None = None) -> str:
    """BatchNormalization of 4 channels, one of them dead."""
    vectors = {
        "scale": floats(1, 4),
        "bias": floats(2, 4),
        "mean": floats(3, 4),
        "var": 1 + floats(4, 4) ** 2,
    }
    vectors["scale"][2] = 0
    inputs = [x, *(model.constant(f"{name}.{kind}", data) for kind, data in vectors.items())]
    return model.op("BatchNormalization", inputs, name, grid, epsilon=1e-3)


def hard_sigmoid() -> OnnxModel:
    model = OnnxModel()
    x = model.op(
        "HardSigmoid", [model.input("x", (1, 9), (0.05, 3))], "first", (0.004, -128), alpha=0.3
    )
    return model.output(model.op("HardSigmoid", [x], "y", beta=0.25))


def layer_norm() -> OnnxModel:
    model = OnnxModel()
    gamma = model.weight("gamma", np.arange(-4, 4).astype(np.int8), np.float32(0.1), None, zero=7)
    inputs = [model.input("x", (1, 3, 8), (0.05, 3)), gamma, model.constant("beta", floats(1, 8))]
    return model.output(model.op("LayerNormalization", inputs, "y", (0.04, 0), epsilon=1e-3))


def decomposed_layer_norm() -> OnnxModel:
    """With an exponent of one dimension, which is a constant of the file nowhere."""
    model = OnnxModel(13)
    x = model.input("x", (1, 3, 8))
    center = model.op("Sub", [x, model.op("ReduceMean", [x], "mean", axes=[-1])], "center")
    square = model.op("Pow", [center, model.constant("two", np.float32([2]))], "square")
    variance = model.op("ReduceMean", [square], "variance", axes=[-1])
    steady = model.op("Add", [variance, model.constant("eps", np.float32(1e-4))], "steady")
    y = model.op("Div", [center, model.op("Sqrt", [steady], "root")], "normal")
    y = model.op("Mul", [y, model.constant("gamma", floats(1, 8))], "scaled")
    return model.output(model.op("Add", [y, model.constant("beta", floats(2, 8))], "y"))


def alone(
    shape: tuple[int, ...], grid: Grid | None, *, relu: bool = False
) -> Callable[[], OnnxModel]:
    def build() -> OnnxModel:
        model = OnnxModel()
        x = model.input("x", shape, grid)
        x = normalization(model, x, "bn", None if relu else grid)
        return model.output(model.op("Relu", [x], "y", (0.04, -128)) if relu else x)

    return build


def folded(
    op: str, bias: str, *, twice: bool = False, **attributes: int
) -> Callable[[], OnnxModel]:
    def build() -> OnnxModel:
        model = OnnxModel()
        square = op == "Conv"
        x = model.input("x", (1, 4, 3, 5) if square else (1, 4))
        inputs = [
            x,
            model.constant(
                "w", floats(8, *((4, 4 // attributes.get("group", 1), 1, 1) if square else (4, 4)))
            ),
        ]
        if bias == "own":
            inputs.append(model.constant("b", floats(9, 4)))
        y = model.op(op, inputs, "product", **attributes)
        if bias == "added":
            y = model.op(
                "Add", [y, model.constant("b", floats(9, *((4, 1, 1) if square else (4,))))], "sum"
            )
        y = normalization(model, y, "bn")
        if twice:
            y = normalization(model, y, "bn2")
        return model.output(model.op("Relu", [y], "y"))

    return build


NETS: dict[str, Callable[[], OnnxModel]] = {
    "hard-sigmoid": hard_sigmoid,
    "layer-norm": layer_norm,
    "decomposed-layer-norm": decomposed_layer_norm,
    "alone-int8": alone((1, 4, 3, 5), (0.05, 3)),
    "alone-int8-relu": alone((1, 4, 3, 5), (0.05, 3), relu=True),
    "alone-float": alone((1, 4, 3, 5), None),
    "alone-vector": alone((1, 4), (0.05, 3)),
    "folded-conv": folded("Conv", "own"),
    "folded-conv-without-bias": folded("Conv", "none", twice=True),
    "folded-conv-and-sum": folded("Conv", "added"),
    "folded-depthwise": folded("Conv", "own", group=4),
    "folded-gemm": folded("Gemm", "own"),
    "folded-gemm-transposed": folded("Gemm", "own", transB=1),
    "folded-matmul": folded("MatMul", "added"),
}  # fmt: skip


def changes(copy: TFLiteCopy, name: str) -> Iterator[tuple[int, ...]]:
    """First and last element of what the file calls *name*, each changed by the least in turn."""
    array = copy.array(name)
    for at in dict.fromkeys((0, array.size - 1)):
        index = np.unravel_index(at, array.shape)
        before = array[index].copy()
        if array.dtype.kind == "f":
            array[index] = np.nextafter(before, np.float32(np.inf))
        else:
            array[index] = before + (1 if before < np.iinfo(array.dtype).max else -1)
        copy.write()
        yield tuple(int(i) for i in index)
        array[index] = before
    copy.write()


@pytest.mark.parametrize("net", sorted(NETS))
def test_every_constant_is_verified(net: str, tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(NETS[net]().bytes())
    made = convert(source, target="tflite", out=tmp_path)
    assert made.report["verified"]
    copied = tmp_path / "copy"
    copied.mkdir()
    copy = TFLiteCopy(copy_files(made.path, copied))
    assert compare_parameters(copy.path, source.read_bytes()) == []
    seen = 0
    for name in copy.names():
        for index in changes(copy, name):
            assert compare_parameters(copy.path, source.read_bytes()), (name, index)
            seen += 1
    assert seen >= 3
    assert compare_parameters(copy.path, source.read_bytes()) == []


@given(st.floats(1e-3, 1), st.lists(st.floats(-11, 1), min_size=4, max_size=4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_scales_of_any_factor(
    tmp_path_factory: pytest.TempPathFactory, scale: float, exponents: list[float], seed: int
) -> None:
    """From dead channels, whose bias alone sets the scale, to those whose weight does."""
    model = OnnxModel()
    grid = (float(np.float32(scale)), 3)
    x = normalization(model, model.input("x", (1, 4, 2, 2), grid), "bn", grid)
    model.constants["bn.scale"] = np.float32(10) ** np.float32(exponents)
    model.constants["bn.bias"] = 10 * floats(seed, 4)
    source = model.output(x).bytes()
    path = tmp_path_factory.getbasetemp() / "any-factor.tflite"
    path.write_bytes(convert_model(source, "tflite").files[".tflite"])
    assert compare_parameters(path, source) == []


@pytest.mark.parametrize(
    ("net", "name", "said"),
    [
        ("hard-sigmoid", "first:alpha", "first:alpha, element 0: value is 0.5, the source has 0.30000001192092896"),
        ("hard-sigmoid", "y:alpha", "y:alpha, element 0: value is 0.5, the source has 0.20000000298023224"),
        ("layer-norm", "y:epsilon", "y:epsilon, element 0: value is 0.5, the source has 0.0010000000474974513"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_parameter(net: str, name: str, said: str, tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(NETS[net]().bytes())
    copy = TFLiteCopy(convert(source, target="tflite", out=tmp_path).path)
    copy.array(name)[0] = 0.5
    copy.write()
    assert [str(m) for m in compare_parameters(copy.path, source.read_bytes())] == [said]


def test_a_scale_that_is_coarser_than_need_be_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(NETS["alone-int8"]().bytes())
    copy = TFLiteCopy(convert(source, target="tflite", out=tmp_path).path)
    copy.array("bn:weight/scale")[:] *= 4
    copy.array("bn:bias/scale")[:] *= 4
    weights, biases = copy.array("bn:weight/int"), copy.array("bn:bias/int")
    weights[:] = np.rint(weights / 4)
    biases[:] = np.rint(biases / 4)
    copy.write()
    said = [str(m) for m in compare_parameters(copy.path, source.read_bytes())]
    assert any(s.startswith("bn:weight, channel 0: scale is ") for s in said)
