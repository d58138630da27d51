"""``edgecv adopt`` and the options of other commands, over every kind of file."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

import foreign_files as foreign
import numpy as np
import pytest
import tiny_models
from click.testing import CliRunner, Result
from PIL import Image

import edgecv
from edgecv.artifact import Preprocess, read
from edgecv.cli import cli
from edgecv.errors import EdgecvError

LABELS = ("cat", "great white shark", "dog")
SIZE = (tiny_models.HEIGHT, tiny_models.WIDTH)
SUFFIX = {"tflite": ".tflite", "onnx": ".onnx", "openvino": ".xml"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> str:
    """Message of a command that fails with an error of edgecv."""
    error = run(*arguments).exception
    assert isinstance(error, EdgecvError), error
    return str(error)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "labels.txt").write_text(foreign.labels_text())
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    (tmp_path / "t.tflite").write_bytes(tiny_models.tflite("int8"))
    (tmp_path / "t.onnx").write_bytes(tiny_models.onnx_model("int8"))
    xml, weights = tiny_models.openvino("float32")
    (tmp_path / "t.xml").write_bytes(xml)
    (tmp_path / "t.bin").write_bytes(weights)
    return tmp_path


def adopt(folder: Path, kind: str, *more: object, name: str = "new") -> Result:
    return run(
        "adopt", folder / f"t{SUFFIX[kind]}", "--labels", folder / "labels.txt",
        "--preprocess", "unit", "--out", folder / f"{name}{SUFFIX[kind]}", *more,
    )  # fmt: skip


@pytest.mark.parametrize("kind", SUFFIX)
def test_the_copy_runs_like_one_of_our_own(folder: Path, kind: str) -> None:
    source, copy = folder / f"t{SUFFIX[kind]}", folder / f"new{SUFFIX[kind]}"
    before = source.read_bytes()
    result = adopt(folder, kind)
    assert result.exit_code == 0, result.exception
    assert "3: cat; great white shark; dog (from: argument)" in result.output
    assert source.read_bytes() == before
    file = read(copy)
    assert file.state == "intact"
    assert file.manifest is not None
    assert file.manifest.labels == LABELS
    assert file.manifest.preprocess == Preprocess(SIZE)
    assert file.manifest.score_kind == "logit"
    assert file.manifest.precision == ("float32" if kind == "openvino" else "int8")
    assert set(file.manifest.tools) == {"edgecv"}
    assert sorted(path.name for path in folder.glob(".*")) == []
    with (
        edgecv.Runtime(copy) as adopted,
        edgecv.Runtime(source, labels=LABELS, preprocess="unit") as told,
    ):
        assert adopted.info.labels_from == adopted.info.preprocess_from == "manifest"
        picture = folder / "picture.png"
        assert np.array_equal(adopted.scores(picture), told.scores(picture))
        answers = [r.classify(picture).predictions for r in (adopted, told)]
        assert answers[0] == answers[1]


def test_nothing_is_replaced_unasked(folder: Path) -> None:
    assert adopt(folder, "openvino").exit_code == 0
    (folder / "new.xml").unlink()
    assert "new.bin' exists. Use --overwrite" in str(adopt(folder, "openvino").exception)
    assert not (folder / "new.xml").exists()
    assert adopt(folder, "openvino", "--overwrite").exit_code == 0
    assert adopt(folder, "tflite", name="t").exit_code != 0
    assert adopt(folder, "tflite", "--overwrite", name="t").exit_code == 0
    assert read(folder / "t.tflite").state == "intact"


def test_an_adopted_file_can_be_corrected(folder: Path) -> None:
    adopt(folder, "tflite")
    (folder / "other.txt").write_text("x\ny\nz\n")
    result = run(
        "adopt", folder / "new.tflite", "--labels", folder / "other.txt", "--score-kind", "probability",
        "--out", folder / "newer.tflite",
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    file = read(folder / "newer.tflite")
    assert file.manifest is not None
    assert file.manifest.labels == ("x", "y", "z")
    assert file.manifest.preprocess == Preprocess(SIZE)
    assert file.manifest.score_kind == "probability"
    assert file.members["labels.txt"] == b"x\ny\nz\n"
    assert file.identity == read(folder / "t.tflite").identity


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_others_attached_stay(folder: Path, packed: bool) -> None:
    body = foreign.with_metadata(
        tiny_models.tflite("float32"),
        foreign.metadata(label_files=[("names.txt", 2, "")], units=[(1, ([0.0], [255.0]))]),
    )
    members = {"names.txt": foreign.labels_text(), "metadata.json": foreign.ultralytics_json()}
    (folder / "t.tflite").write_bytes(foreign.with_archive(body, members, packed=packed))
    # nothing is given: everything comes from the file's own metadata
    assert run("adopt", folder / "t.tflite", "--out", folder / "new.tflite").exit_code == 0
    new = read(folder / "new.tflite")
    assert new.manifest is not None
    assert new.manifest.labels == LABELS
    with zipfile.ZipFile(folder / "new.tflite") as archive:
        assert archive.read("metadata.json").decode() == members["metadata.json"]
        assert archive.read("names.txt").decode() == members["names.txt"]
    # labels of the caller's replace those that other programs read
    (folder / "other.txt").write_text("x\ny\nz\n")
    done = run(
        "adopt", folder / "t.tflite", "--labels", folder / "other.txt", "--out", folder / "o.tflite"
    )
    assert done.exit_code == 0, done.exception
    with zipfile.ZipFile(BytesIO((folder / "o.tflite").read_bytes())) as archive:
        assert archive.read("names.txt") == archive.read("labels.txt") == b"x\ny\nz\n"


def test_refusals(folder: Path) -> None:
    model, out = folder / "t.tflite", folder / "new.tflite"
    labels = ("--labels", folder / "labels.txt")
    assert "suggests pixels / 255 ('unit')" in refusal("adopt", model, *labels, "--out", out)
    told = ("--preprocess", "unit", "--out")
    assert "Add --labels FILE" in refusal("adopt", model, *told, out)
    assert "does not end in .tflite" in refusal("adopt", model, *labels, *told, folder / "new.onnx")
    assert "folder" in refusal("adopt", model, *labels, *told, folder / "none" / "new.tflite")
    (folder / "odd.tflite").write_bytes(
        foreign.with_archive(tiny_models.tflite("int8"), {"my labels.txt": "a\n"})
    )
    message = refusal("adopt", folder / "odd.tflite", *labels, *told, out)
    assert "has 'my labels.txt' attached" in message
    assert not out.exists()
    assert sorted(path.name for path in folder.glob(".*")) == []


def test_what_the_graph_does_not_tell_has_to_be_said(folder: Path) -> None:
    import onnx

    model = onnx.load(folder / "t.onnx")
    model.graph.node.append(onnx.helper.make_node("Relu", ["logits"], ["last"]))
    model.graph.output[0].name = "last"
    onnx.save(model, folder / "t.onnx")
    assert "Add --score-kind" in str(adopt(folder, "onnx").exception)
    assert adopt(folder, "onnx", "--score-kind", "logit").exit_code == 0


def test_predict_and_info_take_the_same_options(folder: Path) -> None:
    options = ("--labels", folder / "labels.txt", "--preprocess", "unit")
    shown = run("predict", folder / "t.tflite", folder / "picture.png", *options)
    assert shown.exit_code == 0, shown.exception
    assert "great white shark" in shown.output
    bare = run("info", folder / "t.tflite")
    assert "labels    nobody says; give --labels FILE" in bare.output
    assert "suggests pixels / 255 ('unit')" in bare.output
    assert (
        f"edgecv adopt {folder / 't.tflite'} --labels labels.txt --preprocess unit" in bare.output
    )
    told = run("info", folder / "t.tflite", *options)
    assert "3: cat; great white shark; dog (from: argument)" in told.output
    record = json.loads(run("info", folder / "t.tflite", "--json").output)
    assert record["preprocess"] is None
    assert "edgecv predict" in record["suggestion"]
    record = json.loads(run("info", folder / "t.tflite", "--json", *options).output)
    assert record["preprocess"]["size"] == list(SIZE)
    assert "suggestion" not in record


def test_evaluate_takes_them_and_a_label_map(folder: Path) -> None:
    rng = np.random.default_rng(2)
    for name in ("felis", "shark"):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (12, 14, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{i}.png")
    (folder / "map.csv").write_text("folder,label\nfelis,cat\nshark,great white shark\n")
    common = ("evaluate", folder / "t.tflite", "--data", folder / "pictures", "--backend", "litert")
    labels, told = ("--labels", folder / "labels.txt"), ("--preprocess", "unit")
    assert "Add --labels FILE" in refusal(*common)
    assert "nobody says how a picture becomes" in refusal(
        *common, *labels, "--label-map", folder / "map.csv"
    )
    assert "class 'felis' of the folder 'felis'" in refusal(*common, *labels, *told)
    (folder / "part.json").write_text('{"felis": 0}')
    assert "lacks 1 of 2 folders: 'shark'" in refusal(
        *common, *labels, *told, "--label-map", folder / "part.json"
    )
    result = run(
        *common, *labels, *told, "--label-map", folder / "map.csv", "--json", folder / "r.json"
    )
    assert result.exit_code == 0, result.exception
    [model] = json.loads((folder / "r.json").read_text())["models"]
    with edgecv.Runtime(folder / "t.tflite", labels=LABELS, preprocess="unit") as runtime:
        answers = {
            path: runtime.classify(path).top.label for path in sorted(folder.glob("pictures/*/*"))
        }
    truth = {"felis": "cat", "shark": "great white shark"}
    right = sum(truth[path.parent.name] == label for path, label in answers.items())
    assert model["top1"]["value"] == right / 8
