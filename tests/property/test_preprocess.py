"""Preprocessing over random geometries and grids: places, shapes, and integers equal to the float path."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgecv.artifact import Preprocess
from edgecv.preprocess import MODES, apply, prepare, to_input, window
from edgecv.spec import QuantParams, TensorSpec, dequantize

Pixels = np.ndarray[Any, Any]
#: Where a spot may appear elsewhere than it should, in pixels of the result.
TOLERANCE = 0.05

sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))
targets = st.tuples(st.integers(1, 48), st.integers(1, 48))
preprocesses = st.builds(
    Preprocess,
    size=targets,
    resize=st.sampled_from(["shortest", "stretch"]),
    crop_fraction=st.sampled_from([1.0, 0.95, 0.875, 0.5]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
)


def spot(height: int, width: int, y: float, x: float, sigmas: tuple[float, float]) -> Pixels:
    """A bright spot on black; *y* and *x* count from the picture's corner."""
    rows = np.exp(-0.5 * ((np.arange(height) + 0.5 - y) / sigmas[0]) ** 2)
    columns = np.exp(-0.5 * ((np.arange(width) + 0.5 - x) / sigmas[1]) ** 2)
    gray = np.rint(250 * np.outer(rows, columns)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def centroid(pixels: Pixels) -> tuple[float, float]:
    # what is faint is rounding, compression and ringing
    values = np.where(pixels[..., 0] > 12, pixels[..., 0], 0).astype(float)
    rows, columns = (np.arange(length) + 0.5 for length in values.shape)
    total = values.sum()
    return float(values.sum(1) @ rows / total), float(values.sum(0) @ columns / total)


def seen_elsewhere(
    mode: str, height: int, width: int, preprocess: Preprocess, place: tuple[float, float]
) -> tuple[float, float]:
    """How far from where it belongs a spot appears, as pixels and from a JPEG file."""
    part = window(height, width, preprocess)
    factors = (height / part.resized[0], width / part.resized[1])
    assume(min(factors) > 0.7)  # a spot of less than two pixels has no exact place
    wanted = [12 + share * (side - 24) for share, side in zip(place, preprocess.size, strict=True)]
    y, x = (
        (offset + at) * factor
        for offset, at, factor in zip((part.top, part.left), wanted, factors, strict=True)
    )
    pixels = spot(height, width, y, x, (3 * factors[0], 3 * factors[1]))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=98)
    errors = []
    for source in (pixels, stream.getvalue()):
        found = centroid(prepare(source, preprocess, mode=mode))
        errors.append(max(abs(a - b) for a, b in zip(found, wanted, strict=True)))
    return errors[0], errors[1]


@pytest.mark.parametrize("mode", MODES)
@given(
    height=st.integers(24, 420),
    width=st.integers(24, 420),
    side=st.integers(32, 64),
    resize=st.sampled_from(["shortest", "stretch"]),
    crop_fraction=st.sampled_from([1.0, 0.95, 0.875, 0.5]),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_shifted(
    mode: str,
    height: int,
    width: int,
    side: int,
    resize: str,
    crop_fraction: float,
    place: tuple[float, float],
) -> None:
    preprocess = Preprocess((side, side + 3), resize, crop_fraction)
    errors = seen_elsewhere(mode, height, width, preprocess, place)
    assert max(errors) < TOLERANCE


@pytest.mark.parametrize("mode", MODES)
def test_a_shift_of_half_a_pixel_would_be_noticed(mode: str) -> None:
    """At the largest factor of the property, half a source pixel is still beyond the tolerance."""
    preprocess = Preprocess((32, 32), crop_fraction=0.875)
    pixels = spot(420, 420, 200.0, 210.0, (36.0, 36.0))
    moved = spot(420, 420, 200.5, 210.5, (36.0, 36.0))
    still, other = (centroid(apply(p, preprocess, mode=mode)) for p in (pixels, moved))
    assert max(other[0] - still[0], other[1] - still[1]) > 0.03


@given(size=sizes, preprocess=preprocesses, mode=st.sampled_from(MODES), bgr=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_picture_fits_any_model(
    size: tuple[int, int], preprocess: Preprocess, mode: str, bgr: bool
) -> None:
    frame = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)
    got = apply(frame, preprocess, mode=mode)
    assert got.shape == (*preprocess.size, 3)
    assert got.dtype == np.uint8
    if bgr:
        again = prepare(frame[..., ::-1], preprocess, color="bgr", mode=mode)
    else:
        again = apply(Image.fromarray(frame), preprocess, mode=mode)
    assert np.array_equal(again, got)


# --- integers -----------------------------------------------------------------------------------

scales = st.one_of(
    st.floats(2.0**-20, 1024.0, width=32),
    st.sampled_from([1 / 255, 1 / 128, 1 / 127.5, 0.0186584, 1.0, 2.0**-20, 2.0**-7]),
)
triples = st.tuples(*[st.floats(-1.0, 1.0, width=32)] * 3)
divisors = st.tuples(*[st.floats(2.0**-8, 8.0, width=32)] * 3)
every_value = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)


