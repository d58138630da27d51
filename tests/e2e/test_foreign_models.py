"""Models made by others, against the accuracies that others measured with their own preprocessing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import edgecv
from edgecv.cli import cli
from edgecv.data import scan
from edgecv.data.label_map import map_classes, read_label_map
from edgecv.errors import ModelLoadError
from edgecv.evaluate import Evaluation, evaluate
from edgecv.preprocess import prepare, to_input

pytestmark = pytest.mark.slow

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
#: Caffe's: BGR in grey levels, less a mean.
SQUEEZENET = {"preset": "raw", "color": "bgr", "mean": [0.40784314, 0.45882353, 0.48235294]}


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def top1(folder: Path, *arguments: object) -> int:
    """Right answers that ``edgecv evaluate`` counts."""
    run("evaluate", *arguments, "--json", folder / "result.json", "--overwrite")
    [model] = json.loads((folder / "result.json").read_text())["models"]
    return round(model["top1"]["value"] * model["pictures"])


def published(data: Path, name: str) -> dict[str, float]:
    models = json.loads((data / "models" / "models.json").read_text())
    [found] = [m["measured"] for m in models if m["file"] == f"models/{name}"]
    assert isinstance(found, dict)
    return found


def label_map(data: Path, folder: Path, background: int) -> Path:
    """Folder → ImageNet's index, as a file."""
    classes = json.loads((data / "datasets" / "imagenette10" / "classes.json").read_text())
    path = folder / "map.json"
    path.write_text(json.dumps({c["name"]: c["imagenet_index"] + background for c in classes}))
    return path


