"""``model_info`` of openvino-model-api, in IR and in ONNX, and what Ultralytics writes."""

from __future__ import annotations

import re
from typing import Any

import foreign_files as foreign
import pytest
import tiny_models

from edgecv.artifact import ModelFile, Preprocess
from edgecv.foreign import Reading, resolve

SIZE = (tiny_models.HEIGHT, tiny_models.WIDTH)
LABELS = {"labels": "cat great_white_shark dog", "model_type": "Classification"}


def read_it(file: ModelFile) -> Reading:
    kind = "tflite" if file.kind == "tflite" else "onnx"
    return resolve(file, foreign.picture_spec(kind), foreign.scores_spec())


def with_info(kind: str, info: dict[str, str]) -> Reading:
    if kind == "openvino":
        return read_it(foreign.file_of(foreign.ir_with(info)))
    entries = {f"model_info {key}": value for key, value in info.items()}
    return read_it(foreign.file_of(foreign.onnx_with(entries)))


KINDS = pytest.mark.parametrize(
    ("kind", "source"), [("openvino", "OpenVINO model_info"), ("onnx", "ONNX metadata")]
)


@KINDS
def test_labels_and_preprocessing(kind: str, source: str) -> None:
    info = LABELS | {
        "mean_values": "51 102 25.5",
        "scale_values": "25.5",
        "reverse_input_channels": "YES",
        "resize_type": "crop",
    }
    reading = with_info(kind, info)
    assert reading.labels == ("cat", "great_white_shark", "dog")
    assert reading.preprocess == Preprocess(
        SIZE, "shortest", 1.0, "bilinear", "rgb", (0.2, 0.4, 0.1), (0.1, 0.1, 0.1)
    )
    assert (reading.labels_from, reading.preprocess_from) == (source, source)
    assert reading.score_kind == "logit"
    assert reading.notes == ()


@KINDS
def test_defaults_are_those_of_its_reader(kind: str, source: str) -> None:
    """OpenCV's channel order, grey levels, a stretched picture."""
    reading = with_info(kind, LABELS | {"mean_values": "104 117 123"})
    mean = (104 / 255, 117 / 255, 123 / 255)
    assert reading.preprocess == Preprocess(
        SIZE, "stretch", 1.0, "bilinear", "bgr", mean, (1 / 255,) * 3
    )


@KINDS
def test_labels_alone_say_nothing_of_pixels(kind: str, source: str) -> None:
    reading = with_info(kind, LABELS)
    assert len(reading.labels) == 3
    assert (reading.preprocess, reading.preprocess_from) == (None, "")


def test_signs_of_xml_in_labels() -> None:
    reading = with_info("openvino", {"labels": 'a>b "c"&<d> é'})
    assert reading.labels == ("a>b", '"c"&<d>', "é")


@KINDS
@pytest.mark.parametrize(
    ("info", "note"),
    [
        ({"labels": "a b"}, "2 labels for a model with 3 classes"),
        ({"mean_values": "1 2"}, "mean_values are '1 2'"),
        ({"mean_values": "a b c"}, "mean_values are 'a b c'"),
        ({"mean_values": "nan"}, "mean_values are 'nan'"),
        ({"scale_values": "0"}, "scale_values are"),
        ({"resize_type": "fit_to_window_letterbox"}, "resize_type is 'fit_to_window_letterbox'"),
        ({"scale_values": "255", "embedded_processing": "True"}, "part of the graph"),
        ({"scale_values": "255", "model_type": "ssd"}, "model_type is 'ssd', no classifier"),
    ],
)
def test_what_does_not_fit_is_not_used_and_said(
    kind: str, source: str, info: dict[str, str], note: str
) -> None:
    reading = with_info(kind, info)
    assert (reading.labels, reading.preprocess) == ((), None)
    [said] = reading.notes
    assert said.startswith(f"its {source} is not used: ")
    assert re.search(note, said)


def onnx_keys(**changes: Any) -> dict[str, str]:
    """In ONNX every value is its repr, texts apart."""
    keys = foreign.ultralytics_keys(**changes)
    return {key: str(value) for key, value in keys.items()}


