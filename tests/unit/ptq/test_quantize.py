"""Post-training quantization of float ONNX files, ours and strangers'."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_reading import constants, kernels, run
from torch import nn
from torch_nets import SmallNet, lively, pictures

from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.quantize import calibrate, export_float, export_qdq, predict, prepare_qat
from edgecv.spec import activation_params
from edgecv_converters.ptq import annotate, quantize_onnx, quantizers_of_qdq, read_float_graph
from edgecv_runtimes.quiet import import_onnxruntime

SIZE = (16, 20)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return lively(SmallNet(), SIZE)


@pytest.fixture(scope="module")
def float_file(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ptq") / "float.onnx"
    export_float(model, path, input_size=SIZE)
    return path.read_bytes()


def test_the_result_is_what_calibrating_in_torch_gives(
    model: nn.Module, float_file: bytes, tmp_path: Path
) -> None:
    batches = [pictures(5, SIZE, seed) for seed in range(2)]
    qat = prepare_qat(model, input_size=SIZE)
    calibrate(qat, batches)
    export_qdq(qat, tmp_path / "torch.onnx", input_size=SIZE)
    ours = quantize_onnx(float_file, [b.numpy() for b in batches], bias_correction=False)
    left, right = constants(tmp_path / "torch.onnx"), constants(ours)
    assert left.keys() == right.keys()
    for name in left:
        if name.endswith("/scale") and left[name].shape == ():
            # the same values, rounded by two engines
            np.testing.assert_allclose(right[name], left[name], rtol=1e-5, err_msg=name)
        if name.endswith("weight/int"):
            assert np.abs(left[name].astype(int) - right[name]).max() <= 1, name
    x = pictures(8, SIZE, seed=9)
    step = float(right["logits/scale"])
    assert np.abs(run(ours, x.numpy()) - predict(qat, [x])).max() <= 2.001 * step


def test_every_operator_runs_in_integers(float_file: bytes, tmp_path: Path) -> None:
    (tmp_path / "q.onnx").write_bytes(quantize_onnx(float_file, [pictures(2, SIZE).numpy()]))
    found = kernels(tmp_path / "q.onnx", tmp_path)
    assert found["QLinearConv"] == 6
    assert found["QLinearAdd"] == 2
    assert not {"Conv", "Add", "Gemm", "Relu", "Clip"} & set(found)


def test_ranges_are_the_global_minimum_and_maximum(float_file: bytes) -> None:
    batches = [pictures(3, SIZE, seed).numpy() for seed in range(3)]
    single = [quantize_onnx(float_file, [b]) for b in batches]
    whole = constants(quantize_onnx(float_file, batches))
    spans = [float(constants(s)["logits/scale"]) for s in single]
    assert float(whole["logits/scale"]) >= max(spans)
    assert float(whole["act1/scale"]) == pytest.approx(
        max(float(constants(s)["act1/scale"]) for s in single)
    )


def test_quantizers_are_read_back(float_file: bytes) -> None:
    content = quantize_onnx(float_file, [pictures(2, SIZE).numpy()])
    found = constants(content)
    records = quantizers_of_qdq(content)
    assert [r.name for r in records][:3] == ["input", "act1", "layer1.act1"]
    for record in records:
        assert record.scale == float(found[f"{record.name}/scale"])
        assert record.zero_point == int(found[f"{record.name}/zero_point"]) - 128


def test_a_scale_per_channel_cannot_be_read_back(float_file: bytes) -> None:
    content = quantize_onnx(float_file, [pictures(2, SIZE).numpy()])
    file = onnx.load_model_from_string(content)
    for i in file.graph.initializer:
        if i.name in ("act1/scale", "act1/zero_point"):
            value = np.repeat(numpy_helper.to_array(i).reshape(1), 12)
            i.CopyFrom(numpy_helper.from_array(value, i.name))
    with pytest.raises(UnsupportedError, match="'act1' is computed or per channel"):
        quantizers_of_qdq(file)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no pictures"),
        ([np.zeros((1, 3, 8, 8))], r"shape \[1, 3, 8, 8\], the model takes \[N, 3, 16, 20\]"),
        ([np.full((1, 3, *SIZE), 2.5)], "from 2.5 to 2.5"),
        ([np.full((1, 3, *SIZE), -1.0)], "mean and std"),
        ([np.full((1, 3, *SIZE), np.nan)], "nan"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(
    float_file: bytes, batches: list[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        quantize_onnx(float_file, batches)


def test_a_model_that_gives_nan_is_refused_by_tensor(float_file: bytes) -> None:
    file = onnx.load_model_from_string(float_file)
    for i in file.graph.initializer:
        if i.name == "layer1.conv1.bias":
            value = numpy_helper.to_array(i).copy()
            value[3] = np.nan
            i.CopyFrom(numpy_helper.from_array(value, i.name))
    with pytest.raises(InputError, match="'layer1"):
        quantize_onnx(file, [pictures(1, SIZE).numpy()])


# strangers


def stranger(
    nodes: list[onnx.NodeProto], opset: int = 17, dims: tuple[object, ...] = ("n", 3, 8, 8)
) -> onnx.ModelProto:
    """A file as another exporter writes it: its own names, dynamic batch, transposed Gemm."""
    rng = np.random.default_rng(0)
    values = {
        "w0": rng.normal(size=(4, 3, 3, 3)),
        "b0": rng.normal(size=4),
        "gamma": np.array([1.0, -0.5, 0.0, 2.0]),
        "beta": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "var": rng.uniform(0.5, 2, size=4),
        "w1": rng.normal(size=(5, 4)),
        "b1": rng.normal(size=5),
        "zero": np.array(0.0),
        "six": np.array(6.0),
        "big": np.array(np.finfo(np.float32).max),
    }
    used = {name for node in nodes for name in node.input}
    initializers = [
        numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items() if k in used
    ]
    shapes = {"flat_shape": [1, -1], "axes": [2, 3]}
    initializers += [
        numpy_helper.from_array(np.array(v, np.int64), k) for k, v in shapes.items() if k in used
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 5))],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


CONV = helper.make_node("Conv", ["pixel_values", "w0", "b0"], ["/conv/out"], pads=[1, 1, 1, 1])
HEAD = [
    helper.make_node("GlobalAveragePool", ["act"], ["gap"]),
    helper.make_node("Flatten", ["gap"], ["flat"]),
    helper.make_node("Gemm", ["flat", "w1", "b1"], ["scores"], transB=1),
]
RELU = helper.make_node("Relu", ["/conv/out"], ["act"])


def original(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = import_onnxruntime().InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"pixel_values": p[None]})[0] for p in x])


VARIANTS: dict[str, Callable[[], list[onnx.NodeProto]]] = {
    "plain": lambda: [CONV, RELU, *HEAD],
    "relu6 by inputs": lambda: [
        CONV,
        helper.make_node("Clip", ["/conv/out", "zero", "six"], ["act"]),
        *HEAD,
    ],
    "clip without upper end": lambda: [
        CONV,
        helper.make_node("Clip", ["/conv/out", "zero", "big"], ["act"]),
        *HEAD,
    ],
    "batch norm": lambda: [
        CONV,
        helper.make_node(
            "BatchNormalization",
            ["/conv/out", "gamma", "beta", "mean", "var"],
            ["normed"],
            epsilon=1e-3,
        ),
        helper.make_node("Relu", ["normed"], ["act"]),
        *HEAD,
    ],
    "reduce mean": lambda: [
        CONV,
        RELU,
        helper.make_node("ReduceMean", ["act"], ["flat"], axes=[2, 3], keepdims=0),
        HEAD[2],
    ],
    "reshape and identity": lambda: [
        CONV,
        RELU,
        HEAD[0],
        helper.make_node("Identity", ["gap"], ["same"]),
        helper.make_node("Reshape", ["same", "flat_shape"], ["flat"]),
        HEAD[2],
    ],
    "squeeze": lambda: [
        CONV,
        RELU,
        HEAD[0],
        helper.make_node("Squeeze", ["gap", "axes"], ["flat"]),
        HEAD[2],
    ],
    "pools and addition": lambda: [
        CONV,
        helper.make_node(
            "MaxPool", ["/conv/out"], ["m"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        ),
        helper.make_node("AveragePool", ["/conv/out"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Add", ["m", "a"], ["s"]),
        helper.make_node("Relu", ["s"], ["act"]),
        *HEAD,
    ],
    "constant nodes": lambda: [
        helper.make_node(
            "Constant",
            [],
            ["k"],
            value=numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32) / 3, "k"),
        ),
        helper.make_node("Conv", ["pixel_values", "k"], ["/conv/out"]),
        RELU,
        *HEAD,
    ],
}


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


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x07" * 40])
def test_what_is_no_onnx_file_is_one_clear_error(content: bytes) -> None:
    with pytest.raises(ModelLoadError, match="ONNX"):
        quantize_onnx(content, [])


def test_a_truncated_file_is_one_clear_error(float_file: bytes) -> None:
    with pytest.raises(ModelLoadError, match="ONNX"):
        quantize_onnx(float_file[: len(float_file) // 2], [])


def test_an_old_operator_set_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="operator set 8"):
        annotate(stranger(VARIANTS["plain"](), opset=8))


def test_a_quantized_file_is_not_quantized_again(float_file: bytes) -> None:
    once = quantize_onnx(float_file, [pictures(1, SIZE).numpy()])
    with pytest.raises(UnsupportedError, match="QuantizeLinear"):
        quantize_onnx(once, [pictures(1, SIZE).numpy()])


def test_torch_is_not_imported() -> None:
    code = "import edgecv_converters.ptq, sys; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