@given(
    scale=scales,
    zero_point=st.integers(-128, 127),
    dtype=st.sampled_from(["int8", "uint8"]),
    layout=st.sampled_from(["NHWC", "NCHW"]),
    color=st.sampled_from(["rgb", "bgr"]),
    mean=st.one_of(st.just((0.0, 0.0, 0.0)), triples),
    std=st.one_of(st.just((1.0, 1.0, 1.0)), st.just((1 / 255,) * 3), divisors),
)
@settings(max_examples=300, deadline=None)
def test_integers_are_the_rounded_float_input(
    scale: float,
    zero_point: int,
    dtype: str,
    layout: str,
    color: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> None:
    """Bit for bit: round half to even, never truncate, saturate; every pixel value in every channel."""
    shift = 0 if dtype == "int8" else 128
    grid = QuantParams(float(np.float32(scale)), zero_point + shift, dtype)
    preprocess = Preprocess((256, 1), color=color, mean=mean, std=std)
    shape = (1, 256, 1, 3) if layout == "NHWC" else (1, 3, 256, 1)
    real = to_input(every_value, TensorSpec("x", shape, "float32", layout), preprocess)
    got = to_input(every_value, TensorSpec("x", shape, dtype, layout, grid), preprocess)
    assert (got.shape, got.dtype) == (shape, np.dtype(dtype))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for value, integer in zip(real.reshape(-1), got.reshape(-1), strict=True):
        # Python's round is half to even, and its integers have no end
        steps = round(float(np.float32(value) / np.float32(grid.scale))) + grid.zero_point
        assert int(integer) == min(max(steps, low), high)


@given(scale=scales, zero_point=st.integers(-128, 127), mean=triples, std=divisors)
@settings(max_examples=100, deadline=None)
def test_no_integer_is_more_than_half_a_step_off(
    scale: float,
    zero_point: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> None:
    """What truncation would break: its mean error is half a step, its largest a whole one."""
    grid = QuantParams(float(np.float32(scale)), zero_point)
    preprocess = Preprocess((256, 1), mean=mean, std=std)
    spec = TensorSpec("x", (1, 256, 1, 3), "int8", "NHWC", grid)
    integers = to_input(every_value, spec, preprocess)
    inside = (integers > -128) & (integers < 127)
    assume(inside.any())
    exact = (every_value[None] / 255.0 - np.float64(mean)) / np.float64(std)
    error = np.abs(dequantize(integers, grid).astype(np.float64) - exact)[inside]
    # float32: rounding of the value itself, and of the steps
    slack = 1e-6 * (np.abs(exact[inside]) + 1 / min(std)) + 2.0**-16 * grid.scale
    assert (error <= grid.scale / 2 + slack).all()
