"""Who says what: the argument, the manifest, other metadata; and what is said when nobody does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import foreign_files as foreign
import numpy as np
import pytest
import tiny_models
from PIL import Image

import edgecv
from edgecv.artifact import ModelFile, Preprocess, seal
from edgecv.errors import InputError
from edgecv.foreign import Reading, complaint, resolve
from edgecv.foreign.suggest import suggest
from edgecv.spec import QuantParams, TensorSpec

SIZE = (tiny_models.HEIGHT, tiny_models.WIDTH)
KEYS = {"model_info labels": "a b c", "model_info scale_values": "255"}


def sealed(labels: tuple[str, ...], preprocess: Preprocess | None) -> ModelFile:
    """ONNX with metadata of others and a manifest that says this."""
    manifest = replace(
        tiny_models.manifest("onnx", "float32"),
        labels=labels,
        preprocess=preprocess,
        score_kind="probability",
    )
    return foreign.file_of(seal("onnx", foreign.onnx_with(KEYS), None, manifest))


def read_it(file: ModelFile, **arguments: object) -> Reading:
    return resolve(file, foreign.picture_spec("onnx"), foreign.scores_spec(), **arguments)  # type: ignore[arg-type]


def test_the_argument_counts_most_then_the_manifest_then_others() -> None:
    whole = sealed(("x", "y", "z"), Preprocess(SIZE))
    assert read_it(whole) == Reading(
        ("x", "y", "z"), Preprocess(SIZE), "probability", "manifest", "manifest"
    )
    given = read_it(whole, labels=["1", "2", "3"], preprocess="signed")
    assert (given.labels, given.labels_from) == (("1", "2", "3"), "argument")
    assert given.preprocess == Preprocess(SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert (given.preprocess_from, given.score_kind) == ("argument", "probability")
    half = read_it(sealed(("x", "y", "z"), None))
    assert (half.labels_from, half.preprocess_from) == ("manifest", "ONNX metadata")
    empty = read_it(sealed((), None))
    assert (empty.labels, empty.labels_from) == (("a", "b", "c"), "ONNX metadata")
    # a manifest that names no classes does not know what the scores are; the graph does
    assert empty.score_kind == "logit"


def test_each_is_asked_for_what_is_missing_only() -> None:
    """Damaged metadata does not matter to a caller who says everything."""
    file = foreign.file_of(foreign.onnx_with({"names": "nonsense"}))
    assert read_it(file).notes
    assert read_it(file, labels=["a", "b", "c"], preprocess="unit").notes == ()


def test_nobody_says_anything() -> None:
    file = foreign.file_of(tiny_models.onnx_model())
    assert read_it(file) == Reading((), None, "logit", "", "")


def test_a_whole_manifest_costs_no_import() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/helpers')\n"
        "import tiny_models\n"
        "from edgecv.artifact import read, seal\n"
        "from edgecv.foreign import resolve\n"
        "m = tiny_models.manifest('onnx', 'float32')\n"
        "file = read(seal('onnx', tiny_models.onnx_model(), None, m))\n"
        "before = set(sys.modules)\n"
        "assert resolve(file, m.inputs, m.outputs).labels_from == 'manifest'\n"
        "assert set(sys.modules) == before, set(sys.modules) - before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def spec(dtype: str, grid: QuantParams | None = None) -> tuple[TensorSpec, ...]:
    return (TensorSpec("x", (1, 16, 16, 3), dtype, "NHWC", grid),)


def grid(low: float, high: float, dtype: str) -> QuantParams:
    """The grid of *dtype* over a range of real values."""
    scale = float(np.float32((high - low) / 255))
    zero = round(-low / scale) - (128 if dtype == "int8" else 0)
    return QuantParams(scale, zero, dtype)


@pytest.mark.parametrize(
    ("inputs", "presets"),
    [
        (spec("float32"), ()),
        (spec("uint8"), ("raw",)),
        (spec("int8", grid(0, 255, "int8")), ("raw",)),
        (spec("int8", grid(0, 1, "int8")), ("unit", "raw")),
        (spec("uint8", grid(0, 1, "uint8")), ("raw", "unit")),
        (spec("int8", grid(-1, 1, "int8")), ("signed", "raw")),
        (spec("uint8", QuantParams(0.0078125, 128, "uint8")), ("raw", "signed")),
        (spec("int8", grid(0, 1.015, "int8")), ("unit",)),
        (spec("int8", QuantParams(float(np.float32(0.018631115555763245)), -14)), ("imagenet",)),
        (spec("int8", grid(-3, 9, "int8")), ()),
    ],
)
def test_what_the_grid_suggests(inputs: tuple[TensorSpec, ...], presets: tuple[str, ...]) -> None:
    found = suggest(inputs)
    assert found.presets == presets
    assert ("suggests nothing" in found.reason or "none of the usual" in found.reason) == (
        not presets
    )


def test_the_complaint_has_whole_commands() -> None:
    what, cure = complaint(Path("my models/t.tflite"), spec("int8", grid(-1, 1, "int8")))
    assert "spans -0.996 to 1, which suggests pixels / 127.5 - 1 ('signed')" in what
    options = "--labels labels.txt --preprocess signed"
    assert f"edgecv predict 'my models/t.tflite' IMAGE {options}" in cure
    assert f"edgecv adopt 'my models/t.tflite' {options} --out adopted.tflite" in cure
    call = "edgecv.Runtime('my models/t.tflite', labels='labels.txt', preprocess='signed')"
    assert call in cure


def test_the_complaint_does_not_ask_for_what_is_known() -> None:
    known = Reading(("a",), None, "", "manifest", "", ("its X is not used: odd",))
    what, cure = complaint(None, spec("float32"), known)
    assert "--labels" not in cure
    assert "labels=" not in cure
    assert "--preprocess X" in cure
    assert what.endswith("(its X is not used: odd)")
    assert complaint(None, (*spec("int8"), *spec("int8")))[0].startswith("the model has 2 inputs")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("kind", ["tflite", "onnx", "openvino"])
def test_runtime_takes_labels_and_preprocess(kind: str, picture: Path, tmp_path: Path) -> None:
    source: bytes | tuple[bytes, bytes] = {
        "tflite": lambda: tiny_models.tflite("float32"),
        "onnx": tiny_models.onnx_model,
        "openvino": tiny_models.openvino,
    }[kind]()
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\nshark\ndog\n")
    with edgecv.Runtime(source) as bare:
        assert (bare.info.labels_from, bare.info.preprocess_from) == ("", "")
        with pytest.raises(InputError, match="what the model's classes are called"):
            bare.classify(picture)
        with pytest.raises(InputError, match=r"nobody says how a picture becomes .*edgecv adopt"):
            bare.scores(picture)
    with edgecv.Runtime(source, labels=labels, preprocess="unit") as runtime:
        info = runtime.info
        assert (info.labels_from, info.preprocess_from) == ("argument", "argument")
        assert info.score_kind == "logit"
        answer = runtime.classify(picture, top_k=3)
    assert {p.label for p in answer.predictions} == {"cat", "shark", "dog"}
    assert sum(p.score for p in answer.predictions) == pytest.approx(1)
    with (
        edgecv.Runtime(source, preprocess="raw") as raw,
        edgecv.Runtime(source, preprocess="unit") as unit,
    ):
        assert not np.allclose(raw.scores(picture), unit.scores(picture))


def test_runtime_says_what_is_wrong_with_an_argument(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 labels for a model with 3 classes"):
        edgecv.Runtime(tiny_models.onnx_model(), labels=["a", "b"])
    with pytest.raises(InputError, match="preprocessing 'imagnet' is unknown"):
        edgecv.Runtime(tiny_models.onnx_model(), preprocess="imagnet")
    with pytest.raises(InputError, match="2 inputs"):
        edgecv.Runtime(tiny_models.onnx_add(), preprocess="unit")
    # and a model without pictures still runs arrays
    ones = np.ones((1, 4), np.float32)
    assert edgecv.Runtime(tiny_models.onnx_add()).infer({"a": ones, "b": ones})["sum"].sum() == 8
