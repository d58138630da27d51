"""What stands at a model's edge: the engine's tensors against the manifest's, arrays against tensors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Manifest
from edgecv.errors import EdgecvError, InputError, ModelLoadError
from edgecv.spec.types import TensorSpec

__all__ = ["all_finite", "describe", "misfit", "one_of"]


def describe(
    engine: tuple[TensorSpec, ...], manifest: Manifest | None, edge: str
) -> tuple[TensorSpec, ...]:
    """The engine's specs, with the layout and quantization that the manifest adds.

    Args:
        engine: As the engine names them.
        manifest: Of the file, or None.
        edge: ``"inputs"`` or ``"outputs"``.

    Raises:
        ModelLoadError: The manifest speaks of other tensors than the file has.
    """
    told: tuple[TensorSpec, ...] = getattr(manifest, edge) if manifest is not None else ()
    if not told:
        return engine
    by_name = {spec.name: spec for spec in told}
    result = []
    for spec in engine:
        other = by_name.get(spec.name)
        if other is None or len(told) != len(engine):
            raise ModelLoadError(
                f"its manifest names the {edge} {sorted(by_name)}, the file has {spec.name!r}",
                cure="Convert it again.",
            )
        if (other.shape, other.dtype) != (spec.shape, spec.dtype) or (
            spec.quantization not in (None, other.quantization)
        ):
            raise ModelLoadError(
                f"its manifest says of {spec.name!r} {_tensor(other)}, the file {_tensor(spec)}",
                cure="Convert it again.",
            )
        result.append(
            replace(spec, layout=other.layout or spec.layout, quantization=other.quantization)
        )
    return tuple(result)


def _tensor(spec: TensorSpec) -> str:
    grid = spec.quantization
    return f"{spec.dtype} {list(spec.shape)}" + (
        f" scale {grid.scale!r} zero point {grid.zero_point}" if grid else ""
    )


#: Elements up to which a sum of squares is the faster check (more of them would wake BLAS's threads).
_FEW: Final = 4096


def all_finite(array: npt.NDArray[Any]) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    # one call instead of two; NaN and infinity survive it, and a sum that overflows decides nothing
    if array.size <= _FEW and math.isfinite(np.vdot(array, array)):
        return True
    return bool(np.isfinite(array).all())


def misfit(spec: TensorSpec, array: Any) -> EdgecvError:
    """What is wrong with an array for *spec*, and how to mend it."""
    wanted = f"{spec.dtype} {list(spec.shape)}" + (f" ({spec.layout})" if spec.layout else "")
    if not isinstance(array, np.ndarray):
        return InputError(
            f"the input {spec.name!r} is {type(array).__name__}, not a NumPy array",
            cure=f"Give {wanted}.",
        )
    given = f"{array.dtype} {list(array.shape)}"
    cure = f"Give {wanted}."
    if array.size == 0 and spec.shape:
        cure = f"It is empty. Give {wanted}."
    elif array.shape[1:] == spec.shape[1:] and array.dtype != spec.dtype:
        if spec.quantization is not None and array.dtype.kind == "f":
            grid = spec.quantization
            cure = (
                f"Quantize it: info.inputs[…].quantize(x), that is round(x / {grid.scale:.9g})"
                f" + {grid.zero_point}, clipped to {spec.dtype}."
            )
    elif array.ndim == len(spec.shape) - 1 and array.shape == spec.shape[1:]:
        cure = "Add the batch dimension: x[np.newaxis]."
    elif array.ndim == 4 and array.transpose(0, 3, 1, 2).shape[1:] == spec.shape[1:]:
        cure = f"The model wants {spec.layout or 'NCHW'}: x.transpose(0, 3, 1, 2)."
    elif array.ndim == 4 and array.transpose(0, 2, 3, 1).shape[1:] == spec.shape[1:]:
        cure = f"The model wants {spec.layout or 'NHWC'}: x.transpose(0, 2, 3, 1)."
    elif array.shape[1:] == spec.shape[1:]:
        cure = (
            "Its outputs do not keep the pictures of a batch apart, so it takes"
            f" {spec.shape[0]} at a time."
        )
    return InputError(f"{given} does not fit the input {spec.name!r}: {wanted}", cure=cure)


def one_of(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of those allowed."""
    if value not in allowed:
        raise InputError(
            f"{argument}={value!r} is unknown", cure=f"Use {', '.join(map(repr, allowed))}."
        )
