"""Pixels to input tensors: every dtype and layout, tables equal to the float path bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.artifact import Preprocess
from edgecv.errors import InputError
from edgecv.preprocess import to_input
from edgecv.spec import INPUT_QUANT, QuantParams, TensorSpec, quantize

Pixels = np.ndarray[Any, Any]
H, W = 5, 7
RAW = Preprocess((H, W))
IMAGENET = Preprocess((H, W), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
#: Grids of strangers: [-1, 1], [0, 1] rounded otherwise, ImageNet's range, a narrow one that saturates.
GRIDS = [
    QuantParams(float(np.float32(1 / 128)), 128, "uint8"),
    QuantParams(float(np.float32(1 / 127.5)), -1, "int8"),
    QuantParams(float(np.float32(0.0186584)), 114, "uint8"),
    QuantParams(float(np.float32(0.001)), 0, "int8"),
    INPUT_QUANT,
    INPUT_QUANT.as_dtype("uint8"),
]


def every_pixel_value() -> Pixels:
    """Pictures [k, H, W, 3] that hold every value in every channel."""
    rng = np.random.default_rng(1)
    values = np.concatenate([np.arange(256), rng.integers(0, 256, 24)]).astype(np.uint8)
    return np.stack([rng.permutation(values) for _ in range(3)], 1).reshape(-1, H, W, 3)


def spec(dtype: str, layout: str, quantization: QuantParams | None = None) -> TensorSpec:
    shape = (1, H, W, 3) if layout == "NHWC" else (1, 3, H, W)
    return TensorSpec("input", shape, dtype, layout, quantization)


def real(image: Pixels, preprocess: Preprocess) -> Pixels:
    """The definition, step by step in float32: [H, W, 3]."""
    value = image.astype(np.float32) / np.float32(255)
    value = value - np.array(preprocess.mean, np.float32)
    result: Pixels = value / np.array(preprocess.std, np.float32)
    return result


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("preprocess", [RAW, IMAGENET])
def test_float_input(layout: str, preprocess: Preprocess) -> None:
    for image in every_pixel_value():
        expected = real(image, preprocess)[None]
        got = to_input(image, spec("float32", layout), preprocess)
        if layout == "NCHW":
            expected = expected.transpose(0, 3, 1, 2)
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        assert got.tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("preprocess", [RAW, IMAGENET])
@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.dtype}-{g.scale:.4g}")
def test_tables_equal_the_float_path(
    layout: str, preprocess: Preprocess, grid: QuantParams
) -> None:
    for image in every_pixel_value():
        expected = quantize(real(image, preprocess), grid)[None]
        got = to_input(image, spec(grid.dtype, layout, grid), preprocess)
        if layout == "NCHW":
            expected = expected.transpose(0, 3, 1, 2)
        assert got.dtype == np.dtype(grid.dtype)
        assert got.flags.c_contiguous
        assert np.array_equal(got, expected)


def test_own_files_flip_the_sign_bit() -> None:
    image = every_pixel_value()[0]
    got = to_input(image, spec("int8", "NHWC", INPUT_QUANT), RAW)
    assert np.array_equal(got[0].view(np.uint8), image ^ 0x80)
    same = to_input(image, spec("uint8", "NHWC", INPUT_QUANT.as_dtype("uint8")), RAW)
    assert np.array_equal(same[0], image)


def test_channel_order() -> None:
    image = every_pixel_value()[0]
    bgr = Preprocess((H, W), color="bgr", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    got = to_input(image, spec("float32", "NHWC"), bgr)
    # mean and std belong to the model's channels: the first is blue here
    assert np.array_equal(got[0], real(image[..., ::-1], bgr))
    int8 = to_input(image, spec("int8", "NHWC", INPUT_QUANT), Preprocess((H, W), color="bgr"))
    assert np.array_equal(int8[0].view(np.uint8), image[..., ::-1] ^ 0x80)


def test_the_layout_is_read_from_the_shape() -> None:
    image = every_pixel_value()[0]
    nhwc = to_input(image, TensorSpec("x", (1, H, W, 3), "float32"), RAW)
    nchw = to_input(image, TensorSpec("x", (1, 3, H, W), "float32"), RAW)
    assert np.array_equal(nhwc.transpose(0, 3, 1, 2), nchw)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_grey_levels_are_exact(layout: str) -> None:
    levels = (1 / 255,) * 3
    caffe = Preprocess((H, W), color="bgr", mean=(104 / 255, 117 / 255, 123 / 255), std=levels)
    for image in every_pixel_value():
        for preprocess, expected in (
            (Preprocess((H, W), std=levels), image.astype(np.float32)),
            (caffe, image[..., ::-1].astype(np.float32) - np.float32([104, 117, 123])),
        ):
            got = to_input(image, spec("float32", layout), preprocess)
            assert got.flags.c_contiguous
            got = got if layout == "NHWC" else got.transpose(0, 2, 3, 1)
            assert np.array_equal(got[0], expected)


def test_integers_without_a_grid_are_pixels() -> None:
    image, raw = every_pixel_value()[0], Preprocess((H, W), std=(1 / 255,) * 3)
    assert np.array_equal(to_input(image, spec("uint8", "NHWC"), raw)[0], image)
    flipped = to_input(image, spec("int8", "NHWC"), raw)
    assert np.array_equal(flipped[0].view(np.uint8), image ^ 0x80)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorSpec("x", (1, 8, 8, 3), "float32"), r"picture of 5x7 does not fit the input 'x'"),
        (TensorSpec("x", (1, W, H, 3), "float32"), "does not fit"),
        (TensorSpec("x", (1, 3, 9, 3), "float32"), "layout unknown"),
        (TensorSpec("x", (1, H, W, 1), "float32"), "layout unknown"),
        (TensorSpec("x", (3, H, W), "float32"), "layout unknown"),
        (TensorSpec("x", (1, H, W, 3), "uint8"), "does not say how"),
        (TensorSpec("x", (1, H, W, 3), "int32"), "does not say how"),
    ],
)
def test_inputs_that_pixels_cannot_fill(tensor: TensorSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_input(every_pixel_value()[0], tensor, RAW)
