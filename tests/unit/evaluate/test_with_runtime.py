"""What is evaluated is what the runtime answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from edgecv import artifact
from edgecv.artifact import Manifest, Preprocess
from edgecv.data import scan
from edgecv.evaluate import PixelCache, compare, evaluate
from edgecv.runtime import Runtime
from edgecv.spec.types import TensorSpec


def _linear(weight: np.ndarray, preprocess: Preprocess) -> bytes:
    """A sealed float ONNX file: global average per channel, then a matrix."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 10])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, [3, 3], weight.astype(np.float32))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    manifest = Manifest(
        ("blue", "green", "red"),
        preprocess,
        (TensorSpec("input", (1, 3, 8, 10), "float32", "NCHW"),),
        (TensorSpec("logits", (1, 3), "float32", "NC"),),
        "float32",
    )
    onnx.checker.check_model(model)
    return artifact.seal("onnx", model.SerializeToString(), None, manifest)


def test_scores_equal_those_of_the_runtime(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        for number in range(6):
            pixels = rng.integers(0, 120, (int(rng.integers(9, 30)), 17, 3), np.uint8)
            pixels[..., channel] += 40
            path = tmp_path / "pictures" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    dataset = scan(tmp_path / "pictures")
    # output 0 is blue: the matrix turns RGB around
    turn = np.eye(3)[::-1]
    folded = Preprocess(size=(8, 10), crop_fraction=0.9)
    scaled = Preprocess(
        size=(8, 10), crop_fraction=0.9, mean=(0.4, 0.5, 0.6), std=(0.5, 0.2, 0.3), color="bgr"
    )
    cache, results = PixelCache(), []
    for number, (matrix, preprocess) in enumerate([(turn, folded), (np.eye(3), scaled)]):
        (tmp_path / f"{number}.onnx").write_bytes(_linear(matrix, preprocess))
        with Runtime(tmp_path / f"{number}.onnx") as runtime:
            result = evaluate(runtime, dataset.items, dataset.classes, cache=cache)
            direct = np.stack([runtime.scores(item.path) for item in dataset.items])
        assert np.array_equal(result.scores, direct)
        assert result.name == f"{number}.onnx on onnxruntime"
        results.append(result)
    assert results[0].top1.value == 1.0
    assert compare(*results).record.n == 18
