"""Faults in front of a model: seen when they are put in, and found when they were there all along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from edgecv import artifact
from edgecv.artifact import Manifest, Preprocess
from edgecv.cli.comparing import pipeline_text
from edgecv.data import Dataset, scan
from edgecv.evaluate import PixelCache, evaluate
from edgecv.evaluate.pipeline import PipelineEffect, check_pipeline, checks_for, differences
from edgecv.runtime import Runtime
from edgecv.spec.types import TensorSpec

CLASSES = ("blue", "green", "red")
SIZE = (8, 8)


def _file(path: Path, preprocess: Preprocess) -> Path:
    """A sealed float ONNX file that names the strongest channel; it wants RGB."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, [3, 3], np.eye(3, dtype=np.float32)[::-1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    manifest = Manifest(
        CLASSES,
        preprocess,
        (TensorSpec("input", (1, 3, *SIZE), "float32", "NCHW"),),
        (TensorSpec("logits", (1, 3), "float32", "NC"),),
        "float32",
    )
    path.write_bytes(artifact.seal("onnx", model.SerializeToString(), None, manifest))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """12 of each class; the middle shows it, a frame around it another one."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        for number in range(12):
            pixels = rng.integers(0, 60, (32, 32, 3), np.uint8)
            pixels[..., (channel + 1) % 3] += 70
            pixels[4:28, 4:28, (channel + 1) % 3] -= 70
            pixels[4:28, 4:28, channel] += 120
            path = folder / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    return scan(folder)


def _effects(pictures: Dataset, file: Path) -> dict[str, PipelineEffect]:
    known = pictures.relabel(CLASSES)
    with Runtime(file) as runtime:
        cache = PixelCache()
        plain = evaluate(runtime, known.items, known.classes, cache=cache)
        found = check_pipeline(runtime, plain, known.items, cache=cache)
    return {effect.check.name: effect for effect in found}


def test_a_right_preprocessing_is_not_complained_of(pictures: Dataset, tmp_path: Path) -> None:
    found = _effects(pictures, _file(tmp_path / "right.onnx", Preprocess(SIZE, crop_fraction=0.75)))
    assert list(found) == [
        "channels swapped", "resized bilinear", "resized nearest", "other crop", "other shape",
        "stored as JPEG",
    ]  # fmt: skip
    assert not any(effect.better for effect in found.values())
    swapped = found["channels swapped"].pair.record
    assert swapped.difference.value == pytest.approx(-2 / 3)
    assert swapped.to_wrong == 24, "green stays green"
    jpeg = found["stored as JPEG"].pair
    assert jpeg.record.difference.value == 0
    assert jpeg.max_difference > 0, "the pictures were stored again"
    assert found["resized nearest"].pair.max_difference > 0
    text = pipeline_text(list(found.values()), [])
    assert "-66.67" in text
    assert "WARNING" not in text


def test_a_wrong_preprocessing_is_found(pictures: Dataset, tmp_path: Path) -> None:
    wrong, check = Preprocess(SIZE, crop_fraction=0.75, color="bgr"), "channels swapped"
    found = _effects(pictures, _file(tmp_path / "wrong.onnx", wrong))
    assert [name for name, effect in found.items() if effect.better] == [check]
    assert found[check].pair.record.difference.value == pytest.approx(2 / 3)
    text = pipeline_text(list(found.values()), [])
    assert "WARNING: better" in text
    assert "Mend that before" in text
    assert found[check].to_json()["better"] is True


def test_every_check_changes_one_thing() -> None:
    for own in (
        Preprocess((32, 32)),
        Preprocess((224, 224), "stretch", 0.875, "nearest", "bgr", (0.5,) * 3, (0.5,) * 3),
    ):
        checks = checks_for(own)
        changed = [differences(own, check.preprocess) for check in checks if check.reencode is None]
        assert all(len(phrases) == 1 for phrases in changed)
        assert len(set(changed)) == len(changed) == 5
        assert [check.reencode for check in checks if check.reencode] == [75]
        assert all(check.preprocess.size == own.size for check in checks)


def test_where_two_preprocessings_differ() -> None:
    first = Preprocess((32, 32), mean=(0.5,) * 3)
    assert differences(first, replace(first, mean=(0.0,) * 3)) == ()
    other = replace(first, crop_fraction=0.875, interpolation="bilinear")
    assert differences(first, other) == (
        "crop_fraction: 1.0 and 0.875",
        "interpolation: 'bicubic' and 'bilinear'",
    )
    assert pipeline_text([], differences(first, other)).count("WARNING") == 2
