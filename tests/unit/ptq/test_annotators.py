"""The torch annotator and the ONNX annotator choose the same tensors by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn
from torch_nets import SmallNet, TinyNet, pictures

from edgecv.models import create
from edgecv.quantize import (
    calibrate,
    export_float,
    export_qdq,
    placement_of,
    prepare_qat,
)
from edgecv.spec import place
from edgecv_converters.ptq import annotate as annotate_onnx
from edgecv_converters.ptq import quantizers_of_qdq

SIZE = (32, 32)
NAMES = [
    "resnet18",
    "resnet10t",
    "resnet26t",
    "resnet50",
    "mobilenetv2_100",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "mobilevit_xxs",
    "resnet10_micro",
    "small",
    "tiny",
]


#: Input sizes other than the usual one: MobileViT cuts stride 32 into patches of 2.
SIZES = {"mobilevit_xxs": (64, 64)}


def size_of(name: str) -> tuple[int, int]:
    return SIZES.get(name, SIZE)


def model_of(name: str) -> nn.Module:
    own = {"small": SmallNet, "tiny": TinyNet}
    if name in own:
        model: nn.Module = own[name]()
        return model
    return create(name, num_classes=4, size=size_of(name)).module


@pytest.mark.parametrize("name", NAMES)
def test_both_annotators_choose_the_same_tensors(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    ours = placement_of(prepare_qat(model, input_size=size_of(name)))
    export_float(model, tmp_path / "float.onnx", input_size=size_of(name))
    theirs = place(annotate_onnx((tmp_path / "float.onnx").read_bytes()))
    assert list(theirs.quantizers) == list(ours.quantizers)
    assert theirs == ours
    weighted = sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules())
    assert len(ours.weights) == weighted


@pytest.mark.parametrize("name", ["resnet10_micro", "small", "tiny"])
def test_the_qdq_file_has_exactly_these_quantizers(name: str, tmp_path: Path) -> None:
    qat = prepare_qat(model_of(name).eval(), input_size=SIZE)
    calibrate(qat, [pictures(2, SIZE)])
    export_qdq(qat, tmp_path / "qdq.onnx", input_size=SIZE)
    written = quantizers_of_qdq((tmp_path / "qdq.onnx").read_bytes())
    assert [q.name for q in written] == list(placement_of(qat).quantizers)
