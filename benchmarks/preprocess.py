"""Cost of preprocessing: a 1280x720 frame in memory to the input of a 224-pixel model.

The yardstick is timm's evaluation transform (``ToTensor`` and ``Normalize`` included) on the same frame in
the same run, alternating; CPU time of one process. The frame is made up: what it shows does not matter to
the time of a resize (it does to a JPEG decoder's). How far the pixels are from timm's: ``deviation.py``.

Run: ``pytest benchmarks/preprocess.py`` (half a minute).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from record import Row
from timing import cpu_ms

from edgecv.artifact import Preprocess
from edgecv.models.torchvision_schemas import import_timm
from edgecv.preprocess import DEVIATION, MODES, prepare, to_input
from edgecv.spec import INPUT_QUANT, TensorSpec

SIDE, CROP = 224, 0.875
PREPROCESS = Preprocess((SIDE, SIDE), crop_fraction=CROP)
INPUTS = {
    "int8": TensorSpec("input", (1, SIDE, SIDE, 3), "int8", "NHWC", INPUT_QUANT),
    "float32": TensorSpec("input", (1, 3, SIDE, SIDE), "float32", "NCHW"),
}
BARS = {"exact": 0.55, "fastest": 0.15}


@pytest.fixture(scope="module")
def frame() -> np.ndarray[Any, Any]:
    """uint8 [720, 1280, 3]: smooth shapes with noise."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (45, 80, 3), dtype=np.uint8))
    large = np.asarray(small.resize((1280, 720), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(large + rng.normal(0, 6, large.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def by_timm() -> Callable[[Image.Image], Any]:
    torch.set_num_threads(1)
    import_timm()
    from timm.data import create_transform

    transform: Callable[[Image.Image], Any] = create_transform(
        input_size=(3, SIDE, SIDE), is_training=False, interpolation="bicubic", crop_pct=CROP
    )
    return transform


@pytest.mark.parametrize("dtype", INPUTS)
@pytest.mark.parametrize("mode", MODES)
def test_frame(
    benchmark: Any, ledger: Any, frame: Any, by_timm: Any, mode: str, dtype: str
) -> None:
    spec = INPUTS[dtype]
    cost = cpu_ms(
        benchmark,
        lambda: to_input(prepare(frame, PREPROCESS, mode=mode), spec, PREPROCESS),
        lambda: by_timm(Image.fromarray(frame))[None].numpy(),
        rounds=60,
    )
    row = Row(
        f"1280x720 frame to {dtype} input, `{mode}`, over timm's transform",
        cost.ratio,
        "ratio",
        BARS.get(mode),
        f"{cost.ours:.2f} ms against {cost.theirs:.2f}; deviation {DEVIATION[mode].mean:.2f} levels",
        {"ours_cpu_ms": cost.ours, "timm_cpu_ms": cost.theirs},
    )
    ledger.add(row, benchmark)


@pytest.mark.parametrize("mode", MODES)
def test_jpeg(benchmark: Any, ledger: Any, frame: Any, by_timm: Any, mode: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=90)
    data = stream.getvalue()
    spec = INPUTS["int8"]
    cost = cpu_ms(
        benchmark,
        lambda: to_input(prepare(data, PREPROCESS, mode=mode), spec, PREPROCESS),
        lambda: by_timm(Image.open(io.BytesIO(data)).convert("RGB"))[None].numpy(),
        rounds=60,
    )
    row = Row(
        f"1280x720 JPEG file to int8 input, `{mode}`, over Pillow and timm's transform",
        cost.ratio,
        "ratio",
        None,
        f"{cost.ours:.2f} ms against {cost.theirs:.2f}",
        {"ours_cpu_ms": cost.ours, "timm_cpu_ms": cost.theirs},
    )
    ledger.add(row, benchmark)
