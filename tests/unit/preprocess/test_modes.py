"""The quick resize modes: exact places, the guards of the exact mode, and a known deviation."""

from __future__ import annotations

import io
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecv.artifact import Preprocess
from edgecv.errors import InputError, MissingExtraError
from edgecv.preprocess import DEVIATION, MODES, apply, check_mode, prepare, read
from edgecv.preprocess.modes import opencv

Pixels = np.ndarray[Any, Any]
ROOT = Path(__file__).resolve().parents[3]
QUICK = ("fast", "fastest")
#: Landscape, odd, smaller than any crop, one row, one column, extreme.
SIZES = [(720, 1280), (333, 501), (64, 64), (17, 9), (1, 5), (9, 1), (1, 900), (1100, 2), (40, 900)]
TARGETS = [(64, 64), (24, 20), (33, 47)]


def smooth(height: int, width: int) -> Pixels:
    """About one wave across and down: what every filter keeps."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    waves = [np.sin(6 * x + 7 * y), np.sin(4 * x - 5 * y), np.cos(7 * y)]
    return np.stack([128 + 100 * wave for wave in waves], 2).astype(np.uint8)


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def jpeg(pixels: Pixels, mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def mean_difference(a: Pixels, b: Pixels) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("mode", QUICK)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize", ["shortest", "stretch"])
def test_every_shape(mode: str, interpolation: str, resize: str) -> None:
    for size in TARGETS:
        for crop_fraction in (1.0, 0.875):
            preprocess = Preprocess(size, resize, crop_fraction, interpolation)
            for height, width in SIZES:
                pixels = smooth(height, width)
                got = apply(pixels, preprocess, mode=mode)
                where = f"{height}x{width} to {size}"
                assert got.shape == (*size, 3), where
                assert got.dtype == np.uint8
                if max(height, width) / min(height, width) < 3:
                    assert mean_difference(got, apply(pixels, preprocess)) < 6, where
                image = Image.fromarray(pixels)
                assert np.array_equal(apply(image, preprocess, mode=mode), got), where


@pytest.mark.parametrize("mode", QUICK)
def test_one_color_stays_itself(mode: str) -> None:
    for height, width in SIZES:
        pixels = np.full((height, width, 3), (7, 130, 255), np.uint8)
        got = apply(pixels, Preprocess((24, 20), crop_fraction=0.9), mode=mode)
        assert np.array_equal(got, np.broadcast_to(pixels[0, 0], got.shape))


@pytest.mark.parametrize("mode", QUICK)
def test_a_ramp_is_not_shifted(mode: str) -> None:
    """A shift by one source pixel changes the mean of the ramp by one level."""
    for height, width in ((127, 190), (190, 127), (255, 255), (128, 200)):
        y, x = np.mgrid[0:height, 0:width]
        ramp = np.stack([x, y, 255 - x], 2).astype(np.uint8)
        for side in (16, 23, 32, 60):
            preprocess = Preprocess((side, side), crop_fraction=0.8)
            shift = apply(ramp, preprocess, mode=mode).astype(float) - apply(ramp, preprocess)
            # halving rounds halves up, so that each halving adds up to a quarter of a level
            assert np.abs(shift.mean(axis=(0, 1))).max() < 0.8, (height, width, side)
            x_shift, opposite = shift[..., 0].mean(), shift[..., 2].mean()
            assert abs(x_shift - opposite) / 2 < 0.2, (height, width, side)


@pytest.mark.parametrize("mode", MODES)
def test_the_border_of_a_crop_is_filtered_with_what_lies_outside(mode: str) -> None:
    for height, width in ((640, 801), (333, 501), (200, 140)):
        pixels = noise(height, width)
        whole = apply(pixels, Preprocess((64, 64)), mode=mode)
        crop = apply(pixels, Preprocess((32, 32), crop_fraction=0.5), mode=mode)
        assert np.abs(whole[16:48, 16:48].astype(int) - crop).max() <= 1


def test_fast_is_exact_where_little_shrinks() -> None:
    preprocess = Preprocess((64, 64))
    for height, width in ((159, 320), (64, 64), (30, 41), (1, 5)):
        pixels = noise(height, width)
        expected = apply(pixels, preprocess)
        assert np.array_equal(apply(pixels, preprocess, mode="fast"), expected)
    pixels = noise(160, 300)
    assert not np.array_equal(apply(pixels, preprocess, mode="fast"), apply(pixels, preprocess))


@pytest.mark.parametrize("mode", QUICK)
def test_nearest_is_exact(mode: str) -> None:
    preprocess = Preprocess((32, 24), interpolation="nearest")
    for source in (noise(300, 500), jpeg(noise(300, 500))):
        assert np.array_equal(prepare(source, preprocess, mode=mode), prepare(source, preprocess))


@pytest.mark.parametrize("mode", MODES)
def test_views_and_channel_order(mode: str) -> None:
    preprocess = Preprocess((32, 24), crop_fraction=0.9)
    frame = noise(181, 240)
    expected = apply(frame, preprocess, mode=mode)
    twice = np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1)
    read_only = frame.copy()
    read_only.flags.writeable = False
    for view in (np.asfortranarray(frame), twice[::2, ::2], twice[::2, 1::2], read_only):
        assert np.array_equal(apply(view, preprocess, mode=mode), expected)
    for view in (frame[::-1], frame[:, ::-1], frame[..., ::-1]):
        whole = np.ascontiguousarray(view)
        assert np.array_equal(
            apply(view, preprocess, mode=mode), apply(whole, preprocess, mode=mode)
        )
    bgr = prepare(frame[..., ::-1], preprocess, color="bgr", mode=mode)
    assert np.array_equal(bgr, expected)


@pytest.mark.parametrize("decoder", ["simplejpeg", "pillow"])
@pytest.mark.parametrize("mode", QUICK)
@pytest.mark.parametrize("kind", ["RGB", "L", "CMYK"])
def test_jpeg_is_decoded_small(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decoder: str, mode: str, kind: str
) -> None:
    """At every power of two, with odd sides, the same place as the whole picture has."""
    if decoder == "pillow":
        monkeypatch.setattr(read, "_simplejpeg", lambda: None)
    for height, width in ((481, 637), (300, 1000), (97, 64)):
        data = jpeg(smooth(height, width), kind)
        path = tmp_path / "picture.jpg"
        path.write_bytes(data)
        whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        for side in (200, 90, 60, 30, 12):
            preprocess = Preprocess((side, side), crop_fraction=0.9)
            got = prepare(data, preprocess, mode=mode)
            assert got.shape == (side, side, 3)
            assert mean_difference(got, apply(whole, preprocess)) < 5, (height, width, side)
            assert np.array_equal(prepare(path, preprocess, mode=mode), got)
            assert np.array_equal(prepare(str(path), preprocess, mode=mode), got)


@pytest.mark.parametrize(
    ("side", "times"), [(161, 0), (160, 1), (81, 1), (80, 2), (40, 3), (20, 3), (5, 3)]
)
@pytest.mark.parametrize("decoder", ["simplejpeg", "pillow"])
def test_how_small(monkeypatch: pytest.MonkeyPatch, side: int, times: int, decoder: str) -> None:
    if decoder == "pillow":
        monkeypatch.setattr(read, "_simplejpeg", lambda: None)
    seen: list[read.Halved | None] = []

    def spy(*arguments: Any) -> read.Halved | None:
        seen.append(read.halved_jpeg(*arguments))
        return seen[-1]

    monkeypatch.setattr("edgecv.preprocess.resize.halved_jpeg", spy)
    data = jpeg(smooth(401, 637), progressive=side == 80)
    prepare(data, Preprocess((side, side)), mode="fast")
    [halved] = seen
    if times == 0:
        assert halved is None
    else:
        assert halved is not None
        assert (halved.times, halved.size) == (times, (401, 637))
        small = np.asarray(halved.pixels).shape
        assert small == (-(-401 // 2**times), -(-637 // 2**times), 3)


def test_exact_never_decodes_small(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("decoded at a smaller size")

    data = jpeg(noise(400, 600))
    monkeypatch.setattr("edgecv.preprocess.resize.halved_jpeg", refuse)
    prepare(data, Preprocess((32, 32)))
    with pytest.raises(AssertionError, match="smaller size"):
        prepare(data, Preprocess((32, 32)), mode="fast")


@pytest.mark.parametrize("mode", QUICK)
@pytest.mark.parametrize("decoder", ["simplejpeg", "pillow"])
def test_unreadable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, decoder: str
) -> None:
    if decoder == "pillow":
        monkeypatch.setattr(read, "_simplejpeg", lambda: None)
    whole = jpeg(noise(400, 600))
    preprocess = Preprocess((32, 32))
    for data in (b"", b"text", whole[:300], whole[:-4000], b"\xff\xd8", b"\xff\xd8" + b"x" * 90):
        path = tmp_path / "picture.jpg"
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"picture\.jpg' is not a readable picture"):
            prepare(path, preprocess, mode=mode)
    with pytest.raises(InputError, match="cannot be read"):
        prepare(tmp_path / "no.jpg", preprocess, mode=mode)
    with pytest.raises(InputError, match="is not a picture"):
        prepare(np.zeros((4, 4)), preprocess, mode=mode)
    with pytest.raises(InputError, match="is for arrays"):
        prepare(whole, preprocess, mode=mode, color="bgr")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(InputError, match="exceeds limit"):
        prepare(whole, preprocess, mode=mode)


@pytest.mark.parametrize("mode", ["quick", "", "Exact"])
def test_unknown_modes(mode: str) -> None:
    for call in (check_mode, lambda m: apply(noise(9, 9), Preprocess((4, 4)), mode=m)):
        with pytest.raises(InputError, match="Use 'exact', 'fast', 'fastest'"):
            call(mode)
    with pytest.raises(InputError, match="is unknown"):
        prepare(noise(9, 9), Preprocess((4, 4)), mode=mode)


@pytest.fixture
def without_opencv(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "cv2", None)
    opencv.cache_clear()
    yield
    opencv.cache_clear()


@pytest.mark.usefixtures("without_opencv")
def test_without_opencv() -> None:
    frame, preprocess = noise(90, 120), Preprocess((32, 32))
    assert apply(frame, preprocess).shape == (32, 32, 3)
    for mode in QUICK:
        # also where the picture at hand would not need it
        for call in (check_mode, lambda m: prepare(noise(9, 9), preprocess, mode=m)):
            with pytest.raises(MissingExtraError, match=r"pip install 'edgecv\[opencv\]'"):
                call(mode)


def test_a_broken_opencv_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    opencv.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"libGL\.so\.1"):
            check_mode("fast")
    finally:
        opencv.cache_clear()


def test_the_page_has_the_constants() -> None:
    page = (ROOT / "docs" / "preprocessing.md").read_text(encoding="utf-8")
    for mode, one in DEVIATION.items():
        row = [f"`{mode}`", f"{one.mean:.2f}", str(one.largest), f"{one.jpeg_mean:.2f}"]
        assert f"| {' | '.join([*row, str(one.jpeg_largest)])} |" in page
    for cells in zip(*(DEVIATION[mode].by_factor for mode in QUICK), strict=True):
        row = [f"{cells[0][0]:.1f}", *(f"{mean:.2f} ({most})" for _, mean, most in cells)]
        assert f"| {' | '.join(row)} |" in page


@pytest.mark.slow
def test_the_constants_hold(outside_data: Path) -> None:
    measured = runpy.run_path(str(ROOT / "benchmarks" / "deviation.py"))["measure"](outside_data)
    for mode, told in DEVIATION.items():
        found = measured[mode]
        assert found.mean == pytest.approx(told.mean, rel=0.1, abs=0.01), mode
        assert found.jpeg_mean == pytest.approx(told.jpeg_mean, rel=0.1, abs=0.01), mode
        assert found.largest <= 1 if mode == "exact" else found.largest <= 1.3 * told.largest
        for one, other in zip(found.by_factor, told.by_factor, strict=True):
            assert one[0] == other[0]
            assert one[1] == pytest.approx(other[1], rel=0.15, abs=0.01), (mode, one[0])
