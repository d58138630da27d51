"""How far the resize modes are from timm's evaluation transform, in grey levels.

Pictures: four photographs of about 512x340, every hundredth frame of a 640x360 video, and every
twentieth of 1,000 ImageNet photographs of 224x224 (``images``, ``video`` and ``datasets/imagenette10``
of the folder in EDGECV_TEST_DATA). Each is shrunk by seven factors: 1.5 to 8.4 pixels of the picture
per pixel of the resized one (1280x720 to a 224-pixel model with crop fraction 0.875 is 2.8, 1920x1080
is 4.2, 3840x2160 is 8.4), crop fraction 0.875, bicubic. The reference is timm's transform on the whole
decoded picture. As JPEG files the ImageNet photographs are read as they are, the others at quality 90.

Run: ``python benchmarks/deviation.py`` (a minute); it prints the constants of
``edgecv.preprocess.DEVIATION``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from edgecv.artifact import Preprocess
from edgecv.models.torchvision_schemas import import_timm
from edgecv.preprocess import MODES, Deviation, apply, prepare

FACTORS = (1.5, 2.0, 2.8, 3.5, 4.2, 6.0, 8.4)
CROP = 0.875

Pixels = np.ndarray[Any, Any]


class Specimen(NamedTuple):
    """A picture as pixels and as a JPEG file that may differ from them."""

    pixels: Pixels
    jpeg: bytes


def pictures(data: Path) -> Iterator[Specimen]:
    """The pictures that the constants are measured on."""
    for path in sorted((data / "images").glob("*.bmp")):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        yield Specimen(pixels, encoded(pixels))
    video = cv2.VideoCapture(str(data / "video" / "bottle-detection.mp4"))
    number = 0
    while (frame := video.read()[1]) is not None:
        if number % 100 == 0:
            pixels = np.ascontiguousarray(frame[..., ::-1])
            yield Specimen(pixels, encoded(pixels))
        number += 1
    for path in sorted((data / "datasets" / "imagenette10" / "test").glob("*/*"))[::20]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        yield Specimen(pixels, path.read_bytes())


def encoded(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def by_timm(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """uint8 [h, w, 3] of timm's evaluation transform."""
    import_timm()
    from timm.data import create_transform

    transform = create_transform(
        input_size=(3, *preprocess.size),
        is_training=False,
        interpolation=preprocess.interpolation,
        crop_pct=preprocess.crop_fraction,
        normalize=False,
    )
    result: Pixels = transform(Image.fromarray(pixels)).permute(1, 2, 0).numpy()
    return result


def measure(data: Path) -> dict[str, Deviation]:
    """Deviation of each mode over all pictures and factors."""
    cells: dict[tuple[str, float], list[tuple[float, int]]] = {}
    jpeg: dict[str, list[tuple[float, int]]] = {mode: [] for mode in MODES}
    for specimen in pictures(data):
        decoded = np.asarray(Image.open(io.BytesIO(specimen.jpeg)).convert("RGB"))
        for factor in FACTORS:
            side = round(min(specimen.pixels.shape[:2]) / factor * CROP)
            preprocess = Preprocess((side, side), crop_fraction=CROP)
            wanted = by_timm(specimen.pixels, preprocess)
            wanted_of_file = by_timm(decoded, preprocess)
            for mode in MODES:
                given = apply(specimen.pixels, preprocess, mode=mode)
                cells.setdefault((mode, factor), []).append(difference(given, wanted))
                given = prepare(specimen.jpeg, preprocess, mode=mode)
                jpeg[mode].append(difference(given, wanted_of_file))
    result = {}
    for mode in MODES:
        by_factor = tuple((f, *summary(cells[mode, f])) for f in FACTORS)
        everything = [cell for f in FACTORS for cell in cells[mode, f]]
        result[mode] = Deviation(*summary(everything), *summary(jpeg[mode]), by_factor)
    return result


def difference(given: Pixels, wanted: Pixels) -> tuple[float, int]:
    levels = np.abs(given.astype(int) - wanted.astype(int))
    return float(levels.mean()), int(levels.max())


def summary(cells: list[tuple[float, int]]) -> tuple[float, int]:
    """Every picture counts alike, whatever its size."""
    return round(float(np.mean([mean for mean, _ in cells])), 3), max(most for _, most in cells)


def main() -> None:
    for mode, deviation in measure(Path(os.environ["EDGECV_TEST_DATA"])).items():
        print(f"    {mode!r}: {deviation},")


if __name__ == "__main__":
    main()
