"""What a caller says of preprocessing: a name, a JSON file, or the thing itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from edgecv.artifact import Preprocess
from edgecv.artifact.document import read_preprocess
from edgecv.artifact.fields import Fields
from edgecv.errors import InputError
from edgecv.foreign.edge import find_picture_input, picture_size
from edgecv.foreign.files import read_text
from edgecv.foreign.reading import PreprocessSource
from edgecv.spec.types import QuantParams, TensorSpec

__all__ = ["PRESETS", "normalization", "read_argument", "read_settings", "value_range"]

#: Names of the usual ways from a pixel to a number.
PRESETS: Final = ("raw", "unit", "signed", "imagenet")

_Triple = tuple[float, float, float]
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_KEYS: Final = (
    "size", "resize", "crop_fraction", "interpolation", "color", "mean", "std", "preset",
)  # fmt: skip
#: Means above this are in units of a grey level: Caffe's (104, 117, 123).
_LARGEST_MEAN: Final = 2.0
#: Beyond, mean and std leave the range of float32.
_SCALES: Final = (2.0**-110, 2.0**110)


def read_argument(source: PreprocessSource, inputs: Sequence[TensorSpec]) -> Preprocess:
    """The caller's preprocessing for the one input that takes a picture.

    Args:
        source: One of :data:`PRESETS`, the path of a JSON file (see :func:`read_settings`), or a
            :class:`~edgecv.Preprocess`.
        inputs: Of the model.

    Raises:
        InputError: The model takes no picture, or *source* is unknown, unreadable or does not fit.
    """
    spec = find_picture_input(inputs)
    if isinstance(source, Preprocess):
        return read_settings(asdict(source), spec, "preprocess")
    if isinstance(source, str) and source in PRESETS:
        return read_settings({"preset": source}, spec, "preprocess")
    if not isinstance(source, str | Path):
        raise InputError(
            f"preprocess is {type(source).__name__}",
            cure=f"Give {', '.join(map(repr, PRESETS))}, the path of a JSON file, or a Preprocess.",
        )
    if not Path(source).suffix and not Path(source).exists():
        raise InputError(
            f"the preprocessing {str(source)!r} is unknown",
            cure=f"Give {', '.join(map(repr, PRESETS))}, or the path of a JSON file.",
        )
    try:
        values = json.loads(read_text(source))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"'{source}' is not JSON: {error}",
            cure='Write an object, e.g. {"preset": "signed", "crop_fraction": 0.875}.',
        ) from error
    return read_settings(values, spec, f"'{source}'")


def read_settings(values: Any, spec: TensorSpec, where: str) -> Preprocess:
    """Fields of a preprocessing, as the manifest has them; what is left out has its default.

    ``size`` is the input's own. ``preset`` (one of :data:`PRESETS`) gives mean and std, unless they
    are there; without it they are those of ``unit``.

    Args:
        values: The JSON object.
        spec: The input.
        where: What to call it in errors.

    Raises:
        InputError: A field that is unknown or wrong, a size that is not the input's, or a mean in
            units of a grey level.
    """

    def wrong(what: str) -> InputError:
        return InputError(f"{where}: {what}", cure=f"Fields: {', '.join(_KEYS)}.")

    if not isinstance(values, dict):
        raise wrong(f"it holds {type(values).__name__}, not an object")
    unknown = sorted(str(key) for key in values if key not in _KEYS)
    if unknown:
        raise wrong(f"the field {unknown[0]!r} is unknown")
    preset = values.get("preset", "unit")
    if preset not in PRESETS:
        raise wrong(f"preset is {preset!r}, not one of {', '.join(PRESETS)}")
    if {"preset", "mean", "std"} <= values.keys():
        raise wrong("preset gives mean and std, and they are there too")
    own = picture_size(spec)
    defaults = asdict(Preprocess(own))
    if "mean" not in values or "std" not in values:
        defaults["mean"], defaults["std"] = normalization(preset, spec)
    merged = {k: v for k, v in {**defaults, **values}.items() if k != "preset"}
    lists = {k: list(v) if isinstance(v, tuple) else v for k, v in merged.items()}
    found = read_preprocess(Fields(lists, "", wrong))
    if found.size != own:
        raise wrong(f"size is {list(found.size)}, and the input {spec.name!r} takes {list(own)}")
    if max(map(abs, found.mean)) > _LARGEST_MEAN:
        scaled = [round(value / 255, 8) for value in found.mean]
        raise InputError(
            f"{where}: mean is {list(found.mean)}, in units of a grey level",
            cure=f"mean and std are for pixels / 255: write a mean of {scaled}, and divide std by 255, too"
            ' (where there is none: "preset": "raw").',
        )
    return found


def normalization(preset: str, spec: TensorSpec) -> tuple[_Triple, _Triple]:
    """Mean and std of a named way, for pixels / 255.

    ``raw``: the pixel is the value. A float input gets 0 to 255; an 8-bit input gets the pixel as its
    integer (int8: minus 128) whatever its scale, so mean and std undo its quantization: (x / 255 -
    mean) / std is scale * (x - zero point). ``unit``: x / 255. ``signed``: x / 127.5 - 1.
    ``imagenet``: x / 255, less ImageNet's mean, by its standard deviation.

    Raises:
        InputError: An 8-bit input whose scale is absurd, or that has none and should get real values.

    >>> spec = TensorSpec("x", (1, 8, 8, 3), "int8", "NHWC", QuantParams(0.0078125, -1))
    >>> normalization("raw", spec)[1][0] == 1 / (255 * 0.0078125)
    True
    """
    grid = spec.quantization if spec.dtype in ("int8", "uint8") else QuantParams(1.0, 0, "uint8")
    if preset == "raw":
        pixels = (grid or QuantParams(1.0, 0, "uint8")).as_dtype("uint8")
        if not _SCALES[0] <= pixels.scale <= _SCALES[1]:
            raise InputError(
                f"the input {spec.name!r} has the scale {pixels.scale!r}, which no picture has",
                cure="Run arrays with .infer.",
            )
        return (pixels.zero_point / 255,) * 3, (1 / (255 * pixels.scale),) * 3
    if grid is None:
        raise InputError(
            f"the {spec.dtype} input {spec.name!r} has no scale, so real values ({preset!r}) cannot"
            " become its integers",
            cure="Use 'raw', where the pixel is the integer, or run arrays with .infer.",
        )
    if preset == "signed":
        return (0.5,) * 3, (0.5,) * 3
    return _IMAGENET if preset == "imagenet" else ((0.0,) * 3, (1.0,) * 3)


def value_range(preset: str) -> tuple[float, float]:
    """Smallest and largest real value that a named way makes of the pixels 0 to 255.

    >>> value_range("signed"), value_range("raw")
    ((-1.0, 1.0), (0.0, 255.0))
    """
    mean, std = normalization(preset, TensorSpec("", (), "float32"))
    pairs = list(zip(mean, std, strict=True))
    return min((0 - m) / s for m, s in pairs), max((1 - m) / s for m, s in pairs)