def test_ultralytics_in_onnx() -> None:
    reading = read_it(
        foreign.file_of(foreign.onnx_with(onnx_keys(names=("it's", 'a "b"', "c\\d"))))
    )
    assert reading.labels == ("it's", 'a "b"', "c\\d")
    assert reading.preprocess == Preprocess(SIZE, interpolation="bilinear")
    assert reading.labels_from == reading.preprocess_from == "Ultralytics metadata"


@pytest.mark.parametrize("packed", [True, False])
def test_ultralytics_in_tflite(packed: bool) -> None:
    members = {"metadata.json": foreign.ultralytics_json()}
    data = foreign.with_archive(tiny_models.tflite("float32"), members, packed=packed)
    reading = read_it(foreign.file_of(data))
    assert reading.labels == foreign.NAMES
    assert reading.preprocess == Preprocess(SIZE, interpolation="bilinear")
    assert reading.labels_from == reading.preprocess_from == "Ultralytics metadata"


def test_ultralytics_through_openvino() -> None:
    """Its exporter sets a model type of its own and Python's values, and no resize type."""
    info: dict[str, Any] = {
        "model_type": "YOLO",
        "reverse_input_channels": True,
        "pad_value": 114,
        "scale_values": [255.0],
        "iou_threshold": 0.7,
        "labels": ["cat", "great_white_shark", "dog"],
    }
    reading = read_it(foreign.file_of(foreign.ir_with(info)))
    assert reading.labels == ("cat", "great_white_shark", "dog")
    assert reading.preprocess == Preprocess(SIZE, interpolation="bilinear")
    detector = read_it(
        foreign.file_of(foreign.ir_with(info | {"resize_type": "fit_to_window_letterbox"}))
    )
    assert detector.preprocess is None


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"task": "detect"}, "its task is 'detect', not 'classify'"),
        ({"names": ("a",)}, "1 labels for a model with 3 classes"),
        ({"imgsz": [640, 640]}, r"imgsz is \[640, 640\], and the input takes \[8, 6\]"),
        ({"imgsz": 640}, "imgsz is"),
    ],
)
def test_ultralytics_that_does_not_fit(changes: dict[str, Any], note: str) -> None:
    in_onnx = foreign.file_of(foreign.onnx_with(onnx_keys(**changes)))
    members = {"metadata.json": foreign.ultralytics_json(**changes)}
    in_tflite = foreign.file_of(foreign.with_archive(tiny_models.tflite("float32"), members))
    for file in (in_onnx, in_tflite):
        notes = read_it(file).notes
        assert len(notes) == 1
        assert re.search(note, notes[0])


@pytest.mark.parametrize(
    "names",
    ["", "{", "{0: 'a'", "{0: a}", "__import__('os')", "{0: 'a', 1: f()}", "{'a': 0}", "[]"],
)
def test_damaged_names_are_said_and_never_evaluated(names: str) -> None:
    keys = onnx_keys() | {"names": names}
    reading = read_it(foreign.file_of(foreign.onnx_with(keys)))
    assert reading.labels == ()
    assert "Ultralytics metadata is damaged" in reading.notes[0]


@pytest.mark.parametrize("text", ["{", "[" * 50_000, '{"names": 3, "task": "classify"}', "\xff"])
def test_damaged_json_is_said(text: str) -> None:
    members = {"metadata.json": text.encode("latin-1")}
    data = foreign.with_archive(tiny_models.tflite("float32"), members)
    assert "Ultralytics metadata is damaged" in read_it(foreign.file_of(data)).notes[0]


def test_model_info_goes_before_ultralytics() -> None:
    entries = onnx_keys() | {"model_info labels": "x y z"}
    reading = read_it(foreign.file_of(foreign.onnx_with(entries)))
    assert (reading.labels, reading.labels_from) == (("x", "y", "z"), "ONNX metadata")
    assert reading.preprocess_from == "Ultralytics metadata"
