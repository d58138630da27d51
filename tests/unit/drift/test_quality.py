"""Picture statistics: known values, and what each is blind to."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from drift_parts import texture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from edgecv.drift.quality import QUALITY, quality
from edgecv.errors import InputError

Array = np.ndarray[Any, Any]


def scene(height: int = 96, width: int = 128, seed: int = 0) -> Array:
    """A textured picture, values far from the ends."""
    rng = np.random.default_rng(seed)
    gray = texture(height, width, rng)[..., None] * 25
    return np.clip(np.rint(120 + gray + rng.normal(0, 1, (height, width, 3))), 0, 255).astype(
        np.uint8
    )


def value(frame: Array, name: str) -> float:
    return float(quality(frame)[QUALITY.index(name)])


def test_a_flat_picture_by_hand() -> None:
    frame = np.empty((24, 40, 3), np.uint8)
    frame[:] = (120, 60, 90)
    found = dict(zip(QUALITY, quality(frame).tolist(), strict=True))
    luma = 0.299 * 120 + 0.587 * 60 + 0.114 * 90
    assert found["brightness"] == pytest.approx(luma / 255, rel=1e-5)
    assert found["contrast"] == pytest.approx(0, abs=1e-3)
    # nothing but the tenth of a level that keeps logarithms finite
    assert found["detail"] == pytest.approx(math.log(0.1), abs=1e-3)
    assert found["sharpness"] == pytest.approx(0, abs=1e-3)
    assert found["blockiness"] == pytest.approx(0, abs=1e-3)
    assert found["red"] == pytest.approx(60 / 91, rel=1e-5)
    assert found["blue"] == pytest.approx(30 / 91, rel=1e-5)
    assert found["saturation"] == pytest.approx(60 / 255, rel=1e-5)
    assert found["highlights"] == found["shadows"] == 0


def test_highlights_and_shadows_are_shares() -> None:
    frame = np.full((16, 16, 3), 128, np.uint8)
    frame[:4] = 255
    frame[4:6] = 0
    assert value(frame, "highlights") == pytest.approx(4 / 16)
    assert value(frame, "shadows") == pytest.approx(2 / 16)


@pytest.mark.parametrize("deviation", [4.0, 12.0])
def test_the_noise_is_the_noise_that_was_added(deviation: float) -> None:
    rng = np.random.default_rng(1)
    frame = np.clip(np.rint(rng.normal(128, deviation, (480, 640, 3))), 0, 255).astype(np.uint8)
    # independent channels: luma's deviation is the norm of its weights times as large
    expected = deviation * math.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    assert math.exp(value(frame, "noise")) == pytest.approx(expected, rel=0.06)


def test_an_edge_is_no_noise() -> None:
    frame = np.full((64, 64, 3), 60, np.uint8)
    frame[:, 30:] = 190
    assert math.exp(value(frame, "noise")) == pytest.approx(0.1, abs=0.01)
    assert value(frame, "detail") > 0


def test_blur_lowers_sharpness_and_gain_does_not() -> None:
    frame = scene()
    blurred = np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(2)))
    darker = (frame * 0.6).astype(np.uint8)
    assert value(blurred, "sharpness") < value(frame, "sharpness") - 0.2
    assert value(darker, "sharpness") == pytest.approx(value(frame, "sharpness"), abs=0.03)
    assert value(darker, "brightness") == pytest.approx(0.6 * value(frame, "brightness"), abs=0.01)


def test_jpeg_shows_in_blockiness_alone_of_lossless_neighbors() -> None:
    frame = scene()
    stored = io.BytesIO()
    Image.fromarray(frame).save(stored, "JPEG", quality=10)
    assert value(np.asarray(Image.open(stored)), "blockiness") > value(frame, "blockiness") + 0.3
    assert abs(value(frame, "blockiness")) < 0.15


def test_large_frames_are_read_at_full_resolution() -> None:
    # noise of single pixels would vanish in a thumbnail of 1080 lines
    rng = np.random.default_rng(3)
    frame = np.clip(rng.normal(128, 10, (1080, 1920, 3)), 0, 255).astype(np.uint8)
    assert math.exp(value(frame, "noise")) == pytest.approx(6.7, rel=0.1)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((7, 40, 3), np.uint8),
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((40, 40, 3), np.float32),
    ],
)
def test_what_is_no_frame_is_refused(frame: Array) -> None:
    with pytest.raises(InputError, match="cannot be measured"):
        quality(frame)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(8, 140),
    width=st.integers(8, 180),
    low=st.integers(0, 255),
    span=st.integers(0, 255),
    seed=st.integers(0, 99),
)
def test_every_frame_gives_finite_numbers(
    height: int, width: int, low: int, span: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frame = rng.integers(low, min(255, low + span) + 1, (height, width, 3)).astype(np.uint8)
    found = quality(frame)
    assert np.isfinite(found).all()
    assert 0 <= found[QUALITY.index("brightness")] <= 1.0001
    assert 0 <= found[QUALITY.index("contrast")] <= 0.51
