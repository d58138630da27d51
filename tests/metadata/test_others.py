"""Other programs open our files and name the classes: MediaPipe, Ultralytics, OpenVINO, model-api.

They need the extra ``others`` in an environment of its own: ``pip install -e '.[convert-verify,others]'
pytest``, then ``pytest tests/metadata``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import OnnxModel
from PIL import Image

from edgecv import artifact
from edgecv.conversion import convert
from edgecv.runtime import Runtime
from edgecv.spec import TensorSpec

# warnings of others are theirs
pytestmark = [pytest.mark.others, pytest.mark.filterwarnings("default")]

MENDING = Path(__file__).parents[2] / "edgecv" / "models" / "torchvision_schemas.py"
LABELS = ("great white shark", "ant", "garbage truck, dustcart")
COLORS = {"red": 0, "green": 1, "blue": 2}
SIZE = 32
#: File → arguments of the conversion.
FILES = {
    "float.tflite": {},
    "int8.tflite": {},
    "uint8.tflite": {"io": "uint8"},
    "int8.xml": {"target": "openvino"},
    "float.xml": {"target": "openvino"},
    "int8.onnx": {"target": "onnx"},
    "float.onnx": {"target": "onnx"},
}
TFLITE = [name for name in FILES if name.endswith("tflite")]
OTHERS = [name for name in FILES if not name.endswith("tflite")]


def color_net(quantized: bool) -> bytes:
    """Logits: how much of red, green and blue there is, less the mean of all three."""
    grid = {"input": (float(np.float32(1 / 255)), -128), "logits": (float(np.float32(0.02)), 0)}
    model = OnnxModel()
    x = model.input("input", (1, 3, SIZE, SIZE), grid["input"] if quantized else None)
    mixing = 3 * np.eye(3, dtype=np.float32) - 1
    if quantized:
        scale = np.full(3, 2 / 127, np.float32)
        integers = np.rint(mixing / scale[0]).astype(np.int8)
        conv = model.weight("mix.weight", integers.reshape(3, 3, 1, 1), scale, 0)
        bias = model.weight("mix.bias", np.zeros(3, np.int32), scale * np.float32(1 / 255), 0)
    else:
        conv = model.constant("mix.weight", mixing.reshape(3, 3, 1, 1))
        bias = model.constant("mix.bias", np.zeros(3, np.float32))
    y = model.op("Conv", [x, conv, bias], "mix", grid["logits"] if quantized else None)
    y = model.op("GlobalAveragePool", [y], "pool", grid["logits"] if quantized else None)
    y = model.op("Flatten", [y], "logits", axis=1)
    return model.output(y).bytes()


def manifest(quantized: bool) -> artifact.Manifest:
    return artifact.Manifest(
        labels=LABELS,
        preprocess=artifact.Preprocess(size=(SIZE, SIZE), resize="stretch"),
        inputs=(TensorSpec("input", (1, 3, SIZE, SIZE), "float32", "NCHW"),),
        outputs=(TensorSpec("logits", (1, 3), "float32", "NC"),),
        precision="int8" if quantized else "float32",
    )


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of :data:`FILES`, as ``edgecv convert`` writes them."""
    folder = tmp_path_factory.mktemp("others")
    sources = {}
    for kind in ("float", "int8"):
        quantized = kind == "int8"
        sources[kind] = folder / f"source-{kind}.onnx"
        body = color_net(quantized)
        sources[kind].write_bytes(artifact.seal("onnx", body, None, manifest(quantized)))
    for name, arguments in FILES.items():
        source = sources["float" if name.startswith("float") else "int8"]
        made = convert(source, out=folder / "made", overwrite=True, **arguments)
        final = folder / name
        made.path.rename(final)
        if final.suffix == ".xml":
            made.path.with_suffix(".bin").rename(final.with_suffix(".bin"))
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One mostly red, one mostly green, one mostly blue picture: a color swap would show."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = {}
    for color, channel in COLORS.items():
        pixels = rng.integers(0, 60, (64, 64, 3))
        pixels[..., channel] += 150
        paths[color] = folder / f"{color}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(paths[color])
    return paths


def our_scores(path: Path, picture: Path) -> Any:
    with Runtime(path) as runtime:
        return runtime.scores(picture)