def raw_answers(model: Path, arrays: Any) -> list[np.ndarray[Any, Any]]:
    """Integers of a bare interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    [into], [out] = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for array in arrays:
        interpreter.set_tensor(into["index"], array)
        interpreter.invoke()
        rows.append(interpreter.get_tensor(out["index"])[0].copy())
    return rows


def evaluated(
    model: Path, data: Path, split: str, mapping: Path, **arguments: Any
) -> tuple[Evaluation, edgecv.ModelInfo]:
    with edgecv.Runtime(model, **arguments) as runtime:
        pictures = map_classes(scan(data), runtime.info.labels, read_label_map(mapping))
        return evaluate(runtime, pictures.of(split), pictures.classes), runtime.info


@pytest.mark.parametrize(
    ("name", "background", "preprocess"),
    [
        ("mobilenet_v2_1.0_224_quant.tflite", 1, "raw"),
        ("tf2_mobilenet_v2_1.0_224_ptq.tflite", 1, "raw"),
        ("mobilenet_v2_quantized_1x3x224x224.tflite", 0, "imagenet"),
    ],
)
def test_imagenet_models_of_224_pixels(
    name: str, background: int, preprocess: str, outside_data: Path, tmp_path: Path
) -> None:
    model, data = outside_data / "models" / name, outside_data / "datasets" / "imagenette10"
    mapping = label_map(outside_data, tmp_path, background)
    labels = tmp_path / "labels.txt"
    lines = (outside_data / "models" / "imagenet_labels.txt").read_text().splitlines()
    labels.write_text("\n".join(lines[1 - background :]))
    options = ("--labels", labels, "--preprocess", preprocess)
    right = top1(
        tmp_path, model, "--data", data, "--split", "test", "--label-map", mapping, *options
    )

    result, info = evaluated(model, data, "test", mapping, labels=labels, preprocess=preprocess)
    assert right == int((result.answers == result.labels).sum())
    # every answer is the bare interpreter's
    assert info.preprocess is not None
    arrays = (
        to_input(prepare(path, info.preprocess), info.inputs[0], info.preprocess)
        for path in result.paths
    )
    integers = np.stack(raw_answers(model, arrays))
    assert np.array_equal(info.outputs[0].dequantize(integers), result.scores)
    assert np.array_equal(integers.argmax(axis=1), result.answers)

    # The 8-bit scores of some pictures have several best classes, and the published figure says
    # nothing of which one counts: it lies between none and all of them, to a picture.
    expected = round(1000 * next(iter(published(outside_data, name).values())))
    best = result.scores == result.scores.max(axis=1, keepdims=True)
    among = best[np.arange(len(best)), result.labels]
    alone = int((among & (best.sum(axis=1) == 1)).sum())
    assert alone - 1 <= expected <= int(among.sum()) + 1
    assert alone <= right <= int(among.sum())
    # among the ten classes of the pictures hardly any are tied
    ten = sorted({int(label) for label in result.labels})
    chosen = np.array(ten)[result.scores[:, ten].argmax(axis=1)]
    within = published(outside_data, name)[_within(outside_data, name)]
    assert abs(int((chosen == result.labels).sum()) - round(1000 * within)) <= 1


def _within(data: Path, name: str) -> str:
    return next(key for key in published(data, name) if "within" in key)


def cifar_folder(data: Path, root: Path) -> Path:
    """200 test pictures as PNG files in class folders."""
    source = data / "datasets" / "cifar10_lossless200"
    lines = (source / "y_labels.csv").read_text().splitlines()
    for file, _, label in csv.reader(lines):
        folder = root / CIFAR[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.fromfile(source / file, np.uint8).reshape(32, 32, 3)
        Image.fromarray(pixels).save(folder / f"{Path(file).stem}.png")
    return root


@pytest.mark.parametrize("name", ["pretrainedResnet.tflite", "pretrainedResnet_quant.tflite"])
def test_the_cifar_twins_exactly(name: str, outside_data: Path, tmp_path: Path) -> None:
    pictures = cifar_folder(outside_data, tmp_path / "pictures")
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(CIFAR))
    model = outside_data / "models" / name
    options = ("--labels", labels, "--preprocess", "raw")
    expected = round(200 * published(outside_data, name)["cifar10_lossless200"])
    assert top1(tmp_path, model, "--data", pictures, *options) == expected
    # and the copy that knows it all by itself
    adopted = tmp_path / "adopted.tflite"
    run("adopt", model, *options, "--out", adopted)
    assert top1(tmp_path, adopted, "--data", pictures) == expected


def test_an_openvino_model_with_bgr_and_a_mean(outside_data: Path, tmp_path: Path) -> None:
    """Open Model Zoo's SqueezeNet; published on 982 of these 1,000 pictures, resized some other way."""
    model = outside_data / "models" / "squeezenet1.1.xml"
    data = outside_data / "datasets" / "imagenette10"
    settings, labels = tmp_path / "squeezenet.json", tmp_path / "labels.txt"
    settings.write_text(json.dumps(SQUEEZENET))
    lines = (outside_data / "models" / "imagenet_labels.txt").read_text().splitlines()
    labels.write_text("\n".join(lines[1:]))
    run("adopt", model, "--labels", labels, "--preprocess", settings, "--out", tmp_path / "new.xml")
    mapping = label_map(outside_data, tmp_path, 0)
    result, info = evaluated(tmp_path / "new.xml", data, "val", mapping)
    assert info.labels_from == info.preprocess_from == "manifest"
    expected = published(outside_data, "squeezenet1.1.xml")["982 Imagenette val images top1"]
    assert abs(result.top1.value - expected) < 0.02
    # a bare engine on arrays made by hand
    import openvino

    compiled = openvino.Core().compile_model(
        str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    for row in range(0, 1000, 50):
        image = (
            Image.open(result.paths[row])
            .convert("RGB")
            .resize((227, 227), Image.Resampling.BICUBIC)
        )
        pixels = np.asarray(image, np.float32)[..., ::-1] - np.float32([104, 117, 123])
        answer = compiled(pixels.transpose(2, 0, 1)[np.newaxis])[0].reshape(-1)
        assert answer.argmax() == result.answers[row]
        assert np.allclose(answer, result.scores[row], atol=1e-5)


def test_a_model_that_engines_refuse_says_why(outside_data: Path) -> None:
    model = outside_data / "models" / "person_detect.tflite"
    with pytest.raises(
        ModelLoadError, match=r"8 scales along axis 3, which it does not have; LiteRT"
    ):
        run("info", model)


def test_every_model_can_be_adopted(outside_data: Path, tmp_path: Path) -> None:
    """The copy gives the answers of the original, bit for bit, and other programs' files stay."""
    names = tmp_path / "labels.txt"
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (300, 400, 3), np.uint8)
    for model in sorted((outside_data / "models").glob("*.tflite")):
        if model.name == "person_detect.tflite":
            continue
        with edgecv.Runtime(model, preprocess="raw") as runtime:
            expected = runtime.scores(image)
        names.write_text("\n".join(f"class {i}" for i in range(expected.size)))
        copy = tmp_path / model.name
        run("adopt", model, "--labels", names, "--preprocess", "raw", "--out", copy)
        with edgecv.Runtime(copy) as runtime:
            assert runtime.info.check == "intact"
            assert np.array_equal(runtime.scores(image), expected)
            assert runtime.classify(image).top.label == f"class {expected.argmax()}"
