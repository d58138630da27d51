"""TFLite Metadata made by others: labels, normalization, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import foreign_files as foreign
import numpy as np
import pytest
import tiny_models

from edgecv.artifact import ModelFile, Preprocess, read
from edgecv.foreign import Reading, resolve
from edgecv.spec import QuantParams

SIZE = (tiny_models.HEIGHT, tiny_models.WIDTH)
LABELS = [("labels.txt", 2, "")]
HALF = (0.5, 0.5, 0.5)


def made(
    members: dict[str, Any] | None = None, *, packed: bool = False, **metadata: Any
) -> ModelFile:
    body = foreign.with_metadata(tiny_models.tflite("float32"), foreign.metadata(**metadata))
    return foreign.file_of(foreign.with_archive(body, members, packed=packed) if members else body)


def read_it(file: ModelFile, dtype: str = "float32", grid: QuantParams | None = None) -> Reading:
    return resolve(
        file, foreign.picture_spec(dtype=dtype, quantization=grid), foreign.scores_spec()
    )


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
def test_labels_come_from_the_attached_file(packed: bool) -> None:
    file = made({"labels.txt": foreign.labels_text()}, packed=packed, label_files=LABELS)
    assert file.state == "unsigned"
    reading = read_it(file)
    assert (reading.labels, reading.labels_from) == (foreign.NAMES, "TFLite metadata")
    assert reading.preprocess is None
    assert reading.notes == ()


def test_the_list_without_a_locale_is_taken() -> None:
    files = [("de.txt", 2, "de"), ("about.txt", 1, ""), ("en.txt", 2, "")]
    members = {
        "de.txt": foreign.labels_text(("Katze", "Hai", "Hund")),
        "about.txt": "a model\n",
        "en.txt": foreign.labels_text(),
    }
    assert read_it(made(members, label_files=files)).labels == foreign.NAMES


@pytest.mark.parametrize(
    ("unit", "mean", "std"),
    [
        (([127.5], [127.5]), HALF, HALF),
        (([0.0], [1.0]), (0.0, 0.0, 0.0), (1 / 255,) * 3),
        (([102.0, 51.0, 25.5], [51.0, 25.5, 12.75]), (0.4, 0.2, 0.1), (0.2, 0.1, 0.05)),
    ],
)
def test_normalization_in_grey_levels(unit: Any, mean: Any, std: Any) -> None:
    reading = read_it(made(units=[(1, unit)], image=True))
    assert reading.preprocess_from == "TFLite metadata"
    # stretched and bilinear, as Task Library and MediaPipe do
    assert reading.preprocess == Preprocess(SIZE, "stretch", 1.0, "bilinear", "rgb", mean, std)


def test_int8_inputs_are_normalized_and_uint8_inputs_take_pixels() -> None:
    file = made(units=[(1, ([127.5], [127.5]))], image=True)
    signed = read_it(file, "int8", QuantParams(0.0078125, -1)).preprocess
    assert signed is not None
    assert (signed.mean, signed.std) == (HALF, HALF)
    raw = read_it(file, "uint8", QuantParams(0.0078125, 128, "uint8")).preprocess
    assert raw is not None
    assert (raw.mean, raw.std) == ((128 / 255,) * 3, (1 / (255 * 0.0078125),) * 3)
    only_image = read_it(made(image=True), "uint8", QuantParams(0.5, 0, "uint8"))
    assert only_image.preprocess_from == "TFLite metadata"


def test_without_normalization_nothing_is_said_of_other_inputs() -> None:
    for dtype, grid in (("float32", None), ("int8", QuantParams(0.0078125, -1))):
        assert read_it(made(image=True), dtype, grid).preprocess is None
    assert read_it(made(), "uint8", QuantParams(0.5, 0, "uint8")).preprocess is None


@pytest.mark.parametrize(
    ("members", "metadata", "note"),
    [
        (None, {"label_files": LABELS}, "names 'labels.txt', which is not attached"),
        ({"labels.txt": "a\nb\n"}, {"label_files": LABELS}, "2 labels for a model with 3 classes"),
        ({"labels.txt": "a\n\nb\n"}, {"label_files": LABELS}, "empty line 2"),
        (None, {"units": [(1, ([1.0, 2.0], [1.0]))]}, r"normalization has \[1.0, 2.0\]"),
        (None, {"units": [(1, ([1.0], [0.0]))]}, "divides by"),
        (None, {"units": [(1, ([float("nan")], [1.0]))]}, "normalization has"),
        (None, {"units": [(1, ([], []))]}, "normalization has"),
        (None, {"units": [(3, 0.5)]}, r"process units of types \[3\]"),
        (None, {"units": [(1, ([1.0], [1.0]))] * 2}, "process units of types"),
        (None, {"identifier": b"M999"}, "identifier M001 is missing"),
    ],
)
def test_what_does_not_fit_is_not_used_and_said(members: Any, metadata: Any, note: str) -> None:
    reading = read_it(made(members, **metadata))
    assert (reading.labels, reading.preprocess) == ((), None)
    [said] = reading.notes
    assert said.startswith("its TFLite metadata is not used: ")
    assert re.search(note, said)


def test_wrong_labels_do_not_hide_the_normalization() -> None:
    members = {"labels.txt": "a\n"}
    reading = read_it(made(members, label_files=LABELS, units=[(1, ([127.5], [127.5]))]))
    assert reading.labels == ()
    assert reading.preprocess is not None
    assert len(reading.notes) == 1


def test_several_outputs_name_no_classes() -> None:
    file = made({"labels.txt": foreign.labels_text()}, label_files=LABELS, outputs=2)
    assert read_it(file).labels == ()


def test_files_that_others_made(outside_data: Path) -> None:
    """Google's Coral files carry a label list and no normalization: their uint8 inputs take pixels."""
    for name in ("mobilenet_v2_1.0_224_quant", "tf2_mobilenet_v2_1.0_224_ptq"):
        file = read(outside_data / "models" / f"{name}.tflite")
        grid = QuantParams(float(np.float32(1 / 128)), 128, "uint8")
        inputs = foreign.picture_spec(dtype="uint8", quantization=grid)
        reading = resolve(file, inputs, foreign.scores_spec(1001))
        assert len(reading.labels) == 1001
        assert reading.labels[:2] == ("background", "tench, Tinca tinca")
        assert reading.score_kind == "probability"
        assert reading.labels_from == reading.preprocess_from == "TFLite metadata"
