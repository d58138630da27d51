"""A second judge of our TFLite files: TensorFlow's interpreter, with its three sets of kernels.

LiteRT comes of the same sources, at another time; the reference kernels are the specification as plain loops,
beside the optimized ones and XNNPACK. The tests need the extra ``tensorflow`` in an environment of its own:
``pip install -e '.[train,tensorflow]' pytest``, then ``pytest tests/conformance/test_tensorflow.py``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from onnx_models import small_resnet

from edgecv.models import create
from edgecv.quantize import calibrate, export_qdq, prepare_qat
from edgecv.spec import quantize
from edgecv.verify.litert import Interpreter
from edgecv.verify.teacher_forced import failures, lessons, teacher_forced
from edgecv_converters import Converted, convert_model

# TensorFlow announces that its interpreter will move to LiteRT
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

RESOLVERS = tf.lite.experimental.OpResolverType
#: Kernels → the limits that hold for them, and TensorFlow's name.
JUDGES = {
    "xnnpack": ("xnnpack", RESOLVERS.AUTO),
    "builtin": ("builtin", RESOLVERS.BUILTIN_WITHOUT_DEFAULT_DELEGATES),
    "reference": ("builtin", RESOLVERS.BUILTIN_REF),
}


class Case:
    """A quantized net, our file of it, and pictures, float32 [1, 3, H, W] in [0, 1] each."""

    def __init__(self, source: bytes, height: int, width: int) -> None:
        self.source = source
        self.converted: Converted = convert_model(source, "tflite")
        self.tflite = self.converted.files[".tflite"]
        rng = np.random.default_rng(5)
        self.pictures = [
            rng.uniform(0, 1, (1, 3, height, width)).astype(np.float32) for _ in range(4)
        ]
        self.samples = [{"input": picture} for picture in self.pictures[:2]]

    def answers(self, kernels: str) -> np.ndarray:
        """Integers of the last tensor, [pictures, classes], from the interpreter that is in force."""
        engine = Interpreter(self.tflite, kernels)
        (grid,) = (spec.quantization for spec in engine.inputs)
        assert grid is not None
        given = [quantize(picture.transpose(0, 2, 3, 1), grid) for picture in self.pictures]
        return np.concatenate([engine.run([array])[0] for array in given]).astype(int)


def own_mobilevit(folder: Path) -> bytes:
    """MobileViT-XXS at 64 px, random weights with trained-looking normalizations, quantized by us."""
    torch.manual_seed(0)
    module = create("mobilevit_xxs", num_classes=10, size=(64, 64)).module.eval()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.LayerNorm):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.uniform_(layer.bias, -0.3, 0.3)
    qat = prepare_qat(module, input_size=(64, 64))
    calibrate(qat, [torch.rand(4, 3, 64, 64)])
    export_qdq(qat.eval(), folder / "model.onnx", input_size=(64, 64))
    return (folder / "model.onnx").read_bytes()


@pytest.fixture(scope="module", params=["resnet", "mobilevit"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param == "resnet":
        return Case(small_resnet().bytes(), 20, 16)
    return Case(own_mobilevit(tmp_path_factory.mktemp("mobilevit")), 64, 64)


@pytest.fixture
def judge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """TensorFlow in the place of LiteRT, with one set of kernels; the name of their limits."""
    limits, resolver = JUDGES[request.param]
    module = SimpleNamespace(
        Interpreter=tf.lite.Interpreter,
        OpResolverType=SimpleNamespace(AUTO=resolver, BUILTIN_WITHOUT_DEFAULT_DELEGATES=resolver),
    )
    monkeypatch.setattr("edgecv.verify.litert.import_litert", lambda: module)
    return limits


@pytest.mark.parametrize("judge", JUDGES, indirect=True)
def test_every_tensor_from_the_references_integers(case: Case, judge: str) -> None:
    errors = teacher_forced(case.converted.plan, case.source, case.samples, kernels=judge)
    assert len(errors) >= 7  # 200 of the MobileViT
    assert failures(errors, kernels=judge) == []


@pytest.mark.parametrize("judge", JUDGES, indirect=True)
def test_a_wrong_scale_is_noticed(judge: str) -> None:
    """Tampered after planning, so that nothing but what is computed can tell."""
    case = Case(small_resnet().bytes(), 20, 16)
    plan = case.converted.plan
    at = next(i for i, t in enumerate(plan.tensors) if t.name == "layer1.conv1.weight")
    before: Any = plan.tensors[at].quantization
    scales = tuple(float(np.float32(scale * 1.1)) for scale in before.scales)
    changed = dataclasses.replace(
        plan.tensors[at], quantization=dataclasses.replace(before, scales=scales)
    )
    wrong = dataclasses.replace(
        plan, tensors=(*plan.tensors[:at], changed, *plan.tensors[at + 1 :])
    )
    errors = [lesson.run(judge) for lesson in lessons(wrong, case.source, case.samples)]
    # the tensor that this weight computes, with its ReLU, and no other
    assert [error.tensor for error in failures(errors, kernels=judge)] == ["layer1.act1"]


def test_builtin_kernels_give_the_same_integers_as_litert(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    litert = case.answers("builtin")
    assert len(np.unique(litert)) > 10
    module = SimpleNamespace(Interpreter=tf.lite.Interpreter, OpResolverType=RESOLVERS)
    monkeypatch.setattr("edgecv.verify.litert.import_litert", lambda: module)
    np.testing.assert_array_equal(case.answers("builtin"), litert)


def test_xnnpack_gives_the_same_answers_as_litert(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow 2.21's delegate leaves int8 BATCH_MATMUL to the builtin kernel, hence not the same integers."""
    litert = case.answers("xnnpack")
    module = SimpleNamespace(Interpreter=tf.lite.Interpreter, OpResolverType=RESOLVERS)
    monkeypatch.setattr("edgecv.verify.litert.import_litert", lambda: module)
    apart = np.abs(case.answers("xnnpack") - litert)
    products = "BATCH_MATMUL" in case.converted.plan.statistics()["by_type"]
    assert apart.mean() <= (1.0 if products else 0.0)
