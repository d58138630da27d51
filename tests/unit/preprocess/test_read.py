"""Reading pictures of every kind, and what is said of those that are none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecv.errors import InputError
from edgecv.preprocess import load_rgb, open_picture, read

Pixels = np.ndarray[Any, Any]


def gradient(height: int = 30, width: int = 40) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 6, y * 8, (x + y) * 3], axis=2).astype(np.uint8)


def encoded(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    pixels = gradient()
    image = Image.fromarray(pixels)
    path = tmp_path / "picture.png"
    image.save(path)
    for source in (pixels, image, path, str(path), path.read_bytes()):
        assert np.array_equal(load_rgb(source), pixels)
    assert load_rgb(pixels) is pixels


def test_orientation_tags_are_not_applied(tmp_path: Path) -> None:
    """As timm: ``Image.open(path).convert("RGB")``."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(gradient()).save(path, exif=exif)
    assert load_rgb(path).shape == (30, 40, 3)
    assert np.array_equal(load_rgb(path), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "YCbCr"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.fromarray(gradient())
    source = image.convert("L").convert(mode) if mode == "LA" else image.convert(mode)
    assert np.array_equal(load_rgb(source), np.asarray(source.convert("RGB")))


@pytest.mark.parametrize(
    "options",
    [{"subsampling": s, "quality": q} for s in (0, 1, 2) for q in (30, 95)]
    + [{"progressive": True}, {"optimize": True}],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_pixels_are_pillows(options: dict[str, Any], mode: str) -> None:
    """Whichever decoder did it; odd sizes, so that subsampling has an edge."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        noise = Image.fromarray(rng.integers(0, 256, (12, 17, 3), dtype=np.uint8))
        data = encoded(noise.resize((61, 43)).convert(mode), format="JPEG", **options)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        for _ in range(2):
            assert np.array_equal(load_rgb(data), expected)


def test_a_decoder_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        calls = 0

        @staticmethod
        def decode_jpeg_header(data: bytes) -> tuple[int, int, str, str]:
            return 30, 40, "YCbCr", "a subsampling of its own"

        @classmethod
        def decode_jpeg(cls, data: bytes, **_: Any) -> Pixels:
            cls.calls += 1
            return np.zeros((30, 40, 3), np.uint8)

    monkeypatch.setattr(read, "_simplejpeg", lambda: Other)
    monkeypatch.setattr(read, "_same_as_pillow", {})
    data = encoded(Image.fromarray(gradient()), format="JPEG")
    expected = np.asarray(Image.open(io.BytesIO(data)))
    for _ in range(3):
        assert np.array_equal(load_rgb(data), expected)
    assert Other.calls == 1


def test_a_decoder_that_gives_pillows_pixels_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """simplejpeg, from the second picture of a kind on; Pillow then decodes none."""
    monkeypatch.setattr(read, "_same_as_pillow", {})
    data = encoded(Image.fromarray(gradient()), format="JPEG")
    expected = load_rgb(data)
    assert read._same_as_pillow == {("YCbCr", "420"): True}

    def refuse(*_: Any) -> None:
        raise AssertionError("Pillow decoded it")

    monkeypatch.setattr(read, "open_picture", refuse)
    assert np.array_equal(load_rgb(data), expected)
    with pytest.raises(AssertionError, match="Pillow decoded it"):
        load_rgb(encoded(Image.fromarray(gradient()), format="JPEG", subsampling=0))


def test_without_the_faster_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "_simplejpeg", lambda: None)
    data = encoded(Image.fromarray(gradient()), format="JPEG")
    assert np.array_equal(load_rgb(data), np.asarray(Image.open(io.BytesIO(data))))


def test_photographs_decode_alike(outside_data: Path) -> None:
    paths = sorted((outside_data / "datasets" / "imagenette10" / "test").glob("*/*.*"))[::50]
    assert len(paths) >= 20
    for path in paths:
        assert np.array_equal(load_rgb(path), np.asarray(Image.open(path).convert("RGB"))), path


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.png' cannot be read: No such file"):
        load_rgb(tmp_path / "no.png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"this is text", "of no picture format"),
        (encoded(Image.effect_noise((40, 30), 90), format="PNG")[:600], "not a readable picture"),
        (encoded(Image.fromarray(gradient()), format="JPEG")[:300], "not a readable picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "of no picture format"),
    ],
)
def test_unreadable(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason) as error:
        load_rgb(path)
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match="the picture is not"):
        load_rgb(data)


def test_a_picture_too_large_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    for format_name in ("PNG", "JPEG"):
        data = encoded(Image.fromarray(gradient()), format=format_name)
        with pytest.raises(InputError, match="exceeds limit"):
            open_picture(data, "'big'")
        with pytest.raises(InputError, match="exceeds limit"):
            load_rgb(data)


@pytest.mark.parametrize("source", [3, None, [1, 2], {"a": 1}])
def test_what_is_no_picture(source: Any) -> None:
    with pytest.raises(InputError, match="is not a picture"):
        load_rgb(source)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (1, 4, 4, 3), (0, 4, 3)])
def test_arrays_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="is not a picture"):
        load_rgb(np.zeros(shape, np.uint8))


def test_arrays_of_other_dtypes() -> None:
    with pytest.raises(InputError, match=r"float64 \[4, 4, 3\] is not a picture"):
        load_rgb(np.zeros((4, 4, 3)))


def test_color_order() -> None:
    pixels = gradient()
    assert np.array_equal(load_rgb(pixels, color="bgr"), pixels[..., ::-1])
    with pytest.raises(InputError, match="is for arrays"):
        load_rgb(Image.fromarray(pixels), color="bgr")
    with pytest.raises(InputError, match="color 'hsv' is unknown"):
        load_rgb(pixels, color="hsv")
