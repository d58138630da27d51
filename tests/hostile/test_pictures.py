"""Files that are not the pictures they claim to be."""

from __future__ import annotations

import random
import shutil
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data import read_picture, scan, verify
from edgecv.errors import InputError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "TGA")


def _encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number, name in enumerate(("a/1.png", "b/2.png")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    return tmp_path / "pictures"


def test_good_pictures_of_every_format_pass(tree: Path) -> None:
    for kind in FORMATS:
        suffix = "jpg" if kind == "JPEG" else kind.lower()
        (tree / "a" / f"x.{suffix}").write_bytes(_encoded(kind))
    dataset = scan(tree)
    assert len(dataset.items) == 2 + len(FORMATS)
    verify(dataset)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_is_readable(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png").size == (5, 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "no picture format"),
        (_encoded("JPEG")[:200], "not a readable picture"),
        (_encoded("PNG")[:-40], "not a readable picture"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n",
            "no picture format",
        ),
    ],
)
def test_bad_files_are_named_with_the_reason(tree: Path, content: bytes, reason: str) -> None:
    (tree / "a" / "bad.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.jpg") as caught:
        verify(scan(tree))
    assert reason in str(caught.value)
    assert caught.value.cure


def test_the_first_five_are_named_and_the_rest_counted(tree: Path) -> None:
    for number in range(8):
        (tree / "a" / f"bad{number}.png").write_bytes(bytes([number]) * 9)
    with pytest.raises(InputError, match=r"bad0.*bad4.*and 3 more") as caught:
        verify(scan(tree))
    assert "bad5" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_decoded(tree: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999))
    )
    (tree / "a" / "bomb.png").write_bytes(bomb + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=r"bomb\.png.*decompression bomb"):
        verify(scan(tree))


def test_mutated_pictures_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    rng, refused = random.Random(1), 0
    path = tmp_path / "mutant.bin"
    for kind in FORMATS:
        original = _encoded(kind)
        for _ in range(120):
            mutant = bytearray(original)
            for _ in range(rng.randint(1, 12)):
                mutant[rng.randrange(min(len(mutant), rng.choice((40, 4000))))] = rng.randrange(256)
            if rng.random() < 0.3:
                del mutant[rng.randrange(len(mutant)) :]
            path.write_bytes(mutant)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    read_picture(path)
            except InputError:
                refused += 1
    assert refused > 100


def test_an_unreadable_file_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes

    def denied(self: Path) -> bytes:
        if self.name == "2.png":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(InputError, match=r"2\.png' cannot be read: Permission denied"):
        scan(tree)


def test_a_file_that_vanishes_after_the_scan(tree: Path) -> None:
    dataset = scan(tree)
    shutil.rmtree(tree / "a")
    with pytest.raises(InputError, match=r"1\.png' cannot be read"):
        verify(dataset)
