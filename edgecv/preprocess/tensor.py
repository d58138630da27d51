"""From pixels to a model's input tensor, in the file's own dtype and layout."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Preprocess
from edgecv.errors import InputError
from edgecv.preprocess.read import Pixels
from edgecv.spec.arithmetic import quantize
from edgecv.spec.types import QuantParams, TensorSpec

__all__ = ["to_input"]


#: An 8-bit input without a scale: the integer is the pixel (int8: minus 128).
_PIXEL_GRIDS: Final = {
    "int8": QuantParams(1.0, -128, "int8"),
    "uint8": QuantParams(1.0, 0, "uint8"),
}


def to_input(image: Pixels, spec: TensorSpec, preprocess: Preprocess) -> npt.NDArray[Any]:
    """Pixels to the model's input in its own dtype and layout.

    Float inputs get (x / 255 - mean) / std; where std is 1 / 255 that is x - 255 mean, without rounding
    in between. 8-bit inputs get the same value quantized by their parameters; where those are
    :data:`~edgecv.spec.INPUT_QUANT` that is ``x ^ 0x80``, else a table of 256 entries per channel, equal
    to quantizing the float bit for bit. An 8-bit input without parameters counts grey levels, and takes
    pixels where std is 1 / 255.

    Args:
        image: uint8 [h, w, 3] RGB, the size of the input.
        spec: The input; its layout is read from its shape when it names none.
        preprocess: Channel order, mean and std.

    Returns:
        [1, h, w, 3] or [1, 3, h, w] of ``spec.dtype``, contiguous.

    Raises:
        InputError: The shape does not fit, or the dtype cannot be filled from pixels.

    >>> from edgecv.spec import INPUT_QUANT
    >>> spec = TensorSpec("input", (1, 1, 1, 3), "int8", "NHWC", INPUT_QUANT)
    >>> to_input(np.array([[[0, 128, 255]]], np.uint8), spec, Preprocess(size=(1, 1))).tolist()
    [[[[-128, 0, 127]]]]
    """
    layout = spec.layout or _layout(spec.shape)
    channels_last = layout == "NHWC"
    height, width = image.shape[:2]
    shape = (1, height, width, 3) if channels_last else (1, 3, height, width)
    if layout not in ("NHWC", "NCHW") or spec.shape != shape:
        raise InputError(
            f"a picture of {height}x{width} does not fit the input {spec.name!r} of shape"
            f" {list(spec.shape)}, layout {layout or 'unknown'}",
            cure="Correct the preprocessing's size, or run arrays with .infer.",
        )
    if preprocess.color == "bgr":
        image = image[..., ::-1]
    planes = image if channels_last else image.transpose(2, 0, 1)
    if spec.dtype in ("float32", "float16"):
        real = _to_real(planes, preprocess.mean, preprocess.std, axis=2 if channels_last else 0)
        return np.ascontiguousarray(real, spec.dtype)[np.newaxis]
    grid = spec.quantization
    if grid is None and spec.dtype in _PIXEL_GRIDS and _counts_grey_levels(preprocess.std):
        grid = _PIXEL_GRIDS[spec.dtype]
    if spec.dtype not in _PIXEL_GRIDS or grid is None:
        raise InputError(
            f"the input {spec.name!r} of dtype {spec.dtype} does not say how real values become its"
            " integers",
            cure="Use a file whose input has a scale and zero point, or run arrays with .infer.",
        )
    tables = _tables(grid, preprocess.mean, preprocess.std)
    return _look_up(planes, tables, 2 if channels_last else 0, spec.dtype)[np.newaxis]


def _layout(shape: tuple[int, ...]) -> str:
    if len(shape) != 4 or (shape[1] == 3) == (shape[3] == 3):
        return ""
    return "NCHW" if shape[1] == 3 else "NHWC"


def _counts_grey_levels(std: tuple[float, ...]) -> bool:
    """Whether values are pixels in units of a grey level, as Caffe's nets and raw inputs take them."""
    return all(np.float32(s) == np.float32(1 / 255) for s in std)


def _to_real(
    pixels: Pixels, mean: tuple[float, ...], std: tuple[float, ...], axis: int
) -> npt.NDArray[np.float32]:
    """(x / 255 - mean) / std in float32; channels along *axis*."""
    shape = tuple(3 if d == axis else 1 for d in range(pixels.ndim))
    if _counts_grey_levels(std):
        # through 1 / 255 and back, every other pixel would miss its own value by a bit
        levels = pixels.astype(np.float32, order="C")
        if any(mean):
            levels -= (255 * np.asarray(mean, np.float64)).astype(np.float32).reshape(shape)
        return levels
    # C order, whatever the order of the pixels: the planes are then worked on one after the other
    real = np.divide(pixels, np.float32(255), dtype=np.float32, order="C")
    if any(mean):
        real -= np.asarray(mean, np.float32).reshape(shape)
    if any(s != 1 for s in std):
        real /= np.asarray(std, np.float32).reshape(shape)
    return real


@lru_cache(maxsize=16)
def _tables(
    params: QuantParams, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[bytes, bytes, bytes]:
    """Integer of every pixel value, per channel."""
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    integers = quantize(_to_real(values, mean, std, axis=1), params)
    red, green, blue = (integers[:, channel].tobytes() for channel in range(3))
    return red, green, blue


#: The table of our own files.
_FLIP_SIGN: Final = bytes(value ^ 0x80 for value in range(256))
_SAME: Final = bytes(range(256))


def _look_up(
    pixels: Pixels, tables: tuple[bytes, bytes, bytes], axis: int, dtype: str
) -> npt.NDArray[Any]:
    first = tables[0]
    if tables != (first, first, first):
        result = np.empty(pixels.shape, dtype)
        for channel, table in enumerate(tables):
            index = (channel,) if axis == 0 else (..., channel)
            plane = pixels[index]
            # bytes.translate is a table look-up in C, ten times faster than numpy's fancy index
            looked_up = np.frombuffer(plane.tobytes().translate(table), dtype)
            result[index] = looked_up.reshape(plane.shape)
        return result
    if first == _FLIP_SIGN:
        return np.bitwise_xor(pixels, np.uint8(0x80), order="C").view(dtype)
    if first == _SAME:
        return np.ascontiguousarray(pixels).view(dtype)
    return np.frombuffer(pixels.tobytes().translate(first), dtype).reshape(pixels.shape)
