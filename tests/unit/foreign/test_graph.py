"""How a graph ends, and whether its activations are integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models
from onnx import TensorProto, helper, numpy_helper

from edgecv.artifact import ModelFile, read
from edgecv.foreign.graph import precision, score_kind


def file_of(data: bytes | tuple[bytes, bytes]) -> ModelFile:
    return read(data)


@pytest.mark.parametrize("exact", ["int8", "float32"])
def test_the_tiny_classifier_gives_logits(exact: str) -> None:
    for data in (
        tiny_models.tflite(exact), tiny_models.onnx_model(exact), tiny_models.openvino(exact)
    ):  # fmt: skip
        file = file_of(data)
        assert score_kind(file) == "logit"
        assert precision(file) == exact


def ending_in(*operators: str) -> bytes:
    """Gemm, then *operators* one after the other."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t0"])]
    for i, operator in enumerate(operators):
        extra = ["shape"] if operator == "Reshape" else []
        nodes.append(helper.make_node(operator, [f"t{i}", *extra], [f"t{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info(f"t{len(operators)}", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones((4, 3), np.float32), "w"),
            numpy_helper.from_array(np.array([1, 3]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("operators", "kind"),
    [
        ((), "logit"),
        (("Softmax",), "probability"),
        (("Sigmoid", "Reshape"), "probability"),
        (("Softmax", "Identity", "Reshape"), "probability"),
        (("LogSoftmax",), "logit"),
        (("Reshape", "Identity"), "logit"),
        (("Relu",), ""),
        (("Softmax", "Neg"), ""),
        (("Identity",) * 40, ""),
    ],
)
def test_the_last_operator_tells(operators: tuple[str, ...], kind: str) -> None:
    data = ending_in(*operators)
    assert score_kind(file_of(data)) == kind
    if len(operators) < 4:
        assert score_kind(file_of(tiny_models.to_ir(data))) == kind


def test_several_outputs_tell_nothing() -> None:
    model = onnx.load_from_string(tiny_models.onnx_model())
    model.graph.output.add().CopyFrom(
        helper.make_tensor_value_info("pool", TensorProto.FLOAT, None)
    )
    assert score_kind(file_of(model.SerializeToString())) == ""


def test_names_with_signs_of_xml() -> None:
    xml, weights = tiny_models.to_ir(ending_in("Softmax"))
    named = xml.replace(b'name="t1"', b'name="a>b/&lt;layer "')
    assert named != xml
    assert score_kind(file_of((named, weights))) == "probability"


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_damaged_files_tell_nothing(cut: float) -> None:
    xml, weights = tiny_models.openvino()
    bodies = {"tflite": tiny_models.tflite(), "onnx": tiny_models.onnx_model(), "openvino": xml}
    for kind, body in bodies.items():
        part = body[: int(len(body) * cut)]
        file = ModelFile(kind, None, part, weights, None, "unchecked")
        assert score_kind(file) in ("", "logit")
        assert precision(replace(file, body=b"")) == "float32"


def test_models_that_others_made(outside_data: Path) -> None:
    folder = outside_data / "models"
    expected = {
        "mobilenet_v2_1.0_224_quant.tflite": ("probability", "int8"),
        "mobilenet_v2_quantized_1x3x224x224.tflite": ("logit", "int8"),
        "pretrainedResnet.tflite": ("probability", "float32"),
        "pretrainedResnet_quant.tflite": ("probability", "int8"),
        "squeezenet1.1.xml": ("probability", "float32"),
    }
    found = {
        name: (score_kind(read(folder / name)), precision(read(folder / name))) for name in expected
    }
    assert found == expected
