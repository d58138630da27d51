"""What the source and the artifact are both given: pictures, or seeded numbers of the inputs' shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.data import find_pictures
from edgecv.errors import InputError
from edgecv.preprocess import prepare, to_input
from edgecv.spec import TensorSpec
from edgecv.verify.options import VerifyOptions
from edgecv.verify.source import Array, Source, read_source
from edgecv_converters.reader import parse
from edgecv_converters.tensors import dtype_name

__all__ = ["Samples", "make_samples", "synthetic_picture"]

#: (cells along a side, weight) of the smooth fields that a synthetic picture is the sum of.
_FIELDS = ((2, 1.0), (5, 0.6), (13, 0.4))


@dataclass(frozen=True)
class Samples:
    """Inputs for one source.

    Attributes:
        arrays: Per sample, input name → array of the source's shape, dtype and order.
        data: ``"pictures"`` or ``"synthetic"``.
        notes: What was assumed for want of a manifest.
    """

    arrays: tuple[Mapping[str, Array], ...]
    data: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Input:
    """One input of the source.

    Attributes:
        name: Its name.
        shape: Static, batch bound.
        dtype: NumPy name.
        span: Real values that its quantizer holds, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    span: tuple[float, float] | None

    @property
    def takes_pictures(self) -> bool:
        """Whether it is float [N, 3, H, W]."""
        return self.dtype == "float32" and len(self.shape) == 4 and self.shape[1] == 3


def make_samples(source: bytes, manifest: Manifest | None, options: VerifyOptions) -> Samples:
    """Pictures of the folder that *options* names, else synthetic ones.

    Pictures become the input as the source's manifest says. Without one they are stretched to the
    input's size, with values in [0, 1]; synthetic values then fill the range of the input's quantizer.

    Args:
        source: The ONNX file.
        manifest: Its manifest.
        options: Folder, numbers and seed.

    Raises:
        InputError: The folder holds no pictures, a picture cannot be read or does not fit, or the
            model takes something else.
        ModelLoadError: *source* cannot be read.
    """
    inputs = _inputs(source)
    preprocess = manifest.preprocess if manifest is not None else None
    single = inputs[0] if len(inputs) == 1 and inputs[0].takes_pictures else None
    if options.data is not None:
        if single is None:
            said = ", ".join(f"{i.name!r} {i.dtype} {list(i.shape)}" for i in inputs)
            raise InputError(
                f"the model takes no picture: its inputs are {said}",
                cure="Leave --verify-data out; seeded numbers are used then.",
            )
        return _pictures(single, preprocess, options.data, options.pictures)
    rng = np.random.default_rng(options.seed)
    if single is None:
        arrays = [{i.name: _uniform(i, rng) for i in inputs} for _ in range(options.synthetic)]
        return Samples(tuple(arrays), "synthetic")
    height, width = single.shape[2:]
    count = options.synthetic * single.shape[0]
    pictures = [synthetic_picture((height, width), rng) for _ in range(count)]
    if preprocess is not None:
        return Samples(_to_inputs(single, preprocess, pictures), "synthetic")
    plain = _to_inputs(single, Preprocess((height, width)), pictures)
    low, high = single.span or (0.0, 1.0)
    spread = [
        {n: np.asarray(low + (high - low) * a, np.float32) for n, a in p.items()} for p in plain
    ]
    return Samples(tuple(spread), "synthetic")


def synthetic_picture(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Smooth colored fields of random contrast and brightness with some noise: uint8 [H, W, 3].

    Args:
        size: (height, width) in pixels.
        rng: Where the randomness comes from.
    """
    height, width = size
    sum_of_fields = np.zeros((height, width, 3))
    for cells, weight in _FIELDS:
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        smooth = grid.resize((width, height), Image.Resampling.BICUBIC)
        sum_of_fields += weight * np.asarray(smooth, np.float64)
    # a picture of one pixel has no contrast
    standard = (sum_of_fields - sum_of_fields.mean()) / max(float(sum_of_fields.std()), 1.0)
    noise = rng.normal(0, rng.uniform(1, 12), standard.shape)
    pixels = standard * rng.uniform(25, 80) + rng.uniform(70, 180) + noise
    picture: npt.NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return picture


def _pictures(single: _Input, preprocess: Preprocess | None, folder: Path, most: int) -> Samples:
    found = find_pictures(folder)
    places = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))
    notes: tuple[str, ...] = ()
    if preprocess is None:
        height, width = single.shape[2:]
        preprocess = Preprocess((height, width), resize="stretch")
        notes = (
            "the source does not say how a picture becomes its input: stretched to"
            f" {height}x{width}, RGB, values in [0, 1]",
        )
    prepared = [prepare(found[place], preprocess) for place in places]
    return Samples(_to_inputs(single, preprocess, prepared), "pictures", notes)


def _to_inputs(
    single: _Input, preprocess: Preprocess, pictures: Sequence[npt.NDArray[np.uint8]]
) -> tuple[Mapping[str, Array], ...]:
    """One sample per batch of pictures; the first ones fill the last batch up."""
    batch, *rest = single.shape
    spec = TensorSpec(single.name, (1, *rest), single.dtype, "NCHW")
    planes = [to_input(pixels, spec, preprocess) for pixels in pictures]
    planes += [planes[i % len(planes)] for i in range(-len(planes) % batch)]
    batches = [planes[start : start + batch] for start in range(0, len(planes), batch)]
    return tuple({single.name: np.concatenate(part)} for part in batches)


def _uniform(wanted: _Input, rng: np.random.Generator) -> Array:
    """Values over the whole range of a quantizer or an 8-bit type, else in [0, 1]."""
    dtype = np.dtype(wanted.dtype)
    if dtype.kind == "f":
        low, high = wanted.span or (0.0, 1.0)
        return rng.uniform(low, high, wanted.shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, wanted.shape).astype(dtype)
    return rng.integers(0, 2, wanted.shape).astype(dtype)


def _inputs(source: bytes) -> tuple[_Input, ...]:
    model = parse(source)
    constants = {tensor.name for tensor in model.graph.initializer}
    roundings = read_source(source)
    return tuple(
        _Input(
            value.name,
            tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
            dtype_name(value.type.tensor_type.elem_type),
            _span(value.name, roundings),
        )
        for value in model.graph.input
        if value.name not in constants
    )


def _span(name: str, source: Source) -> tuple[float, float] | None:
    """Smallest and largest value that the quantizer of a graph input holds."""
    rounding = next((r for r in source.activations() if r.input == name), None)
    if rounding is None:
        return None
    limits = np.iinfo(rounding.dtype)
    scale, zero = float(rounding.scales[0]), int(rounding.zero_points[0])
    return (limits.min - zero) * scale, (limits.max - zero) * scale
