"""What source and artifact are given: pictures as the manifest says, or seeded numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import OnnxModel, small_resnet
from PIL import Image

from edgecv.artifact import Manifest, Preprocess
from edgecv.errors import InputError
from edgecv.verify.options import VerifyOptions
from edgecv.verify.samples import make_samples, synthetic_picture

MANIFEST = Manifest(("a", "b"), Preprocess((20, 16)), (), (), "int8")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten pictures of one gray each, 0 to 225, in two folders."""
    for number in range(10):
        folder = tmp_path / ("first" if number < 5 else "second")
        folder.mkdir(exist_ok=True)
        gray = np.full((40, 30, 3), 25 * number, np.uint8)
        Image.fromarray(gray).save(folder / f"{number}.png")
    return tmp_path


def test_synthetic_pictures_are_seeded_and_differ() -> None:
    source = small_resnet().bytes()
    first = make_samples(source, None, VerifyOptions())
    again = make_samples(source, None, VerifyOptions())
    other = make_samples(source, None, VerifyOptions(seed=1))
    assert (first.data, len(first.arrays), first.notes) == ("synthetic", 8, ())
    for one, two, three in zip(first.arrays, again.arrays, other.arrays, strict=True):
        assert np.array_equal(one["input"], two["input"])
        assert not np.array_equal(one["input"], three["input"])
        assert (one["input"].shape, one["input"].dtype) == ((1, 3, 20, 16), np.float32)
        # the input's quantizer holds [0, 1]
        assert one["input"].min() >= 0
        assert one["input"].max() <= 1 + 1e-6
        assert one["input"].std() > 0.05


def test_a_synthetic_picture_is_smooth_and_not_flat() -> None:
    picture = synthetic_picture((64, 48), np.random.default_rng(0)).astype(float)
    assert picture.shape == (64, 48, 3)
    neighbors = np.abs(np.diff(picture, axis=1)).mean()
    assert 0 < neighbors < picture.std() / 2
    assert synthetic_picture((1, 1), np.random.default_rng(0)).shape == (1, 1, 3)


def test_synthetic_values_fill_the_range_of_the_quantizer() -> None:
    model = OnnxModel()
    x = model.input("x", (1, 3, 24, 24), (0.02, 10))
    source = model.output(model.op("Relu", [x], "y", (0.02, -128))).bytes()
    values = np.concatenate([s["x"] for s in make_samples(source, None, VerifyOptions()).arrays])
    low, high = (-128 - 10) * 0.02, (127 - 10) * 0.02
    assert values.min() >= low - 1e-5
    assert values.max() <= high + 1e-5
    assert values.max() - values.min() > 0.8 * (high - low)
    # but a manifest knows better
    plain = make_samples(
        source, replace(MANIFEST, preprocess=Preprocess((24, 24))), VerifyOptions()
    )
    assert all(s["x"].min() >= 0 and s["x"].max() <= 1 for s in plain.arrays)


def test_pictures_are_spread_evenly(pictures: Path) -> None:
    source = small_resnet().bytes()
    made = make_samples(source, MANIFEST, VerifyOptions(data=pictures, pictures=4))
    assert (made.data, made.notes) == ("pictures", ())
    grays = [round(float(sample["input"].mean()) * 255) for sample in made.arrays]
    assert grays == [0, 75, 150, 225]
    every = make_samples(source, MANIFEST, VerifyOptions(data=pictures))
    assert len(every.arrays) == 10


def test_the_manifest_says_how(pictures: Path) -> None:
    preprocess = Preprocess((20, 16), color="bgr", mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    Image.fromarray(np.full((20, 16, 3), (255, 0, 51), np.uint8)).save(pictures / "0.png")
    made = make_samples(
        small_resnet().bytes(),
        replace(MANIFEST, preprocess=preprocess),
        VerifyOptions(data=pictures),
    )
    channels = made.arrays[0]["input"][0, :, 0, 0]
    assert channels.tolist() == pytest.approx([(0.2 - 0.5) / 0.25, -1.0, 0.5])


def test_without_a_manifest_that_is_said(pictures: Path) -> None:
    made = make_samples(small_resnet().bytes(), None, VerifyOptions(data=pictures))
    (note,) = made.notes
    assert "stretched to 20x16, RGB, values in [0, 1]" in note


def test_a_batch_is_filled_up(pictures: Path) -> None:
    source = small_resnet(batch=4).bytes()
    made = make_samples(source, MANIFEST, VerifyOptions(data=pictures))
    assert [sample["input"].shape for sample in made.arrays] == [(4, 3, 20, 16)] * 3
    assert np.array_equal(made.arrays[2]["input"][2:], made.arrays[0]["input"][:2])


def other_inputs() -> bytes:
    model = OnnxModel()
    a = model.input("a", (1, 6), (0.1, 20))
    b = model.input("b", (1, 6))
    for name, kind in (("c", TensorProto.UINT8), ("d", TensorProto.INT64)):
        model.inputs.append(helper.make_tensor_value_info(name, kind, (1, 6)))
    return model.output(model.op("Add", [a, b], "y", (0.2, 0)), (1, 6)).bytes(check=False)


def test_other_inputs_get_seeded_numbers() -> None:
    made = make_samples(other_inputs(), None, VerifyOptions(synthetic=50))
    stacked = {name: np.stack([s[name] for s in made.arrays]) for name in ("a", "b", "c", "d")}
    assert stacked["a"].min() == pytest.approx(-14.8, abs=0.5)
    assert stacked["a"].max() == pytest.approx(10.7, abs=0.5)
    assert 0 <= stacked["b"].min() < 0.1 < 0.9 < stacked["b"].max() <= 1
    assert (stacked["c"].dtype, stacked["d"].dtype) == (np.uint8, np.int64)
    assert stacked["c"].max() > 200
    assert set(stacked["d"].ravel().tolist()) == {0, 1}


def test_pictures_for_other_inputs_are_refused(pictures: Path) -> None:
    with pytest.raises(InputError, match=r"'a' float32 \[1, 6\].*Leave --verify-data out"):
        make_samples(other_inputs(), None, VerifyOptions(data=pictures))


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="no pictures"):
        make_samples(small_resnet().bytes(), None, VerifyOptions(data=tmp_path))
