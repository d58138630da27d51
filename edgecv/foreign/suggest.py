"""What an input's numbers suggest of the pixels that belong into it: said, never assumed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgecv.errors import InputError
from edgecv.foreign.edge import find_picture_input
from edgecv.foreign.presets import PRESETS, value_range
from edgecv.spec.types import QuantParams, TensorSpec, integer_range

if TYPE_CHECKING:
    from edgecv.foreign.reading import Known

__all__ = ["Suggestion", "complain", "suggest"]

#: How far the two ends of a grid may lie from those of a way, together, as a part of its width.
_CLOSE: Final = 0.03
_MEANINGS: Final = {
    "raw": "the pixels themselves, 0 to 255",
    "unit": "pixels / 255",
    "signed": "pixels / 127.5 - 1",
    "imagenet": "pixels less ImageNet's mean, by its standard deviation",
}


@dataclass(frozen=True)
class Suggestion:
    """What an input suggests.

    Attributes:
        reason: A clause about the input, without a period.
        presets: Names of preprocessings that fit, the likeliest first; empty when nothing does.
    """

    reason: str
    presets: tuple[str, ...] = ()


def suggest(inputs: Sequence[TensorSpec]) -> Suggestion:
    """Compare the input's grid with the usual ways from a pixel to a number.

    Args:
        inputs: Of the model.

    Raises:
        InputError: The model takes no single picture.

    >>> grid = QuantParams(0.0078125, 128, "uint8")
    >>> suggest([TensorSpec("x", (1, 8, 8, 3), "uint8", "NHWC", grid)]).presets
    ('raw', 'signed')
    """
    spec = find_picture_input(inputs)
    grid = spec.quantization
    if spec.dtype.startswith("float"):
        return Suggestion(
            f"its {spec.dtype} input suggests nothing: values may be"
            f" {', '.join(f'{_MEANINGS[name]} ({name!r})' for name in PRESETS)}"
        )
    if grid is None:
        return Suggestion(
            f"its {spec.dtype} input has no scale, which suggests {_MEANINGS['raw']} ('raw')",
            ("raw",),
        )
    low, high = _range(grid)
    text = f"its {spec.dtype} input spans {low:.3g} to {high:.3g}"
    close = [name for name in PRESETS if _is_close((low, high), value_range(name))]
    if not close:
        return Suggestion(f"{text}, which is none of the usual ranges")
    text += f", which suggests {_MEANINGS[close[0]]} ({close[0]!r})"
    if close[0] in ("unit", "signed") and (steps := _steps_from_raw(grid, close[0])) <= 1:
        same = "within a step of that" if steps else "the same"
        text += f"; the pixel itself as the integer ('raw') is {same}"
        # what feeds a uint8 input is usually a pixel; int8 inputs come with their arithmetic
        close = ["raw", *close] if spec.dtype == "uint8" else [*close, "raw"]
    return Suggestion(text, tuple(close))


def complain(
    path: Path | None, inputs: Sequence[TensorSpec], known: Known | None
) -> tuple[str, str]:
    """Sentence and cure; see :func:`edgecv.foreign.complaint`."""
    try:
        found = suggest(inputs)
    except InputError as error:
        return error.what, error.cure
    what = f"nobody says how a picture becomes the model's input; {found.reason}"
    if known is not None and known.notes:
        what += f" ({'; '.join(known.notes)})"
    name = found.presets[0] if found.presets else "X"
    labels = () if known is not None and known.labels else ("labels.txt",)
    model = shlex.quote(str(path)) if path is not None else "MODEL"
    options = " ".join([*(f"--labels {file}" for file in labels), f"--preprocess {name}"])
    arguments = ", ".join([*(f"labels={file!r}" for file in labels), f"preprocess={name!r}"])
    source = repr(str(path)) if path is not None else "source"
    copy = f"adopted{path.suffix}" if path is not None else "NEW"
    sure = "If that is so" if found.presets else "Find out how it was trained, and say it"
    where = "" if found.presets else f" (X: {', '.join(PRESETS)}, or a JSON file)"
    return what, (
        f"{sure}: edgecv predict {model} IMAGE {options}, in Python"
        f" edgecv.Runtime({source}, {arguments}); to keep it in a copy of the file:"
        f" edgecv adopt {model} {options} --out {copy}{where}"
    )


def _steps_from_raw(grid: QuantParams, preset: str) -> int:
    """Largest distance between the integer that *preset* makes of a pixel and the pixel itself."""
    # both are straight lines over the pixels, so the ends tell (before they are clipped)
    pixels = grid.as_dtype("uint8")
    ends = (round(value / pixels.scale) + pixels.zero_point for value in value_range(preset))
    return max(abs(end - pixel) for end, pixel in zip(ends, (0, 255), strict=True))


def _range(grid: QuantParams) -> tuple[float, float]:
    """Real values of the smallest and the largest integer."""
    low, high = integer_range(8, signed=grid.dtype == "int8")
    return (low - grid.zero_point) * grid.scale, (high - grid.zero_point) * grid.scale


def _is_close(one: tuple[float, float], other: tuple[float, float]) -> bool:
    off = abs(one[0] - other[0]) + abs(one[1] - other[1])
    return off < _CLOSE * (other[1] - other[0])
