"""Damaged and hostile files: a typed error or mismatches, never silence, a crash or a hang."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel
from tampering import Copy
from verified_nets import TARGETS, Verified

from edgecv.errors import ModelLoadError
from edgecv.verify.parameters import compare_parameters

Verify = Callable[[str], Verified]


def test_a_missing_file_is_named(target: str, verified: Verify, tmp_path: Path) -> None:
    made = verified("resnet")
    absent = tmp_path / "absent.tflite"
    with pytest.raises(ModelLoadError, match=r"absent\.tflite.*no such file"):
        compare_parameters(absent, made.source)
    with pytest.raises(ModelLoadError, match=r"absent\.tflite.*No such file"):
        compare_parameters(made.artifacts[target], absent)


def test_a_missing_bin_is_named(verified: Verify) -> None:
    copy = verified("resnet").copy("openvino")
    copy.path.with_suffix(".bin").unlink()
    with pytest.raises(ModelLoadError, match=r"\.bin.*No such file"):
        verified("resnet").compare(copy)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_artifact_is_an_error(share: float, target: str, verified: Verify) -> None:
    copy = verified("resnet").copy(target)
    body = copy.body[: int(len(copy.body) * share)]
    copy.path.write_bytes(body)
    with pytest.raises(ModelLoadError):
        verified("resnet").compare(copy)


@pytest.mark.parametrize("length", [0, 1, 100, 1900])
def test_a_truncated_bin_is_noticed(length: int, verified: Verify) -> None:
    copy = verified("resnet").copy("openvino")
    weights = copy.path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:length])
    found = verified("resnet").compare(copy)
    assert "nothing" in {m.found for m in found}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_source_is_an_error(share: float, target: str, verified: Verify) -> None:
    made = verified("resnet")
    data = made.source.read_bytes()
    with pytest.raises(ModelLoadError):
        compare_parameters(made.artifacts[target], data[: int(len(data) * share)])


@pytest.mark.parametrize("emptied", ["node", "output"])
def test_a_source_that_computes_nothing_proves_nothing(
    emptied: str, target: str, verified: Verify
) -> None:
    """It has no parameter that an artifact could lack."""
    made = verified("resnet")
    model = onnx.load(made.source)
    model.graph.ClearField(emptied)
    with pytest.raises(ModelLoadError, match="no operators or no outputs"):
        compare_parameters(made.artifacts[target], model.SerializeToString())


@pytest.mark.parametrize("kind", ["tflite", "openvino"])
def test_a_source_that_is_no_onnx(kind: str, verified: Verify) -> None:
    made = verified("resnet")
    with pytest.raises(ModelLoadError, match="not an ONNX model"):
        compare_parameters(made.artifacts["onnx"], made.artifacts[kind])


def damaged_source(change: Callable[[onnx.GraphProto], None]) -> bytes:
    model = OnnxModel()
    x = model.op("Relu", [model.input("x", (1, 4), (0.1, 0))], "y", (0.1, -128))
    proto = model.output(x, (1, 4)).proto()
    change(proto.graph)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda g: g.node[0].input.__delitem__(slice(1, 3)), id="no scale"),
        pytest.param(lambda g: g.node[0].output.__delitem__(0), id="no output"),
        pytest.param(lambda g: setattr(g.initializer[0], "data_type", 999), id="unknown type"),
        pytest.param(lambda g: setattr(g.initializer[0], "raw_data", b"abc"), id="half a number"),
        pytest.param(lambda g: g.initializer[1].dims.append(7), id="too few zero points"),
    ],
)
def test_a_damaged_source_is_an_error(
    change: Callable[[onnx.GraphProto], None], verified: Verify
) -> None:
    with pytest.raises(ModelLoadError, match="is damaged"):
        compare_parameters(verified("resnet").artifacts["onnx"], damaged_source(change))


def test_scales_that_do_not_fit_their_weight(verified: Verify) -> None:
    model = OnnxModel()
    x = model.input("x", (1, 4, 6, 6), (0.1, 0))
    weight = model.weight("w", np.ones((4, 4, 1, 1), np.int8), [0.1, 0.2, 0.3], 0)
    model.output(model.op("Conv", [x, weight], "y", (0.1, 0)))
    with pytest.raises(ModelLoadError, match="'w/int' has 3 scales along axis 0 of"):
        compare_parameters(verified("resnet").artifacts["tflite"], model.bytes(check=False))


def edit_xml(copy: Copy, before: str, after: str) -> None:
    text = copy.path.read_text()
    assert before in text
    copy.path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('offset="13"', 'offset="-1"'),
        ('offset="13"', 'offset="99999"'),
        ('offset="13"', ""),
        ('shape="8, 3, 3, 3"', 'shape="8, x"'),
        ('element_type="i8"', 'element_type="i9"'),
        ('levels="256"', 'levels="255"'),
        ('type="FakeQuantize"', 'type="Sigmoid"'),
        ('type="Multiply"', 'type="Divide"'),
        ('to-layer="5" to-port="1"', 'to-layer="5" to-port="99"'),
        ('to-layer="5" to-port="1"', 'to-layer="5" to-port=""'),
    ],
)
def test_a_damaged_network_is_noticed(before: str, after: str, verified: Verify) -> None:
    copy = verified("resnet").copy("openvino")
    edit_xml(copy, before, after)
    assert verified("resnet").compare(copy) != []


def test_a_ring_of_layers_ends(verified: Verify) -> None:
    """A Convert that reads itself changes no value, for ever."""
    copy = verified("resnet").copy("openvino")
    edit_xml(
        copy,
        'from-layer="8" from-port="0" to-layer="9"',
        'from-layer="9" from-port="0" to-layer="9"',
    )
    found = verified("resnet").compare(copy)
    assert [str(m) for m in found] == [
        "input: presence is nothing, the source has a constant zero_point"
    ]


def test_two_tensors_of_one_name_are_refused(verified: Verify) -> None:
    """The second one would hide the first."""
    copy = verified("resnet").copy("tflite")
    data = copy.path.read_bytes()
    assert b"layer1.conv2.weight" in data
    copy.path.write_bytes(data.replace(b"layer1.conv2.weight", b"layer1.conv1.weight"))
    with pytest.raises(ModelLoadError, match=r"called 'layer1\.conv1\.weight'"):
        verified("resnet").compare(copy)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_changed_bytes_end_in_an_answer(
    name: str, data: st.DataObject, verified: Verify
) -> None:
    copy = verified("separable").copy(name)
    files = [copy.path] + [copy.path.with_suffix(".bin")] * (name == "openvino")
    file = data.draw(st.sampled_from(files))
    body = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(body))))
    file.write_bytes(bytes(body)[:cut])
    with contextlib.suppress(ModelLoadError):
        assert isinstance(verified("separable").compare(copy), list)
