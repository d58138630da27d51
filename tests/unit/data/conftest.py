"""Small picture trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeTree = Callable[..., Path]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Write pictures of distinct content at the given relative paths; return the root."""

    def make(*files: str, root: str = "pictures") -> Path:
        folder = tmp_path / root
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(files):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((4, 5, 3), number % 251, np.uint8)
            pixels[0, 0] = (number // 251, 7, len(name))
            Image.fromarray(pixels).save(path)
        return folder

    return make
