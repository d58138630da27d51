"""The structural verifier for TFLite: accepts what engines accept, names what is damaged."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema

from edgecv.artifact.flatbuffer import check_flatbuffer
from edgecv.errors import ModelLoadError


def changed(edit: object) -> bytes:
    """The tiny int8 model after *edit* of its object form."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(tiny_models.tflite()), 0)
    assert callable(edit)
    edit(model)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_sound_models_pass() -> None:
    for body in (tiny_models.tflite(), tiny_models.tflite("float32"), tiny_models.tflite_add()):
        check_flatbuffer(body)
        check_flatbuffer(body + b"a tail of any kind")


def test_models_of_others_pass(outside_data: Path) -> None:
    paths = sorted((outside_data / "models").glob("*.tflite"))
    assert len(paths) >= 8
    for path in paths:
        if path.name == "person_detect.tflite":
            with pytest.raises(ModelLoadError, match="8 scales along axis 3"):
                check_flatbuffer(path.read_bytes())
        else:
            check_flatbuffer(path.read_bytes())


def test_every_truncation_inside_the_data_is_refused() -> None:
    body = tiny_models.tflite("float32")
    # the last bytes are padding that nothing refers to
    for size in range(0, len(body) - 8, 7):
        with pytest.raises(ModelLoadError, match="damaged or truncated"):
            check_flatbuffer(body[:size])


def _input_index(model: schema.ModelT) -> None:
    model.subgraphs[0].inputs = [99]


def _operator_input(model: schema.ModelT) -> None:
    model.subgraphs[0].operators[0].inputs = [0, 1, -2]


def _opcode(model: schema.ModelT) -> None:
    model.subgraphs[0].operators[0].opcodeIndex = 7


def _buffer(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[1].buffer = 1000


def _buffer_size(model: schema.ModelT) -> None:
    model.buffers[1].data = model.buffers[1].data[:-1]


def _shape(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[0].shape = [1, -8, 6, 3]


def _huge(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[0].shape = [1 << 16, 1 << 16]


def _type(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[0].type = 77


def _scales(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[1].quantization.zeroPoint = np.zeros(3, np.int64)


def _axis(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[1].quantization.quantizedDimension = 3


def _scale(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[0].quantization.scale = [float("nan")]


def _version(model: schema.ModelT) -> None:
    model.version = 4


def _no_graph(model: schema.ModelT) -> None:
    model.subgraphs = []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_input_index, "input or output of the graph is number 99 of 9"),
        (_operator_input, "input of an operator is number -2"),
        (_opcode, "code of an operator is number 7 of 3"),
        (_buffer, "buffer of tensor 'conv.weight' is number 1000"),
        (_buffer_size, "needs 108 bytes and its buffer has 107"),
        (_shape, r"tensor 'input' has shape \[1, -8, 6, 3\]"),
        (_huge, "tensor 'input' has shape"),
        (_type, "unknown type 77"),
        (_scales, "4 scales and 3 zero points"),
        (_axis, "4 scales along axis 3"),
        (_scale, "negative or not finite"),
        (_version, "schema version is 4"),
        (_no_graph, "no graph"),
    ],
)
def test_what_is_wrong_is_named(edit: object, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        check_flatbuffer(changed(edit))
