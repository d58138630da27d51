"""Types that every layer shares: quantization parameters, and the tensor at a model's edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.errors import InputError

__all__ = ["INPUT_QUANT", "QuantParams", "TensorSpec", "activation_range", "integer_range"]


def integer_range(bits: int, *, signed: bool = True, narrow: bool = False) -> tuple[int, int]:
    """Smallest and largest integer of a *bits* wide type; *narrow* drops the lowest (weights).

    >>> integer_range(8), integer_range(8, signed=False), integer_range(4, narrow=True)
    ((-128, 127), (0, 255), (-7, 7))
    """
    if not 2 <= bits <= 8:
        raise InputError(f"bit width {bits} is out of range", cure="Use 2 to 8 bits.")
    low = -(2 ** (bits - 1)) if signed else 0
    return low + int(narrow), low + 2**bits - 1


def activation_range(bits: int, *, symmetric: bool = False) -> tuple[int, int]:
    """Smallest and largest int8 of an activation grid of *bits*.

    Fewer than 8 bits use the lowest 2**bits integers, so that the zero point of a ReLU output
    stays -128; a symmetric grid lies around 0.

    >>> activation_range(8), activation_range(3), activation_range(3, symmetric=True)
    ((-128, 127), (-128, -121), (-4, 3))
    """
    low, high = integer_range(bits)
    return (low, high) if symmetric else (-128, -128 + high - low)


@dataclass(frozen=True)
class QuantParams:
    """Per-tensor affine quantization: real = scale * (integer - zero_point).

    Attributes:
        scale: Positive; exactly representable in float32 (stored as a Python float).
        zero_point: Integer inside the range of *dtype*.
        dtype: ``"int8"`` or ``"uint8"``.
    """

    scale: float
    zero_point: int
    dtype: str = "int8"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise InputError(
                f"scale {self.scale!r} is not positive and finite", cure="Recalibrate."
            )
        if float(np.float32(self.scale)) != self.scale:
            raise InputError(
                f"scale {self.scale!r} is not a float32 value",
                cure="Round it with numpy.float32 first.",
            )
        low, high = integer_range(8, signed=self.dtype == "int8")
        if not low <= self.zero_point <= high:
            raise InputError(
                f"zero point {self.zero_point} is outside {self.dtype}",
                cure=f"Use {low} to {high}.",
            )

    def as_dtype(self, dtype: str) -> QuantParams:
        """The same grid in the other 8-bit type (uint8 = int8 + 128, exact).

        >>> QuantParams(0.5, 3).as_dtype("uint8").zero_point
        131
        """
        if dtype == self.dtype:
            return self
        shift = 128 if dtype == "uint8" else -128
        return QuantParams(self.scale, self.zero_point + shift, dtype)


#: Input of every model that edgecv makes: real values in [0, 1] from 8-bit pixels, so that
#: int8 = pixel - 128 (``x ^ 0x80``).
INPUT_QUANT = QuantParams(float(np.float32(1 / 255)), -128, "int8")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model file, in the file's own terms.

    Attributes:
        name: Name in the file.
        shape: All dimensions, batch first.
        dtype: NumPy name, e.g. ``"int8"``, ``"float32"``.
        layout: ``"NHWC"``, ``"NCHW"``, ``"NC"`` or ``""`` when unknown.
        quantization: Per-tensor parameters, or None for a float tensor.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str = ""
    quantization: QuantParams | None = None

    def quantize(self, real: npt.ArrayLike) -> npt.NDArray[Any]:
        """Real values as this tensor stores them: rounded half to even and saturated.

        Args:
            real: Any shape.

        Returns:
            Same shape, of :attr:`dtype`; a float tensor's values only change their dtype.

        Raises:
            InputError: Integers without parameters.

        >>> TensorSpec("x", (1, 2), "int8", "", QuantParams(0.5, 3)).quantize([[0.25, 100]]).tolist()
        [[3, 127]]
        """
        from edgecv.spec.arithmetic import quantize

        if self.quantization is None and np.dtype(self.dtype).kind == "f":
            return np.asarray(real, self.dtype)
        return quantize(np.asarray(real), self._grid())

    def dequantize(self, stored: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Stored values as float32: scale * (integer - zero point).

        Raises:
            InputError: Integers without parameters.

        >>> TensorSpec("x", (1, 2), "int8", "", QuantParams(0.5, 3)).dequantize([[3, 5]]).tolist()
        [[0.0, 1.0]]
        """
        from edgecv.spec.arithmetic import dequantize

        if self.quantization is None and np.dtype(self.dtype).kind == "f":
            return np.asarray(stored, np.float32)
        return dequantize(np.asarray(stored), self._grid())

    def _grid(self) -> QuantParams:
        if self.quantization is None:
            raise InputError(
                f"the tensor {self.name!r} of {self.dtype} has no scale and zero point",
                cure="Use its integers as they are.",
            )
        return self.quantization