class TestMediaPipe:
    @pytest.mark.parametrize("name", ["float.tflite", "uint8.tflite"])
    @pytest.mark.parametrize("color", COLORS)
    def test_it_names_the_class(
        self, files: Path, pictures: dict[str, Path], name: str, color: str
    ) -> None:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.ImageClassifierOptions(
            base_options=BaseOptions(model_asset_path=str(files / name)), max_results=3
        )
        with vision.ImageClassifier.create_from_options(options) as classifier:
            image = mediapipe.Image.create_from_file(str(pictures[color]))
            found = classifier.classify(image).classifications[0].categories
        best = found[0]
        assert (best.index, best.category_name) == (COLORS[color], LABELS[COLORS[color]])
        assert {c.category_name for c in found} == set(LABELS)
        # mean and std in the metadata are right: the numbers are ours, up to its own resizing
        ours = our_scores(files / name, pictures[color])
        assert [c.score for c in sorted(found, key=lambda c: c.index)] == pytest.approx(
            ours.tolist(), abs=0.05
        )

    def test_it_refuses_an_int8_input(self, files: Path) -> None:
        """Why ``--io uint8`` is there."""
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.ImageClassifierOptions(
            base_options=BaseOptions(model_asset_path=str(files / "int8.tflite"))
        )
        with pytest.raises(ValueError, match="INT8"):
            vision.ImageClassifier.create_from_options(options)


@pytest.fixture(scope="session")
def torchvision() -> Iterator[None]:
    """torchvision beside a CPU build of torch, mended without edgecv's training side (and timm)."""
    spec = importlib.util.spec_from_file_location("mended", MENDING)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ensure_torchvision_schemas()
    yield
    # the operators live as long as the module
    del module


@pytest.mark.usefixtures("torchvision")
class TestUltralytics:
    @pytest.mark.parametrize("name", ["float.tflite", "int8.tflite", "float.onnx", "int8.onnx"])
    @pytest.mark.parametrize("color", COLORS)
    def test_it_names_the_class(
        self, files: Path, pictures: dict[str, Path], name: str, color: str
    ) -> None:
        from ultralytics import YOLO

        model = YOLO(files / name, task="classify")
        [result] = model.predict(str(pictures[color]), imgsz=SIZE, device="cpu", verbose=False)
        assert result.names == dict(enumerate(LABELS))
        assert result.names[result.probs.top1] == LABELS[COLORS[color]]
        ours = our_scores(files / name, pictures[color])
        # it cuts integers off instead of rounding them
        assert result.probs.data.tolist() == pytest.approx(ours.tolist(), abs=0.05)


class TestOpenVINO:
    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("color", COLORS)
    def test_it_reads_every_file(
        self, files: Path, pictures: dict[str, Path], name: str, color: str
    ) -> None:
        """By path, as any program would; layout and type are the file's."""
        import openvino

        pixels = np.asarray(Image.open(pictures[color]).resize((SIZE, SIZE)))[None]
        compiled = openvino.Core().compile_model(files / name, "CPU")
        [port] = compiled.inputs
        kind = port.get_element_type().to_dtype()
        x = pixels / np.float32(255) if kind == np.float32 else pixels
        x = (pixels ^ 0x80).view(np.int8) if kind == np.int8 else x
        x = x.transpose(0, 3, 1, 2) if port.shape[1] == 3 else x
        [answer] = compiled(np.ascontiguousarray(x)).to_tuple()
        assert int(answer.argmax()) == COLORS[color]


class TestModelApi:
    @pytest.mark.parametrize("name", OTHERS)
    @pytest.mark.parametrize("color", COLORS)
    def test_it_names_the_class(
        self, files: Path, pictures: dict[str, Path], name: str, color: str
    ) -> None:
        from model_api.models import Model

        model = Model.create_model(str(files / name), device="CPU")
        self.check(model, pictures[color], COLORS[color])

    @pytest.mark.parametrize("name", ["float.onnx", "int8.onnx"])
    def test_through_onnx_runtime(self, files: Path, pictures: dict[str, Path], name: str) -> None:
        from model_api.adapters import ONNXRuntimeAdapter
        from model_api.models import ClassificationModel

        model = ClassificationModel(ONNXRuntimeAdapter(str(files / name)), preload=True)
        for color, index in COLORS.items():
            self.check(model, pictures[color], index)

    def check(self, model: Any, picture: Path, index: int) -> None:
        # as OpenCV reads a picture
        bgr = np.asarray(Image.open(picture))[..., ::-1].copy()
        top = model(bgr).top_labels[0]
        assert (top.id, top.name) == (index, LABELS[index].replace(" ", "_"))


def test_they_do_not_mind_a_drift_profile(
    files: Path, pictures: dict[str, Path], tmp_path: Path
) -> None:
    """The manifest may change later; what others read stays where it is."""
    path = tmp_path / "later.tflite"
    path.write_bytes((files / "float.tflite").read_bytes())
    artifact.update(path, lambda m: replace(m, drift_profile={"reference": [0.5]}))
    # in a process of its own: MediaPipe dies of metadata that it does not like
    code = (
        "import sys, mediapipe\n"
        "from mediapipe.tasks.python import BaseOptions, vision\n"
        "options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))\n"
        "image = mediapipe.Image.create_from_file(sys.argv[2])\n"
        "with vision.ImageClassifier.create_from_options(options) as classifier:\n"
        "    print(classifier.classify(image).classifications[0].categories[0].category_name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, pictures["blue"]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "garbage truck, dustcart"
