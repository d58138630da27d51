"""Makes the glyphs that ``edgecv camera --source synth:`` draws: ``python -m edgecv.demo.glyphs``.

scikit-learn's digits of the demo's test split, so that no training of ours has seen them. Needs ``[report]``.
"""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.demo.pictures import PictureOptions, _load_digits, _split_originals

__all__ = ["held_out_glyphs", "main"]

_TEST = 2


def held_out_glyphs() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images uint8 [N, 8, 8] in [0, 16] and their digits, of the test split.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    images, digits = _load_digits()
    chosen = _split_originals(digits, PictureOptions()) == _TEST
    return images[chosen].astype(np.uint8), digits[chosen].astype(np.uint8)


def main() -> None:
    """Write the file into the package."""
    images, digits = held_out_glyphs()
    packed = io.BytesIO()
    np.savez_compressed(packed, images=images, digits=digits)
    target = resources.files("edgecv.camera.sources").joinpath("glyphs.npz")
    write_atomically(Path(str(target)), packed.getvalue())


if __name__ == "__main__":
    main()
