"""Equal to timm's eval transform within one grey level, on every geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from edgecv.artifact import Preprocess
from edgecv.errors import InputError
from edgecv.models.torchvision_schemas import import_timm
from edgecv.preprocess import apply, load_rgb, prepare, window

Pixels = np.ndarray[Any, Any]

#: Height and width of pictures: landscape, portrait, smaller than any crop, extreme.
SIZES = [
    (720, 1280),
    (500, 333),
    (301, 97),
    (224, 224),
    (37, 53),
    (17, 9),
    (1, 5),
    (9, 1),
    (64, 200),
]
TARGETS = [(224, 224), (48, 40), (33, 47), (32, 64)]


def noise(height: int, width: int) -> Pixels:
    """Full-range noise: bicubic overshoots and clips everywhere."""
    rng = np.random.default_rng(height * 10_000 + width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_timm(image: Image.Image, preprocess: Preprocess) -> Pixels:
    import_timm()
    from timm.data import create_transform

    transform = create_transform(
        input_size=(3, *preprocess.size),
        is_training=False,
        interpolation=preprocess.interpolation,
        crop_pct=preprocess.crop_fraction,
        crop_mode="squash" if preprocess.resize == "stretch" else "center",
        normalize=False,
    )
    pixels: Pixels = transform(image).permute(1, 2, 0).numpy()
    return pixels


def deviation(a: Pixels, b: Pixels) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("resize", ["shortest", "stretch"])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.95, 0.875, 0.5])
def test_noise_of_every_shape(interpolation: str, resize: str, crop_fraction: float) -> None:
    limit = 0 if interpolation == "nearest" else 1
    for size in TARGETS:
        preprocess = Preprocess(size, resize, crop_fraction, interpolation)
        for height, width in SIZES:
            pixels = noise(height, width)
            expected = by_timm(Image.fromarray(pixels), preprocess)
            where = f"{height}x{width} to {size}"
            assert deviation(apply(pixels, preprocess), expected) <= limit, where
            assert deviation(apply(Image.fromarray(pixels), preprocess), expected) <= limit, where


def test_photographs(outside_data: Path) -> None:
    paths = sorted((outside_data / "datasets" / "imagenette10" / "val").glob("*/*.*"))[::83]
    paths += sorted((outside_data / "images").glob("*.bmp"))
    assert len(paths) >= 12
    for size in ((224, 224), (128, 96)):
        preprocess = Preprocess(size, crop_fraction=0.875)
        for path in paths:
            expected = by_timm(Image.open(path).convert("RGB"), preprocess)
            assert deviation(prepare(path, preprocess), expected) <= 1, path
            assert deviation(prepare(str(path), preprocess), expected) <= 1, path
            assert deviation(apply(load_rgb(path), preprocess), expected) <= 1, path


def test_the_order_of_passes_is_pillows() -> None:
    """Where bicubic clips, the order shows; geometries on both sides of Pillow's rule."""
    from edgecv.preprocess.resize import _vertical_first

    seen = set()
    rng = np.random.default_rng(3)
    for _ in range(400):
        height, width, h, w = (int(v) for v in np.exp(rng.uniform(np.log(8), np.log(150), 4)))
        image = Image.fromarray(noise(height, width))
        whole = np.asarray(image.resize((w, h), Image.Resampling.BICUBIC))
        first = (width, h) if _vertical_first((height, width), (h, w)) else (w, height)
        steps = image.resize(first, Image.Resampling.BICUBIC)
        steps = steps.resize((w, h), Image.Resampling.BICUBIC)
        assert np.array_equal(whole, np.asarray(steps)), (height, width, h, w, PIL.__version__)
        seen.add(first == (width, h))
    assert True in seen or int(PIL.__version__.split(".")[0]) < 13


def test_a_wrong_crop_is_noticed() -> None:
    """The comparison can fail: four pixels off is far beyond one level."""
    pixels, preprocess = noise(300, 300), Preprocess((64, 64), crop_fraction=0.875)
    moved = np.roll(pixels, 4 * 300 // 73, axis=1)
    assert deviation(apply(moved, preprocess), apply(pixels, preprocess)) > 50


def test_known_windows() -> None:
    assert window(300, 400, Preprocess((224, 224), crop_fraction=0.875)).resized == (256, 341)
    assert window(400, 300, Preprocess((224, 224), crop_fraction=0.9)).resized == (330, 248)
    assert window(100, 100, Preprocess((48, 40))).resized == (48, 48)
    stretched = window(100, 300, Preprocess((48, 40), "stretch", 0.8))
    assert (stretched.resized, stretched.top, stretched.left) == ((60, 50), 6, 5)


def test_views_and_channel_order() -> None:
    preprocess = Preprocess((32, 24), crop_fraction=0.9)
    frame = noise(90, 120)
    expected = apply(frame, preprocess)
    assert np.array_equal(apply(np.asfortranarray(frame), preprocess), expected)
    assert np.array_equal(prepare(frame[..., ::-1], preprocess, color="bgr"), expected)
    assert np.array_equal(apply(load_rgb(frame[..., ::-1], color="bgr"), preprocess), expected)
    twice = np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1)
    assert np.array_equal(apply(twice[::2, ::2], preprocess), expected)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_arrays_are_refused(image: Pixels) -> None:
    with pytest.raises(InputError, match="is not a picture"):
        apply(image, Preprocess((4, 4)))


def test_other_modes_are_refused() -> None:
    with pytest.raises(InputError, match="not an RGB picture"):
        apply(Image.new("L", (4, 4)), Preprocess((4, 4)))
