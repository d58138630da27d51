"""Numbers in the wrong place: swapped axes of a weight, scales along another dimension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_models import OnnxModel
from reseal import reseal
from tampering import OnnxCopy, OpenVINOCopy, TFLiteCopy
from verified_nets import Verified

from edgecv import artifact
from edgecv.errors import ModelLoadError
from edgecv.verify.mismatch import LIMIT, Mismatch

Verify = Callable[[str], Verified]


@pytest.mark.parametrize("net", ["resnet", "float"])
@pytest.mark.parametrize(
    ("tensor", "axes"),
    [
        ("conv1.weight", (0, 1, 3, 2)),
        ("layer1.conv1.weight", (1, 0, 2, 3)),
        ("layer1.conv2.weight", (0, 1, 3, 2)),
    ],
)
def test_two_swapped_axes_of_a_weight(
    net: str, tensor: str, axes: tuple[int, ...], target: str, verified: Verify
) -> None:
    copy = verified(net).copy(target)
    name, field = (f"{tensor}/int", "integer") if net == "resnet" else (tensor, "value")
    elements = copy.array(name)
    before = elements.copy()
    elements[...] = before.transpose(axes)
    wrong = np.flatnonzero(before != elements)
    first = int(wrong[0])
    copy.save()
    assert artifact.read(copy.path).state == "intact"
    found = verified(net).compare(copy)
    assert len(found) == LIMIT + 1
    assert {(m.tensor, m.field) for m in found} == {(tensor, field)}
    channel = first // before[0].size
    assert (found[0].channel, found[0].index) == (channel, first)
    assert str(found[-1]).endswith(
        f"{field} is {len(wrong)} different, the source has all {before.size} equal"
    )


def test_two_swapped_channels_of_a_depthwise_weight(target: str, verified: Verify) -> None:
    copy = verified("separable").copy(target)
    elements = copy.array("dw.weight/int")
    elements[[2, 3]] = elements[[3, 2]]
    copy.save()
    found = verified("separable").compare(copy)
    assert {m.channel for m in found} >= {2, 3}
    assert {m.tensor for m in found} == {"dw.weight"}


def test_a_depthwise_weight_with_height_and_width_swapped(target: str, verified: Verify) -> None:
    copy = verified("separable").copy(target)
    elements = copy.array("dw.weight/int")
    elements[...] = elements.copy().transpose(0, 1, 3, 2)
    copy.save()
    found = verified("separable").compare(copy)
    assert {(m.tensor, m.field) for m in found} == {("dw.weight", "integer")}


def test_a_weight_whose_shape_is_turned(target: str, verified: Verify) -> None:
    """The same bytes under another shape; the linear layer has 4 inputs and 5 outputs."""
    copy = verified("per-tensor").copy(target)
    if isinstance(copy, OnnxCopy):
        weight = next(i for i in copy.model.graph.initializer if i.name == "fc.weight/int")
        weight.dims[:] = [5, 4]
    elif isinstance(copy, TFLiteCopy):
        copy.tensors["fc.weight"].ShapeAsNumpy()[:] = [4, 5]
    copy.write()
    if target == "openvino":
        xml = copy.path.read_text()
        assert xml.count('shape="4, 5"') == 1
        copy.path.write_text(xml.replace('shape="4, 5"', 'shape="5, 4"'))
    reseal(copy.path)
    if target == "tflite":
        # the shapes of a TFLite file have to fit each other before anything is compared
        with pytest.raises(ModelLoadError, match=r"FULLY_CONNECTED: weights of shape \[4, 5\]"):
            verified("per-tensor").compare(copy)
        return
    found = verified("per-tensor").compare(copy)
    assert found == [Mismatch("fc.weight", "shape", (4, 5), (5, 4))]


def test_scales_of_openvino_along_another_dimension(verified: Verify) -> None:
    """8 scales of an 8x8 weight fit both dimensions, and the engine loads either file."""
    for operand in ("scale", "zero_point"):
        copy = verified("resnet").copy("openvino")
        assert isinstance(copy, OpenVINOCopy)
        ports = (1, 1) if operand == "scale" else (0, 1, 1)
        shape = copy.array(copy.operand("layer1.conv1.weight", *ports))
        assert shape.tolist() == [8, 1, 1, 1]
        shape[:] = [1, 8, 1, 1]
        copy.save()
        wanted = f"{operand} of shape (8, 1, 1, 1)"
        assert verified("resnet").compare(copy) == [
            Mismatch("layer1.conv1.weight", "form", wanted, "(1, 8, 1, 1)")
        ]


def test_scales_of_onnx_along_another_dimension(verified: Verify) -> None:
    copy = verified("resnet").copy("onnx")
    assert isinstance(copy, OnnxCopy)
    (node,) = (n for n in copy.model.graph.node if n.output[0] == "layer1.conv1.weight")
    node.attribute[0].i = 1
    copy.save()
    (found,) = verified("resnet").compare(copy)
    assert (found.tensor, found.field) == ("layer1.conv1.weight", "form")
    assert str(found.expected).endswith("axis 0")
    assert str(found.found).endswith("axis 1")


def test_scales_of_tflite_along_another_dimension(tmp_path: Path) -> None:
    """3 scales fit the channels and the height of a depthwise filter [1, 3, 3, 3]."""
    model = OnnxModel()
    x = model.input("x", (1, 3, 6, 6), (0.05, 3))
    weight = model.weight("w", np.ones((3, 1, 3, 3), np.int8), [0.01, 0.02, 0.03], 0)
    made = Verified(tmp_path, model.output(model.op("Conv", [x, weight], "y", (0.1, 0), group=3)))
    copy = made.copy("tflite")
    assert isinstance(copy, TFLiteCopy)
    copy.set_axis("w", 1)
    copy.save()
    assert made.compare(copy) == [Mismatch("w", "form", "scales along output channels", "axis 1")]
