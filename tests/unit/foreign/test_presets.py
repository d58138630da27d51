"""What a caller may say of preprocessing, and what pixels become."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.artifact import Preprocess
from edgecv.errors import InputError
from edgecv.foreign.presets import PRESETS, read_argument
from edgecv.preprocess import to_input
from edgecv.spec import INPUT_QUANT, QuantParams, TensorSpec

H, W = 16, 16
PIXELS = np.arange(256, dtype=np.uint8).reshape(H, W, 1).repeat(3, axis=2)
UNIT = (1.0, 1.0, 1.0)


def spec(
    dtype: str = "float32", grid: QuantParams | None = None, layout: str = "NHWC"
) -> tuple[TensorSpec, ...]:
    shape = (1, H, W, 3) if layout == "NHWC" else (1, 3, H, W)
    return (TensorSpec("input", shape, dtype, layout, grid),)


def values(inputs: tuple[TensorSpec, ...], preprocess: Any) -> Any:
    """What the 256 grey levels become, [256, 3]."""
    made = to_input(PIXELS, inputs[0], read_argument(preprocess, inputs))[0]
    return made.reshape(256, 3) if inputs[0].shape[3] == 3 else made.reshape(3, 256).T


def test_values_of_a_float_input() -> None:
    x = np.arange(256)[:, np.newaxis].repeat(3, 1)
    assert np.array_equal(values(spec(), "raw"), x.astype(np.float32))
    assert np.array_equal(values(spec(), "unit"), x.astype(np.float32) / np.float32(255))
    assert np.allclose(values(spec(), "signed"), x / 127.5 - 1, atol=1e-6)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    assert np.allclose(values(spec(), "imagenet"), (x / 255 - mean) / std, atol=1e-6)
    assert np.array_equal(values(spec(layout="NCHW"), "raw"), x.astype(np.float32))


@pytest.mark.parametrize(
    "grid",
    [
        QuantParams(1.0, -128),
        QuantParams(0.0078125, 128, "uint8"),
        QuantParams(float(np.float32(0.018631115555763245)), -14),
        QuantParams(float(np.float32(1e-9)), 3, "uint8"),
        INPUT_QUANT,
    ],
    ids=lambda g: f"{g.dtype}-{g.scale:.4g}",
)
def test_raw_is_the_pixel_whatever_the_scale(grid: QuantParams) -> None:
    integers = values(spec(grid.dtype, grid), "raw")
    assert np.array_equal(
        integers.view(np.uint8) ^ (128 * (grid.dtype == "int8")), PIXELS.reshape(-1, 3)
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_an_8_bit_input_without_a_scale_takes_pixels_only(dtype: str) -> None:
    integers = values(spec(dtype), "raw")
    assert np.array_equal(
        integers.view(np.uint8) ^ (128 * (dtype == "int8")), PIXELS.reshape(-1, 3)
    )
    with pytest.raises(InputError, match=r"has no scale, so real values \('signed'\)"):
        read_argument("signed", spec(dtype))


def test_the_size_is_the_inputs_and_nothing_is_cropped() -> None:
    for preset in PRESETS:
        made = read_argument(preset, (TensorSpec("x", (1, 3, 40, 48), "float32"),))
        assert replace(made, mean=(0, 0, 0), std=UNIT) == Preprocess((40, 48), mean=(0, 0, 0))


def test_a_file_with_some_fields(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"color": "bgr", "crop_fraction": 0.875, "resize": "stretch"}))
    assert read_argument(path, spec()) == Preprocess((H, W), "stretch", 0.875, color="bgr")
    path.write_text(json.dumps({"preset": "signed", "interpolation": "bilinear"}))
    assert read_argument(str(path), spec()) == Preprocess(
        (H, W), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    path.write_text(json.dumps({"preset": "imagenet", "mean": [0, 0, 0], "size": [H, W]}))
    assert read_argument(path, spec()) == Preprocess((H, W), std=(0.229, 0.224, 0.225))


def test_a_preset_in_a_file_knows_the_inputs_grid(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"preset": "raw", "color": "bgr"}))
    image = np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)
    [tensor] = inputs = spec("int8", QuantParams(0.0078125, 9))
    made = to_input(image, tensor, read_argument(path, inputs))
    assert np.array_equal(made[0].view(np.uint8) ^ 0x80, image[..., ::-1])


def test_a_preprocess_object_is_checked_too() -> None:
    given = Preprocess((H, W), mean=(0.1, 0.2, 0.3), color="bgr")
    assert read_argument(given, spec()) == given
    with pytest.raises(
        InputError, match=r"size is \[8, 8\], and the input 'input' takes \[16, 16\]"
    ):
        read_argument(Preprocess((8, 8)), spec())
    with pytest.raises(InputError, match="resize is 'letterbox', not one of shortest, stretch"):
        read_argument(Preprocess((H, W), resize="letterbox"), spec())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"colour": "bgr"}', r"the field 'colour' is unknown.*Fields: size, resize"),
        ('{"crop_fraction": 0}', r"crop_fraction is 0, not a number in \(0, 1\]"),
        ('{"crop_fraction": 1e999}', "crop_fraction is inf"),
        ('{"std": [1, 0, 1]}', "std is .*, not three positive numbers"),
        ('{"std": [1, NaN, 1]}', "std is"),
        ('{"mean": 0.5}', "mean is 0.5, not a list"),
        ('{"size": [224, 224]}', r"size is \[224, 224\], and the input"),
        ('{"interpolation": "lanczos"}', "interpolation is 'lanczos'"),
        ('{"preset": "caffe"}', "preset is 'caffe', not one of raw, unit"),
        ('{"preset": "raw", "mean": [0, 0, 0], "std": [1, 1, 1]}', "preset gives mean and std"),
        ('{"mean": [104, 117, 123], "std": [1, 1, 1]}', r"units of a grey level.*0\.407843"),
        ("[]", "holds list, not an object"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_argument(path, spec())
    assert "p.json" in str(caught.value)


def test_an_unknown_name_is_no_missing_file() -> None:
    with pytest.raises(InputError, match=r"preprocessing 'imagnet' is unknown.*'raw', 'unit'"):
        read_argument("imagnet", spec())
    with pytest.raises(InputError, match="no such file"):
        read_argument("none.json", spec())
    with pytest.raises(InputError, match="preprocess is int"):
        read_argument(3, spec())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "0 inputs"),
        ((*spec(), *spec()), "2 inputs"),
        ((TensorSpec("x", (1, 28, 28, 1), "float32"),), "takes no color picture"),
        ((TensorSpec("x", (1, 3, 8, 3), "float32"),), "takes no color picture"),
        ((TensorSpec("x", (1, 128), "float32"),), "takes no color picture"),
        ((TensorSpec("x", (1, 3, -1, -1), "float32"),), "takes no color picture"),
        ((TensorSpec("x", (1, 8, 8, 3), "int64"),), "of int64 takes no picture"),
        (spec("uint8", QuantParams(float(np.float32(1e-40)), 0, "uint8")), "which no picture has"),
    ],
)
def test_inputs_that_take_no_picture(inputs: tuple[TensorSpec, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_argument("raw", inputs)
